"""Groups, members and settings as throng.common.v1 and back, for the servicers and the publisher."""

from __future__ import annotations

import dataclasses

from throng.api.common.v1 import group_pb2
from throng.domain.group import Delivery, Group, GroupSettings, Member, OverBudget, Role


def to_role(role: Role) -> group_pb2.Role.ValueType:
    """Makes the proto of a role; NONE is unspecified."""
    return group_pb2.Role.ValueType(role)


def to_settings(settings: GroupSettings) -> group_pb2.GroupSettings:
    """Makes the proto of settings, every field set."""
    return group_pb2.GroupSettings(
        open=settings.open,
        send_interval_ms=settings.send_interval_ms,
        budget_per_second=settings.budget_per_second,
        block_max_messages=settings.block_max_messages,
        block_interval_ms=settings.block_interval_ms,
        delivery=group_pb2.Delivery.ValueType(settings.delivery),
        over_budget=group_pb2.OverBudget.ValueType(settings.over_budget),
    )


def merged_settings(base: GroupSettings, changes: group_pb2.GroupSettings) -> GroupSettings:
    """The settings with what is set in `changes`; an unspecified delivery is INLINE, an unspecified policy REJECT.

    Raises:
        ValueError: a delivery or policy that this version does not know. Nothing else is checked.
    """
    merged = dataclasses.replace(base, **{field.name: value for field, value in changes.ListFields()})
    return dataclasses.replace(
        merged,
        delivery=Delivery(merged.delivery) or Delivery.INLINE,
        over_budget=OverBudget(merged.over_budget) or OverBudget.REJECT,
    )


def to_group(group: Group) -> group_pb2.Group:
    """Makes the proto of a group."""
    return group_pb2.Group(
        group_id=group.group_id,
        name=group.name,
        epoch=group.epoch,
        head_seq=group.head_seq,
        member_count=group.member_count,
        settings=to_settings(group.settings),
        announcement=group.announcement,
        created_at_ms=group.created_at_ms,
        members_version=group.members_version,
    )


def to_member(member: Member) -> group_pb2.Member:
    """Makes the proto of a member."""
    return group_pb2.Member(
        user_id=member.user_id,
        role=to_role(member.role),
        joined_seq=member.joined_seq,
        muted_until_ms=member.muted_until_ms,
        display_name=member.display_name,
    )
