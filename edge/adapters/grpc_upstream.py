"""`Upstream` over gRPC: called in the hub thread, at work in the business thread (hops 2 and 8).

    hub thread --calls, one wake per batch--> business loop --gRPC--> group_svc, unread_svc
               <--results, one wake per batch--

Bounded by the number of calls under way; overflow policy: the new call fails with UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog

from edge.adapters.call_batches import CallBatches
from edge.adapters.loop_mailbox import LoopMailbox, call_all
from edge.adapters.proto_values import to_entered, to_group, to_member, to_unread
from edge.adapters.raw_pages import LIST_MESSAGES, RawPages
from edge.ports import EnteredGroup, FetchedPage, GroupHead, ReadCursor, UnreadCount
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import Group, Member, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import CHANGES_MAX, DELETED_MAX, GROUPS_PAGE_MAX
from throng.domain.message import Submission
from throng.ports.uplink import UplinkProducer
from throng.runtime.rpc_status import from_detail, from_rpc_error

_T = TypeVar("_T")
_log = structlog.get_logger("throng.edge")

CallEnded = Callable[[str, str, float], None]
"""Told of each call that ended: method, code, seconds."""

RouteReport = Callable[[Sequence[tuple[GroupId, int]]], None]
"""Takes route changes, in the business loop."""


class GrpcUpstream:
    """The services behind one edge. Make it anywhere, `start` it in the business loop, `attach` the hub's loop."""

    def __init__(
        self,
        group_channel: grpc.aio.Channel,
        unread_channel: grpc.aio.Channel,
        producer: UplinkProducer,
        *,
        report_routes: RouteReport,
        call_ended: CallEnded,
        call_timeout_seconds: float,
        max_calls_under_way: int,
    ) -> None:
        self._groups: Any = group_pb2_grpc.GroupServiceStub(group_channel)
        self._messages: Any = message_pb2_grpc.MessageServiceStub(group_channel)
        self._list_messages: Any = group_channel.unary_unary(
            LIST_MESSAGES, request_serializer=message_pb2.ListMessagesRequest.SerializeToString, response_deserializer=None
        )
        self._pages = RawPages()
        self._unread: Any = unread_pb2_grpc.UnreadServiceStub(unread_channel)
        self._producer = producer
        self._report_routes = report_routes
        self._call_ended = call_ended
        self._timeout_seconds = call_timeout_seconds
        self._max_calls = max_calls_under_way
        self._under_way = 0
        self.refused_calls = 0
        self.shed_requests = 0
        self._to_business: LoopMailbox[Callable[[], None]] = LoopMailbox(call_all)
        self._to_hub: LoopMailbox[Callable[[], object]] = LoopMailbox(call_all, per_batch=1)  # a page may take a millisecond
        self._tasks: set[asyncio.Task[None]] = set()
        self._calling: set[asyncio.Task[Any]] = set()
        self._stopped = False
        self._enters: CallBatches[group_pb2.EnterRequest, EnteredGroup] = self._batches(self._enter_batch)
        self._counts: CallBatches[unread_pb2.UserInGroup, UnreadCount] = self._batches(self._unread_batch)
        self._deleted: CallBatches[message_pb2.ListDeletedRequest, Sequence[int]] = self._batches(self._deleted_batch)

    def _batches(self, send: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]) -> CallBatches[Any, Any]:
        return CallBatches(send, self._spawn, max_wait_seconds=self._timeout_seconds, shed=self._shed)

    def _shed(self, requests: int) -> None:
        self.shed_requests += requests

    @property
    def calls_under_way(self) -> int:
        """Calls whose `done` was not called yet; also the bound's metric."""
        return self._under_way

    def attach(self, hub_loop: asyncio.AbstractEventLoop) -> None:
        """Begins to deliver results in the hub's loop."""
        self._to_hub.attach(hub_loop)

    def start(self, business_loop: asyncio.AbstractEventLoop) -> None:
        """Begins to take calls in the business loop."""
        self._to_business.attach(business_loop)

    async def stop(self) -> None:
        """Fails what is under way with UNAVAILABLE; later calls fail at once. Runs in the business loop. Idempotent."""
        self._stopped = True
        # Only tasks inside their call are cancelled: one that is cancelled before its first step would never answer, and one
        # that has not begun sees `_stopped`.
        for task in list(self._calling):
            task.cancel()
        for batches in (self._enters, self._counts, self._deleted):
            batches.hurry()
        while self._tasks:  # a batch that ends begins the next one, which then answers at once
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def post_to_hub(self, callback: Callable[[], object]) -> None:
        """Runs `callback` in the hub's loop, in order with all results."""
        self._to_hub.post(callback)

    # Hub thread ----------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission, done: Callable[[ThrongError | None], None]) -> None:
        """Appends to the uplink (hop 2). Called in the order of the client's frames, and so appended.

        Bounded by the producer. Only a failure comes back to the hub: nothing there waits for a success.
        """
        to_hub = self._to_hub

        def appended(error: ThrongError | None) -> None:
            if error is not None:
                to_hub.post(lambda: done(error))

        if self._stopped:
            self.refused_calls += 1
            appended(unavailable("the edge stops"))
        else:
            self._producer.append(submission, appended)

    def enter(
        self, user_id: UserId, group_id: GroupId, display_name: str, done: Callable[[EnteredGroup | ThrongError], None]
    ) -> None:
        """Checks membership, joins an open group; collected into BatchEnter."""
        if self._admit(done):
            request = group_pb2.EnterRequest(user_id=user_id, group_id=group_id, display_name=display_name)
            answer = self._answering(done)
            self._to_business.post(lambda: self._enters.add(request, answer))

    def fetch_after(
        self, group_id: GroupId, after_seq: int, up_to_seq: int, limit: int, done: Callable[[FetchedPage | ThrongError], None]
    ) -> None:
        """Messages after one seq up to another (0: head)."""
        request = message_pb2.ListMessagesRequest(group_id=group_id, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        self._call("ListMessages", lambda: self._read_page(request), done)

    def fetch_before(
        self, group_id: GroupId, before_seq: int, limit: int, done: Callable[[FetchedPage | ThrongError], None]
    ) -> None:
        """The newest messages below a seq (0: from the head)."""
        request = message_pb2.ListMessagesRequest(group_id=group_id, before_seq=before_seq, limit=limit)
        self._call("ListMessages", lambda: self._read_page(request), done)

    def fetch_deleted(
        self, user_id: UserId, group_id: GroupId, from_seq: int, done: Callable[[Sequence[int] | ThrongError], None]
    ) -> None:
        """Seqs that the user deleted for themself, at most 1,000; collected into BatchListDeleted."""
        if self._admit(done):
            request = message_pb2.ListDeletedRequest(group_id=group_id, user_id=user_id, from_seq=from_seq, limit=DELETED_MAX)
            answer = self._answering(done)
            self._to_business.post(lambda: self._deleted.add(request, answer))

    def delete_for_user(self, user_id: UserId, group_id: GroupId, seq: int, done: Callable[[ThrongError | None], None]) -> None:
        """Deletes a message for one user."""
        request = message_pb2.DeleteMessageForUserRequest(group_id=group_id, user_id=user_id, seq=seq)

        async def call() -> None:
            await self._messages.DeleteMessageForUser(request, timeout=self._timeout_seconds)

        self._call("DeleteMessageForUser", call, done)

    def list_groups(self, user_id: UserId, done: Callable[[Sequence[EnteredGroup] | ThrongError], None]) -> None:
        """All groups of a user, at most 500."""
        request = group_pb2.ListUserGroupsRequest(user_id=user_id, limit=GROUPS_PAGE_MAX)

        async def call() -> Sequence[EnteredGroup]:
            response = await self._groups.ListUserGroups(request, timeout=self._timeout_seconds)
            return [to_entered(group) for group in response.groups]

        self._call("ListUserGroups", call, done)

    def fetch_unread(
        self, user_id: UserId, group_ids: Sequence[GroupId], done: Callable[[Sequence[UnreadCount] | ThrongError], None]
    ) -> None:
        """Counts of some groups; calls for one group are collected into BatchGetUnread."""
        if len(group_ids) == 1:
            if self._admit(done):
                pair = unread_pb2.UserInGroup(user_id=user_id, group_id=group_ids[0])
                answer = self._answering(done)
                self._to_business.post(lambda: self._counts.add(pair, lambda count: answer(_listed(count))))
            return
        request = unread_pb2.GetUnreadCountsRequest(user_id=user_id, group_ids=group_ids)

        async def call() -> Sequence[UnreadCount]:
            response = await self._unread.GetUnreadCounts(request, timeout=self._timeout_seconds)
            return [to_unread(count) for count in response.counts]

        self._call("GetUnreadCounts", call, done)

    def report_cursors(self, cursors: Sequence[ReadCursor], done: Callable[[ThrongError | None], None]) -> None:
        """Stores cursors that moved."""
        request = unread_pb2.ReportCursorsRequest(
            cursors=[
                unread_pb2.ReadCursor(user_id=cursor.user_id, group_id=cursor.group_id, read_seq=cursor.read_seq)
                for cursor in cursors
            ]
        )

        async def call() -> None:
            await self._unread.ReportCursors(request, timeout=self._timeout_seconds)

        self._call("ReportCursors", call, done)

    def fetch_heads(self, group_ids: Sequence[GroupId], done: Callable[[Sequence[GroupHead] | ThrongError], None]) -> None:
        """Heads of groups, for the comparison every 2 s (I6); at most 1,000 a call."""
        requests = [
            group_pb2.GetHeadsRequest(group_ids=group_ids[start : start + CHANGES_MAX])
            for start in range(0, len(group_ids), CHANGES_MAX)
        ]

        async def call() -> Sequence[GroupHead]:
            heads: list[GroupHead] = []
            for request in requests:
                response = await self._groups.GetHeads(request, timeout=self._timeout_seconds)
                heads.extend(
                    GroupHead(GroupId(head.group_id), head.epoch, head.head_seq, head.members_version) for head in response.heads
                )
            return heads

        self._call("GetHeads", call, done)

    def fetch_members(
        self, group_id: GroupId, user_ids: Sequence[UserId], done: Callable[[Sequence[Member] | ThrongError], None]
    ) -> None:
        """Membership per user, joining nobody."""
        keys = [group_pb2.MemberKey(group_id=group_id, user_id=user_id) for user_id in user_ids]

        async def call() -> Sequence[Member]:
            request = group_pb2.BatchGetMembersRequest(keys=keys)
            response = await self._groups.BatchGetMembers(request, timeout=self._timeout_seconds)
            if len(response.results) != len(keys):
                raise ThrongError(ErrorCode.INTERNAL, f"BatchGetMembers answered {len(response.results)} of {len(keys)} keys")
            return [_member(user_id, result) for user_id, result in zip(user_ids, response.results, strict=True)]

        self._call("BatchGetMembers", call, done)

    def report_routes(self, changes: Sequence[tuple[GroupId, int]]) -> None:
        """Tells how many connections groups have now; nothing is refused here, for a report replaces the one before."""
        taken = list(changes)
        self._to_business.post(lambda: self._report_routes(taken))

    def _admit(self, done: Callable[[Any], None]) -> bool:
        if self._stopped or self._under_way >= self._max_calls:
            self.refused_calls += 1
            error = unavailable("the edge stops" if self._stopped else "the edge has too many calls under way")
            self._to_hub.post(lambda: done(error))
            return False
        self._under_way += 1
        return True

    def _answering(self, done: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback for any thread that calls `done` in the hub thread."""

        def deliver(result: Any) -> None:
            self._under_way -= 1
            done(result)

        return lambda result: self._to_hub.post(lambda: deliver(result))

    def _call(self, method: str, call: Callable[[], Awaitable[_T]], done: Callable[[_T | Any], None]) -> None:
        if self._admit(done):
            answer = self._answering(done)
            self._to_business.post(lambda: self._spawn(self._run(method, call, answer)))

    # Business loop --------------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, method: str, call: Callable[[], Awaitable[_T]], answer: Callable[[Any], None]) -> None:
        answer(await self._outcome(method, call))

    async def _outcome(self, method: str, call: Callable[[], Awaitable[_T]]) -> _T | ThrongError:
        if self._stopped:
            return unavailable("the edge stops")
        started = asyncio.get_running_loop().time()
        code = "OK"
        task = asyncio.current_task()
        assert task is not None
        self._calling.add(task)
        try:
            return await call()
        except grpc.RpcError as error:
            code = error.code().name
            return from_rpc_error(error)
        except ThrongError as error:
            code = error.code.name
            return error
        except asyncio.CancelledError:
            code = "CANCELLED"
            return unavailable("the edge stops")
        except Exception as error:
            code = "INTERNAL"
            _log.error("upstream_call_failed", method=method, exc_info=error)
            return ThrongError(ErrorCode.INTERNAL, "a defect of the edge; see its log")
        finally:
            self._calling.discard(task)
            self._call_ended(method, code, asyncio.get_running_loop().time() - started)

    async def _read_page(self, request: message_pb2.ListMessagesRequest) -> FetchedPage:
        return self._pages.read(await self._list_messages(request, timeout=self._timeout_seconds))

    async def _enter_batch(self, requests: Sequence[group_pb2.EnterRequest]) -> Sequence[EnteredGroup | ThrongError]:
        async def call() -> Sequence[EnteredGroup | ThrongError]:
            response = await self._groups.BatchEnter(group_pb2.BatchEnterRequest(entries=requests), timeout=self._timeout_seconds)
            return _entered_many(response.results)

        return await self._batch("BatchEnter", call, len(requests))

    async def _unread_batch(self, pairs: Sequence[unread_pb2.UserInGroup]) -> Sequence[UnreadCount | ThrongError]:
        async def call() -> Sequence[UnreadCount | ThrongError]:
            response = await self._unread.BatchGetUnread(
                unread_pb2.BatchGetUnreadRequest(pairs=pairs), timeout=self._timeout_seconds
            )
            return [to_unread(count) for count in response.counts]

        return await self._batch("BatchGetUnread", call, len(pairs))

    async def _deleted_batch(self, requests: Sequence[message_pb2.ListDeletedRequest]) -> Sequence[Sequence[int] | ThrongError]:
        async def call() -> Sequence[Sequence[int]]:
            response = await self._messages.BatchListDeleted(
                message_pb2.BatchListDeletedRequest(requests=requests), timeout=self._timeout_seconds
            )
            return [list(result.seqs) for result in response.results]

        return await self._batch("BatchListDeleted", call, len(requests))

    async def _batch(self, method: str, call: Callable[[], Awaitable[Sequence[_T]]], size: int) -> Sequence[_T | ThrongError]:
        results = await self._outcome(method, call)
        if isinstance(results, ThrongError):
            return [results] * size
        if len(results) != size:
            return [ThrongError(ErrorCode.INTERNAL, f"{method} answered {len(results)} of {size} entries")] * size
        return results


def _entered_many(results: Sequence[group_pb2.EnterResult]) -> list[EnteredGroup | ThrongError]:
    """Most of a large batch enter the same group: it is read once."""
    known: dict[str, tuple[common_pb2.Group, Group]] = {}
    entered: list[EnteredGroup | ThrongError] = []
    for result in results:
        if result.HasField("error"):
            entered.append(from_detail(result.error))
            continue
        proto = result.entered.group
        kept = known.get(proto.group_id)
        if kept is None or kept[0] != proto:
            kept = known[proto.group_id] = (proto, to_group(proto))
        entered.append(EnteredGroup(kept[1], to_member(result.entered.member)))
    return entered


def _entered(result: group_pb2.EnterResult) -> EnteredGroup | ThrongError:
    (entered,) = _entered_many([result])
    return entered


def _member(user_id: UserId, result: group_pb2.EnterResult) -> Member:
    """A member, or one without a role.

    Raises:
        ThrongError: whether they are one could not be told.
    """
    entered = _entered(result)
    if not isinstance(entered, ThrongError):
        return entered.member
    if entered.code not in (ErrorCode.NOT_A_MEMBER, ErrorCode.GROUP_NOT_FOUND):
        raise entered
    return Member(user_id, Role.NONE)


def _listed(result: UnreadCount | ThrongError) -> Sequence[UnreadCount] | ThrongError:
    return result if isinstance(result, ThrongError) else [result]
