"""`GroupDirectory` over gRPC to group_svc; calls of one batch run at the same time, within one bound (hop 8)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import CHANGES_MAX, GROUPS_PAGE_MAX, UNREAD_WINDOW
from throng.domain.message import Position
from throng.runtime.rpc_status import from_detail, from_rpc_error
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import Countable, CountablePage, CountableQuery, Membership, UserInGroup

_ABSENT = (ErrorCode.NOT_A_MEMBER, ErrorCode.GROUP_NOT_FOUND)
MAX_GROUPS_OF_USER = 10_000


class GrpcGroupDirectory:
    """`GroupDirectory` over one channel. Overflow policy: wait for a free slot up to the deadline, then UNAVAILABLE."""

    def __init__(self, channel: grpc.Channel, metrics: UnreadMetrics, *, timeout_seconds: float, max_calls_in_flight: int) -> None:
        """`timeout_seconds`: deadline of each call, and of the wait before it."""
        groups = group_pb2_grpc.GroupServiceStub(channel)
        messages = message_pb2_grpc.MessageServiceStub(channel)
        self._batch_get_members: Any = groups.BatchGetMembers
        self._list_user_groups: Any = groups.ListUserGroups
        self._get_heads: Any = groups.GetHeads
        self._list_countable: Any = messages.ListCountable
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._slots = threading.BoundedSemaphore(max_calls_in_flight)

    def memberships(self, pairs: Sequence[UserInGroup]) -> list[Membership | None]:
        """One BatchGetMembers per 1,000 pairs."""
        found: list[Membership | None] = []
        for start in range(0, len(pairs), CHANGES_MAX):
            keys = [
                group_pb2.MemberKey(group_id=pair.group_id, user_id=pair.user_id) for pair in pairs[start : start + CHANGES_MAX]
            ]
            response = self._call(self._batch_get_members, group_pb2.BatchGetMembersRequest(keys=keys))
            if len(response.results) != len(keys):
                raise ThrongError(ErrorCode.INTERNAL, "group_svc answered for another number of members")
            found += map(_membership_or_none, response.results)
        return found

    def memberships_of(self, user_id: UserId) -> list[Membership]:
        """Pages through ListUserGroups."""
        found: list[Membership] = []
        more = True
        while more:
            request = group_pb2.ListUserGroupsRequest(
                user_id=user_id, after_group_id=found[-1].group_id if found else "", limit=GROUPS_PAGE_MAX
            )
            page = self._call(self._list_user_groups, request)
            found += map(_membership, page.groups)
            more = page.more and bool(page.groups)
            if len(found) > MAX_GROUPS_OF_USER:
                raise ThrongError(
                    ErrorCode.LIMIT_EXCEEDED,
                    f"the user is in more than {MAX_GROUPS_OF_USER} groups; name those that are wanted",
                    fields={"limit": str(MAX_GROUPS_OF_USER)},
                )
        return found

    def heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """One GetHeads per 1,000 groups."""
        found: list[Position | None] = []
        for start in range(0, len(group_ids), CHANGES_MAX):
            part = group_ids[start : start + CHANGES_MAX]
            response = self._call(self._get_heads, group_pb2.GetHeadsRequest(group_ids=part))
            by_group = {head.group_id: head for head in response.heads}
            for group_id in part:
                head = by_group.get(group_id)
                found.append(Position(head.epoch, head.head_seq) if head is not None and head.epoch else None)
        return found

    def countable(self, queries: Sequence[CountableQuery]) -> list[CountablePage | ThrongError]:
        """One ListCountable per query, as many at a time as there are slots."""
        answers: list[CountablePage | ThrongError | None] = [None] * len(queries)
        waiting: list[tuple[int, grpc.Future[Any]]] = []
        for index, query in enumerate(queries):
            # Own calls are collected before waiting for a slot: a batch larger than the bound must not wait for itself.
            if not self._slots.acquire(blocking=False):
                self._collect(waiting, answers)
                if not self._slots.acquire(timeout=self._timeout_seconds):
                    self._metrics.group_calls_refused()
                    answers[index] = unavailable("too many calls to group_svc are under way")
                    continue
            self._metrics.group_call_started()
            try:
                future = self._list_countable.future(_countable_request(query), timeout=self._timeout_seconds)
            except ValueError:  # the channel is closed
                self._release()
                answers[index] = unavailable("the service is stopping")
                continue
            waiting.append((index, future))
        self._collect(waiting, answers)
        return [answer for answer in answers if answer is not None]

    def _collect(self, waiting: list[tuple[int, grpc.Future[Any]]], answers: list[CountablePage | ThrongError | None]) -> None:
        while waiting:
            index, future = waiting.pop()
            try:
                answers[index] = _page(future.result())
            except grpc.RpcError as error:
                answers[index] = from_rpc_error(error)
            except grpc.FutureCancelledError:
                answers[index] = unavailable("the service is stopping")
            finally:
                self._release()

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        with self._slot():
            try:
                return method(request, timeout=self._timeout_seconds)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error
            except ValueError as error:
                raise unavailable("the service is stopping") from error

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._timeout_seconds):
            self._metrics.group_calls_refused()
            raise unavailable("too many calls to group_svc are under way")
        self._metrics.group_call_started()
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self._metrics.group_call_ended()
        self._slots.release()


def _membership(entry: group_pb2.UserGroup) -> Membership:
    group = entry.group
    return Membership(GroupId(group.group_id), Position(group.epoch, group.head_seq), entry.member.joined_seq)


def _membership_or_none(result: group_pb2.EnterResult) -> Membership | None:
    if result.WhichOneof("outcome") == "entered":
        return _membership(result.entered)
    error = from_detail(result.error)
    if error.code in _ABSENT:
        return None
    raise error


def _countable_request(query: CountableQuery) -> message_pb2.ListCountableRequest:
    return message_pb2.ListCountableRequest(
        group_id=query.group_id,
        after_seq=query.after_seq,
        exclude_sender_id=query.exclude_sender_id or "",
        limit=UNREAD_WINDOW,
    )


def _page(response: message_pb2.ListCountableResponse) -> CountablePage:
    entries = [Countable(message.seq, UserId(message.sender_id)) for message in response.messages]
    return CountablePage(Position(response.epoch, response.head_seq), entries)
