"""throng.group.v1.GroupService: groups and members, for internal programs and for edges (hop 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from group_svc.adapters.group_codec import merged_settings, to_group, to_member
from group_svc.core.directory import Directory, Entered
from group_svc.core.group_rules import check_count, check_length, check_time_ms, page_limit
from group_svc.core.history import History
from throng.api.common.v1 import group_pb2
from throng.api.group.v1 import group_pb2 as api
from throng.api.group.v1 import group_pb2_grpc
from throng.domain import limits
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import GroupId, UserId, check_identifier
from throng.ports.clock import Clock
from throng.runtime.rpc_status import to_detail


class GroupServicer(group_pb2_grpc.GroupServiceServicer):
    """Checks requests, asks the directory, and makes responses. Errors leave as ThrongError."""

    def __init__(self, directory: Directory, history: History, clock: Clock) -> None:
        self._directory = directory
        self._history = history
        self._clock = clock

    def CreateGroup(self, request: api.CreateGroupRequest, context: Any) -> api.CreateGroupResponse:  # noqa: N802
        """Makes a group."""
        group_id = _group_id(request.group_id)
        group = Group(
            group_id,
            check_length(request.name, "name", limits.MAX_NAME_CHARACTERS).strip() or group_id,
            settings=_merged(GroupSettings(), request.settings),
            created_at_ms=self._clock.now_ms(),
        )
        owner_id = _user_id(request.owner_id, "owner_id") if request.owner_id else None
        return api.CreateGroupResponse(group=to_group(self._directory.create(group, owner_id=owner_id)))

    def GetGroup(self, request: api.GetGroupRequest, context: Any) -> api.GetGroupResponse:  # noqa: N802
        """Reads a group."""
        return api.GetGroupResponse(group=to_group(self._directory.store.get_group(_group_id(request.group_id))))

    def UpdateGroup(self, request: api.UpdateGroupRequest, context: Any) -> api.UpdateGroupResponse:  # noqa: N802
        """Changes a group."""
        name: str | None = None
        if request.HasField("name"):
            name = check_length(request.name, "name", limits.MAX_NAME_CHARACTERS).strip()
            if not name:
                raise ThrongError(ErrorCode.INVALID_ARGUMENT, "name must not be empty", fields={"field": "name"})
        announcement: str | None = None
        if request.HasField("announcement"):
            announcement = check_length(request.announcement, "announcement", limits.MAX_ANNOUNCEMENT_CHARACTERS)
        group = self._directory.update(
            _group_id(request.group_id),
            name=name,
            announcement=announcement,
            change_settings=(lambda base: _merged(base, request.settings)) if request.HasField("settings") else None,
        )
        return api.UpdateGroupResponse(group=to_group(group))

    def ListGroups(self, request: api.ListGroupsRequest, context: Any) -> api.ListGroupsResponse:  # noqa: N802
        """Lists groups by key."""
        limit = page_limit(request.limit, default=limits.GROUPS_PAGE_DEFAULT, most=limits.GROUPS_PAGE_MAX)
        groups = self._directory.store.list_groups(after_group_id=_after(request.after_group_id, "after_group_id"), limit=limit)
        return api.ListGroupsResponse(groups=[to_group(group) for group in groups], more=len(groups) == limit)

    def ListMembers(self, request: api.ListMembersRequest, context: Any) -> api.ListMembersResponse:  # noqa: N802
        """Lists members by key."""
        limit = page_limit(request.limit, default=limits.MEMBERS_PAGE_DEFAULT, most=limits.MEMBERS_PAGE_MAX)
        members = self._directory.store.list_members(
            _group_id(request.group_id), after_user_id=_after(request.after_user_id, "after_user_id"), limit=limit
        )
        return api.ListMembersResponse(members=[to_member(member) for member in members], more=len(members) == limit)

    def AddMembers(self, request: api.AddMembersRequest, context: Any) -> api.AddMembersResponse:  # noqa: N802
        """Adds members."""
        check_count(request.members, "members")
        members = [_member(member) for member in request.members]
        added, count = self._directory.add_members(_group_id(request.group_id), members)
        return api.AddMembersResponse(added=added, member_count=count)

    def RemoveMembers(self, request: api.RemoveMembersRequest, context: Any) -> api.RemoveMembersResponse:  # noqa: N802
        """Removes members."""
        check_count(request.user_ids, "user_ids")
        user_ids = [_user_id(user_id, "user_ids") for user_id in request.user_ids]
        removed, count = self._directory.remove_members(_group_id(request.group_id), user_ids)
        return api.RemoveMembersResponse(removed=removed, member_count=count)

    def UpdateMember(self, request: api.UpdateMemberRequest, context: Any) -> api.UpdateMemberResponse:  # noqa: N802
        """Changes a member."""
        role: Role | None = None
        if request.HasField("role"):
            role = _role(request.role)
            if role is Role.NONE:
                raise ThrongError(ErrorCode.INVALID_ARGUMENT, "role must not be unspecified", fields={"field": "role"})
        member = self._directory.update_member(
            _group_id(request.group_id),
            _user_id(request.user_id, "user_id"),
            role=role,
            muted_until_ms=(
                check_time_ms(request.muted_until_ms, "muted_until_ms") if request.HasField("muted_until_ms") else None
            ),
            display_name=(
                check_length(request.display_name, "display_name", limits.MAX_NAME_CHARACTERS)
                if request.HasField("display_name")
                else None
            ),
        )
        return api.UpdateMemberResponse(member=to_member(member))

    def GetMember(self, request: api.GetMemberRequest, context: Any) -> api.GetMemberResponse:  # noqa: N802
        """Reads a member."""
        pair = (_group_id(request.group_id), _user_id(request.user_id, "user_id"))
        (found,) = self._directory.get_many([pair])
        if isinstance(found, ThrongError):
            raise found
        return api.GetMemberResponse(member=to_member(found[1]))

    def ListUserGroups(self, request: api.ListUserGroupsRequest, context: Any) -> api.ListUserGroupsResponse:  # noqa: N802
        """Lists the groups of a user by key."""
        limit = page_limit(request.limit, default=limits.GROUPS_PAGE_MAX, most=limits.GROUPS_PAGE_MAX)
        groups = self._directory.store.list_user_groups(
            _user_id(request.user_id, "user_id"), after_group_id=_after(request.after_group_id, "after_group_id"), limit=limit
        )
        return api.ListUserGroupsResponse(groups=[_user_group(*one) for one in groups], more=len(groups) == limit)

    def BatchEnter(self, request: api.BatchEnterRequest, context: Any) -> api.BatchEnterResponse:  # noqa: N802
        """Checks membership of many users who enter, and lets them join open groups."""
        check_count(request.entries, "entries")
        results: list[Entered | None] = []
        good: list[tuple[GroupId, UserId, str]] = []
        for entry in request.entries:
            try:
                name = check_length(entry.display_name, "display_name", limits.MAX_NAME_CHARACTERS)
                good.append((_group_id(entry.group_id), _user_id(entry.user_id, "user_id"), name))
                results.append(None)
            except ThrongError as error:
                results.append(error)
        entered = iter(self._directory.enter(good) if good else ())
        return api.BatchEnterResponse(results=_results([next(entered) if one is None else one for one in results]))

    def BatchGetMembers(self, request: api.BatchGetMembersRequest, context: Any) -> api.BatchGetMembersResponse:  # noqa: N802
        """Reads many members, each with the group; joins nobody."""
        check_count(request.keys, "keys")
        pairs = [(_group_id(key.group_id), _user_id(key.user_id, "user_id")) for key in request.keys]
        return api.BatchGetMembersResponse(results=_results(self._directory.get_many(pairs)))

    def GetHeads(self, request: api.GetHeadsRequest, context: Any) -> api.GetHeadsResponse:  # noqa: N802
        """Tells the heads of groups, for the comparison that heals lost deliveries (I6)."""
        check_count(request.group_ids, "group_ids")
        group_ids = [_group_id(group_id) for group_id in request.group_ids]
        heads = [
            api.GroupHead(
                group_id=group_id,
                epoch=0 if head is None else head.epoch,
                head_seq=0 if head is None else head.seq,
                members_version=version,
            )
            for group_id, head, version in zip(
                group_ids, self._history.heads(group_ids), self._directory.members_versions(group_ids), strict=True
            )
        ]
        return api.GetHeadsResponse(heads=heads)


def _group_id(text: str) -> GroupId:
    return GroupId(check_identifier(text, "group_id"))


def _user_id(text: str, field: str) -> UserId:
    return UserId(check_identifier(text, field))


def _after(text: str, field: str) -> str:
    """Where a page begins: an id, or empty for the first."""
    return check_identifier(text, field) if text else ""


def _role(value: int) -> Role:
    if value not in tuple(Role):
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "this role does not exist", fields={"field": "role"})
    return Role(value)


def _member(member: group_pb2.Member) -> Member:
    role = _role(member.role)
    return Member(
        _user_id(member.user_id, "user_id"),
        Role.MEMBER if role is Role.NONE else role,
        muted_until_ms=check_time_ms(member.muted_until_ms, "muted_until_ms"),
        display_name=check_length(member.display_name, "display_name", limits.MAX_NAME_CHARACTERS),
    )


def _merged(base: GroupSettings, changes: group_pb2.GroupSettings) -> GroupSettings:
    if changes.HasField("delivery") and changes.delivery not in group_pb2.Delivery.values():
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "this delivery does not exist", fields={"field": "delivery"})
    if changes.HasField("over_budget") and changes.over_budget not in group_pb2.OverBudget.values():
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "this policy does not exist", fields={"field": "over_budget"})
    return merged_settings(base, changes)


def _user_group(group: Group, member: Member) -> api.UserGroup:
    return api.UserGroup(group=to_group(group), member=to_member(member))


def _results(outcomes: Sequence[Entered]) -> list[api.EnterResult]:
    """Most of a large batch enter the same group: it is written once and copied."""
    known: dict[int, group_pb2.Group] = {}
    results: list[api.EnterResult] = []
    for outcome in outcomes:
        if isinstance(outcome, ThrongError):
            results.append(api.EnterResult(error=to_detail(outcome)))
            continue
        group, member = outcome
        proto = known.get(id(group))  # all are alive until the end, so no two share a number
        if proto is None:
            proto = known[id(group)] = to_group(group)
        results.append(api.EnterResult(entered=api.UserGroup(group=proto, member=to_member(member))))
    return results
