"""`Upstream` over real gRPC: results in the hub thread, batches, bounds, deadlines, and one answer for every call."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from edge_neighbours import Neighbours

from edge.adapters.grpc_upstream import GrpcUpstream
from edge.ports import EnteredGroup, FetchedPage, GroupHead, ReadCursor, UnreadCount
from throng.adapters.memory_uplink import MemoryUplink
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Role
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission
from throng.runtime import rpc_aio
from throng.runtime.aio_thread import AioThread

DEADLINE_SECONDS = 10.0
ALICE, LOBBY = UserId("alice"), GroupId("lobby")


class Half:
    """Upstream between two loops; tests call it in the hub's, as sessions do."""

    def __init__(self, neighbours: Neighbours, *, max_calls: int = 100, timeout_seconds: float = 3.0) -> None:
        self.hub, self.business = AioThread("edge-hub"), AioThread("aio")
        self.hub.start()
        self.business.start()
        self.uplink = MemoryUplink()
        self.routes: list[Any] = []
        self.ended: list[tuple[str, str]] = []
        self._max_calls, self._timeout_seconds = max_calls, timeout_seconds
        self.upstream = self.business.run(self._make(neighbours.address), 5)
        self.upstream.attach(self.hub.loop)

    async def _make(self, address: str) -> GrpcUpstream:
        self._channel = rpc_aio.channel([address])
        upstream = GrpcUpstream(
            self._channel,
            self._channel,
            self.uplink,
            report_routes=self.routes.append,
            call_ended=lambda method, code, _seconds: self.ended.append((method, code)),
            call_timeout_seconds=self._timeout_seconds,
            max_calls_under_way=self._max_calls,
        )
        upstream.start(self.business.loop)
        return upstream

    def in_hub(self, call: Callable[[], None]) -> None:
        self.hub.loop.call_soon_threadsafe(call)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls in the hub thread; returns the one result, checked to come in the hub thread."""
        results: queue.Queue[Any] = queue.Queue()

        def done(result: Any) -> None:
            results.put((threading.current_thread().name, result))

        self.in_hub(lambda: getattr(self.upstream, method)(*arguments, done))
        thread, result = results.get(timeout=DEADLINE_SECONDS)
        assert thread == "edge-hub"
        return result

    def close(self) -> None:
        self.business.run(self.upstream.stop(), 5)
        self.business.run(self._channel.close(None), 5)
        self.hub.stop()
        self.business.stop()


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    neighbours = Neighbours()
    neighbours.start()
    yield neighbours
    neighbours.stop()


@pytest.fixture
def half(neighbours: Neighbours) -> Iterator[Half]:
    half = Half(neighbours)
    yield half
    half.close()


def test_entering_gives_group_and_member(half: Half) -> None:
    entered = half.ask("enter", ALICE, LOBBY, "Alice")
    assert isinstance(entered, EnteredGroup)
    assert (entered.group.group_id, entered.group.epoch, entered.group.settings.send_interval_ms) == ("lobby", 1, 0)
    assert (entered.member.user_id, entered.member.role) == ("alice", Role.MEMBER)
    refused = half.ask("enter", ALICE, GroupId("none"), "Alice")
    assert isinstance(refused, ThrongError)
    assert refused.code is ErrorCode.GROUP_NOT_FOUND


def test_a_storm_of_enters_is_a_few_calls(half: Half, neighbours: Neighbours) -> None:
    results: queue.Queue[Any] = queue.Queue()

    def storm() -> None:
        for number in range(90):
            half.upstream.enter(UserId(f"u{number}"), LOBBY, "", results.put)

    half.in_hub(storm)
    users = {results.get(timeout=DEADLINE_SECONDS).member.user_id for _ in range(90)}
    assert users == {f"u{number}" for number in range(90)}
    assert sum(neighbours.groups.enter_batches) == 90
    assert len(neighbours.groups.enter_batches) <= 3


def test_deletions_of_many_users_are_a_few_calls_and_each_gets_its_own(half: Half, neighbours: Neighbours) -> None:
    neighbours.groups.deleted = {f"u{number}": [number] for number in range(1, 90)}
    results: queue.Queue[Any] = queue.Queue()

    def storm() -> None:
        for number in range(90):
            half.upstream.fetch_deleted(
                UserId(f"u{number}"),
                LOBBY,
                1,
                lambda result, number=number: results.put((number, result)),  # type: ignore[misc]
            )

    half.in_hub(storm)
    answers = dict(results.get(timeout=DEADLINE_SECONDS) for _ in range(90))
    assert answers == {number: [number] if number else [] for number in range(90)}
    assert sum(neighbours.groups.deleted_batches) == 90
    assert len(neighbours.groups.deleted_batches) <= 3


def test_pages_are_read_both_ways(half: Half, neighbours: Neighbours) -> None:
    for number in range(10):
        neighbours.groups.add(f"m{number + 1}")
    page = half.ask("fetch_after", LOBBY, 3, 6, 100)
    assert isinstance(page, FetchedPage)
    assert (page.epoch, page.head_seq, page.after_seq, [seq for seq, _ in page.messages]) == (1, 10, 3, [4, 5, 6])
    assert message_pb2.Message.FromString(page.messages[0][1]).text.text == "m4"
    assert [seq for seq, _ in half.ask("fetch_after", LOBBY, 0, 0, 100).messages] == list(range(1, 11))
    page = half.ask("fetch_before", LOBBY, 6, 2)
    assert (page.after_seq, [seq for seq, _ in page.messages]) == (3, [4, 5])
    assert [seq for seq, _ in half.ask("fetch_before", LOBBY, 0, 2).messages] == [9, 10]


def test_unread_counts_cursors_and_heads(half: Half, neighbours: Neighbours) -> None:
    neighbours.groups.add("one")
    assert half.ask("fetch_unread", ALICE, [LOBBY]) == [UnreadCount(LOBBY, 0, False, 0)]
    assert len(half.ask("fetch_unread", ALICE, [LOBBY, GroupId("team")])) == 2
    assert half.ask("report_cursors", [ReadCursor(ALICE, LOBBY, 7)]) is None
    assert neighbours.unread.cursors == {("alice", "lobby"): 7}
    assert half.ask("fetch_heads", [LOBBY]) == [GroupHead(LOBBY, 1, 1)]
    assert half.ask("fetch_heads", []) == []
    assert half.ask("fetch_deleted", ALICE, LOBBY, 1) == []
    assert half.ask("list_groups", ALICE) == []


def test_a_method_that_fails_is_an_error_not_a_crash(half: Half) -> None:
    result = half.ask("delete_for_user", ALICE, LOBBY, 1)  # the fake does not serve it: UNIMPLEMENTED
    assert isinstance(result, ThrongError)
    assert result.code is ErrorCode.INTERNAL
    assert ("DeleteMessageForUser", "UNIMPLEMENTED") in half.ended


def test_submissions_are_appended_in_the_order_of_the_calls(half: Half) -> None:
    """I4, as far as the edge is concerned. That they were appended is not told: the answer will come."""
    results: queue.Queue[Any] = queue.Queue()

    def submit_all() -> None:
        for number in range(50):
            origin = Origin(EdgeId("edge-1"), 1, ConnId("c"), number)
            half.upstream.submit(Submission(LOBBY, ALICE, f"id-{number}", MessageKind.TEXT, b"", origin, 1), results.put)

    half.in_hub(submit_all)
    assert half.ask("fetch_heads", [LOBBY])
    assert results.empty()
    records = half.uplink.poll(1.0, 100)
    assert [record.submission.client_msg_id for record in records if record.submission] == [f"id-{n}" for n in range(50)]


def test_a_submission_that_finds_no_place_in_the_log_is_refused_in_the_hub_thread(half: Half) -> None:
    half.uplink.close(0.1)
    results: queue.Queue[Any] = queue.Queue()
    submission = Submission(LOBBY, ALICE, "id", MessageKind.TEXT, b"", Origin(EdgeId("edge-1"), 1, ConnId("c"), 1), 1)
    half.in_hub(lambda: half.upstream.submit(submission, lambda error: results.put((error, threading.current_thread().name))))
    error, thread = results.get(timeout=DEADLINE_SECONDS)
    assert error.code is ErrorCode.UNAVAILABLE
    assert thread == "edge-hub"


def test_routes_reach_the_business_loop(half: Half) -> None:
    half.in_hub(lambda: half.upstream.report_routes([(LOBBY, 1)]))
    assert half.ask("fetch_heads", [LOBBY])
    assert half.routes == [[(LOBBY, 1)]]


def test_services_that_are_away_give_unavailable_within_the_deadline(neighbours: Neighbours) -> None:
    neighbours.stop()
    half = Half(neighbours, timeout_seconds=0.5)
    for result in (half.ask("fetch_heads", [LOBBY]), half.ask("enter", ALICE, LOBBY, "")):
        assert isinstance(result, ThrongError)
        assert result.code in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED)
    half.close()


def test_calls_under_way_are_bounded_and_the_rest_is_refused(neighbours: Neighbours) -> None:
    """I8: the bound's policy is UNAVAILABLE for the new call; the bound frees itself."""
    half = Half(neighbours, max_calls=5)
    results: queue.Queue[Any] = queue.Queue()

    def ask_ten() -> None:
        for _ in range(10):
            half.upstream.fetch_heads([LOBBY], results.put)

    half.in_hub(ask_ten)
    outcomes = [results.get(timeout=DEADLINE_SECONDS) for _ in range(10)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ThrongError)]
    assert len(refused) == 5
    assert {error.code for error in refused} == {ErrorCode.UNAVAILABLE}
    assert half.upstream.refused_calls == 5
    assert half.ask("fetch_heads", [LOBBY])
    assert half.upstream.calls_under_way == 0
    half.close()


def test_a_group_service_that_hangs_gets_few_calls_and_those_who_waited_too_long_are_refused(neighbours: Neighbours) -> None:
    """I8: two calls with what fits, and no more; nobody waits for ever; afterwards all is as before."""
    half = Half(neighbours, max_calls=10_000, timeout_seconds=0.5)
    neighbours.groups.enters_allowed.clear()
    results: queue.Queue[Any] = queue.Queue()

    def storm() -> None:
        for number in range(3_000):
            half.upstream.enter(UserId(f"u{number}"), LOBBY, "", results.put)

    half.in_hub(storm)
    codes = {results.get(timeout=DEADLINE_SECONDS).code for _ in range(3_000)}
    assert codes == {ErrorCode.DEADLINE_EXCEEDED, ErrorCode.UNAVAILABLE}
    assert len(neighbours.groups.enter_batches) <= 4
    assert half.upstream.shed_requests >= 1_000
    neighbours.groups.enters_allowed.set()
    assert isinstance(half.ask("enter", ALICE, LOBBY, "Alice"), EnteredGroup)
    assert half.upstream.calls_under_way == 0
    half.close()
    assert results.empty()


def test_what_waits_for_a_place_in_a_batch_is_answered_when_the_edge_stops(neighbours: Neighbours) -> None:
    half = Half(neighbours, max_calls=10_000)
    neighbours.groups.enters_allowed.clear()
    results: queue.Queue[Any] = queue.Queue()

    def storm() -> None:
        for number in range(3_000):
            half.upstream.enter(UserId(f"u{number}"), LOBBY, "", results.put)

    half.in_hub(storm)
    half.ask("fetch_heads", [LOBBY])  # behind all of them
    half.business.run(half.upstream.stop(), 5)
    for _ in range(3_000):
        results.get(timeout=DEADLINE_SECONDS)
    neighbours.groups.enters_allowed.set()
    half.close()
    assert results.empty()


def test_every_call_is_answered_once_when_the_edge_stops(neighbours: Neighbours) -> None:
    half = Half(neighbours)
    results: queue.Queue[Any] = queue.Queue()

    def ask_all() -> None:
        for number in range(40):
            half.upstream.enter(UserId(f"u{number}"), LOBBY, "", results.put)
            half.upstream.fetch_heads([LOBBY], results.put)

    half.in_hub(ask_all)
    half.business.run(half.upstream.stop(), 5)
    half.in_hub(lambda: half.upstream.fetch_heads([LOBBY], results.put))
    for _ in range(81):
        results.get(timeout=DEADLINE_SECONDS)
    half.close()
    assert results.empty()
