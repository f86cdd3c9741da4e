"""Reads groups, members, pages and events of the generated API into values of the domain and of `edge/ports.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict

from edge.ports import (
    AckRow,
    AcksEvent,
    AnswerEvent,
    BlockEvent,
    EdgeEvent,
    EnteredGroup,
    GroupEvent,
    HeadEvent,
    MemberEvent,
    OnlineEvent,
    UnreadCount,
)
from throng.api.common.v1 import group_pb2, message_pb2
from throng.api.edge.v1 import edge_pb2
from throng.api.group.v1 import group_pb2 as group_service_pb2
from throng.api.unread.v1 import unread_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery, Group, GroupSettings, Member, OverBudget, Role
from throng.domain.ids import ConnId, GroupId, UserId

_ROLES: dict[int, Role] = {int(role): role for role in Role}
_DELIVERIES: dict[int, Delivery] = {int(delivery): delivery for delivery in Delivery}
_POLICIES: dict[int, OverBudget] = {int(OverBudget.REJECT): OverBudget.REJECT, int(OverBudget.SAMPLE): OverBudget.SAMPLE}
_row: Callable[[Iterable[Any]], AckRow] = AckRow._make
_CODES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}


def to_group(proto: group_pb2.Group) -> Group:
    """Reads a group."""
    settings = proto.settings
    return Group(
        group_id=GroupId(proto.group_id),
        name=proto.name,
        epoch=proto.epoch,
        head_seq=proto.head_seq,
        member_count=proto.member_count,
        settings=GroupSettings(
            open=settings.open,
            send_interval_ms=settings.send_interval_ms,
            budget_per_second=settings.budget_per_second,
            block_max_messages=settings.block_max_messages,
            block_interval_ms=settings.block_interval_ms,
            delivery=_DELIVERIES.get(settings.delivery, Delivery.INLINE),
            over_budget=_POLICIES.get(settings.over_budget, OverBudget.REJECT),
        ),
        announcement=proto.announcement,
        created_at_ms=proto.created_at_ms,
        members_version=proto.members_version,
    )


def to_entered(proto: group_service_pb2.UserGroup) -> EnteredGroup:
    """Reads a group of a user."""
    return EnteredGroup(to_group(proto.group), to_member(proto.member))


def to_member(proto: group_pb2.Member) -> Member:
    """Reads a member."""
    return Member(
        user_id=UserId(proto.user_id),
        role=_ROLES.get(proto.role, Role.MEMBER),
        joined_seq=proto.joined_seq,
        muted_until_ms=proto.muted_until_ms,
        display_name=proto.display_name,
    )


def to_messages(protos: Iterable[message_pb2.Message]) -> list[tuple[int, bytes]]:
    """Reads messages as (seq, serialized)."""
    return [(message.seq, message.SerializeToString()) for message in protos]


def to_unread(proto: unread_pb2.GroupUnread) -> UnreadCount:
    """Reads a count."""
    return UnreadCount(GroupId(proto.group_id), proto.count, proto.capped, proto.read_seq)


def to_event(data: bytes, *, wants_json: Callable[[GroupId], bool]) -> EdgeEvent | None:
    """Reads a serialized EdgeEvent; None for a kind that this version does not know.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no EdgeEvent.
    """
    proto = edge_pb2.EdgeEvent.FromString(data)
    kind = proto.WhichOneof("event")
    group_id = GroupId(proto.group_id)
    if kind == "block":
        return _to_block(proto, json_wanted=wants_json(group_id))
    if kind == "acks":
        return _to_acks(proto.acks)
    if kind == "answer":
        return _to_answer(proto.answer)
    if kind == "head":
        return HeadEvent(group_id, proto.head.epoch, proto.head.head_seq)
    if kind == "member_change":
        change = proto.member_change
        return MemberEvent(
            group_id, UserId(change.user_id), _ROLES.get(change.role, Role.NONE), change.muted_until_ms, change.members_version
        )
    if kind == "group_changed":
        return GroupEvent(to_group(proto.group_changed))
    if kind == "online":
        return OnlineEvent([(GroupId(each.group_id), each.online) for each in proto.online.groups])
    return None


def _to_block(proto: edge_pb2.EdgeEvent, *, json_wanted: bool) -> BlockEvent | None:
    block = message_pb2.Block.FromString(proto.block)
    if not block.messages:
        return None
    json_block = json.dumps(MessageToDict(block), ensure_ascii=False, separators=(",", ":")) if json_wanted else None
    return BlockEvent(
        group_id=GroupId(block.group_id),
        epoch=block.epoch,
        prev_seq=block.prev_seq,
        head_seq=block.messages[-1].seq,
        block=proto.block,
        messages=to_messages(block.messages),
        recalled=[(message.recall.target_seq, message.seq) for message in block.messages if message.HasField("recall")],
        json_block=json_block,
        published_at_ms=proto.published_at_ms,
    )


def _to_acks(acks: edge_pb2.Acks) -> AcksEvent:
    columns = (acks.conn_ids, acks.request_ids, acks.group_ids, acks.client_msg_ids, acks.epochs, acks.seqs, acks.sent_at_ms)
    return AcksEvent(list(map(_row, zip(*columns, strict=True))))


def _to_answer(answer: edge_pb2.Answer) -> AnswerEvent:
    conn_id = ConnId(answer.conn_id)
    if answer.WhichOneof("outcome") == "reject":
        reject = answer.reject
        error = ThrongError(_CODES.get(reject.code, ErrorCode.INTERNAL), reject.text, retry_after_ms=reject.retry_after_ms)
        return AnswerEvent(conn_id, answer.request_id, GroupId(reject.group_id), reject.client_msg_id, 0, 0, 0, error)
    ack = answer.ack
    return AnswerEvent(
        conn_id, answer.request_id, GroupId(ack.group_id), ack.client_msg_id, ack.epoch, ack.seq, ack.sent_at_ms, None
    )
