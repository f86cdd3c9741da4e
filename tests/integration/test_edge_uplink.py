"""The uplink stream of an edge process (`GrpcUplinkProducer`) against a real gRPC log: order, refusals, breaks, bounds."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from edge_neighbours import Neighbours

from throng.adapters.grpc_uplink import GrpcUplinkProducer
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission
from throng.runtime import rpc_aio
from throng.runtime.aio_thread import AioThread

DEADLINE_SECONDS = 10.0
ORIGIN = Origin(EdgeId("edge-1"), 7, ConnId("c1"), 3)


def submission(number: int) -> Submission:
    body = message_pb2.Message(text=message_pb2.Text(text=str(number))).SerializeToString()
    return Submission(GroupId("lobby"), UserId("alice"), f"id-{number}", MessageKind.TEXT, body, ORIGIN, 1)


class Outcomes:
    """Collects what producers say."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[int, ThrongError | None]] = queue.Queue()

    def of(self, number: int):
        return lambda error: self._queue.put((number, error))

    def take(self, count: int) -> dict[int, ThrongError | None]:
        return dict(self._queue.get(timeout=DEADLINE_SECONDS) for _ in range(count))


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    neighbours = Neighbours()
    neighbours.start()
    yield neighbours
    neighbours.stop()


def make(neighbours: Neighbours, aio: AioThread, **more: float) -> GrpcUplinkProducer:
    return GrpcUplinkProducer(lambda: rpc_aio.channel([neighbours.address]), aio.loop, **more)  # type: ignore[arg-type]


def appended(neighbours: Neighbours, count: int) -> list[str]:
    return [neighbours.groups.appended.get(timeout=DEADLINE_SECONDS).client_msg_id for _ in range(count)]


def test_records_stand_in_the_order_of_the_calls(neighbours: Neighbours, aio: AioThread) -> None:
    """I4, as far as the edge is concerned."""
    producer, outcomes = make(neighbours, aio), Outcomes()
    for number in range(5_000):
        producer.append(submission(number), outcomes.of(number))
    assert set(outcomes.take(5_000).values()) == {None}
    assert appended(neighbours, 5_000) == [f"id-{number}" for number in range(5_000)]
    assert producer.records_in_flight == 0
    assert neighbours.groups.streams == 1
    producer.close(5)


def test_a_record_carries_everything(neighbours: Neighbours, aio: AioThread) -> None:
    producer, outcomes = make(neighbours, aio), Outcomes()
    producer.append(submission(1), outcomes.of(1))
    record = neighbours.groups.appended.get(timeout=DEADLINE_SECONDS)
    assert (record.group_id, record.user_id, record.body.text.text) == ("lobby", "alice", "1")
    origin = record.origin
    assert (origin.edge_id, origin.incarnation, origin.conn_id, origin.request_id) == ("edge-1", 7, "c1", 3)
    producer.close(5)


def test_a_refusal_of_the_log_is_passed_on(neighbours: Neighbours, aio: AioThread) -> None:
    neighbours.groups.refuse_appends = True
    producer, outcomes = make(neighbours, aio), Outcomes()
    producer.append(submission(1), outcomes.of(1))
    error = outcomes.take(1)[1]
    assert error is not None
    assert (error.code, error.text, error.retry_after_ms) == (ErrorCode.UNAVAILABLE, "the log is full", 7)
    producer.close(5)


def test_a_broken_stream_is_taken_up_again_without_loss_or_disorder(neighbours: Neighbours, aio: AioThread) -> None:
    neighbours.groups.break_next_append = True
    producer, outcomes = make(neighbours, aio), Outcomes()
    for number in range(3_000):
        producer.append(submission(number), outcomes.of(number))
    assert set(outcomes.take(3_000).values()) == {None}
    ids = appended(neighbours, 3_000)
    first_places = [ids.index(f"id-{number}") for number in range(0, 3_000, 500)]
    assert first_places == sorted(first_places)
    assert neighbours.groups.streams >= 2
    producer.close(5)


def test_records_wait_for_a_log_that_restarts(neighbours: Neighbours, aio: AioThread) -> None:
    producer, outcomes = make(neighbours, aio), Outcomes()
    producer.append(submission(0), outcomes.of(0))
    assert outcomes.take(1) == {0: None}
    neighbours.stop()
    producer.append(submission(1), outcomes.of(1))
    neighbours.start()
    assert outcomes.take(1) == {1: None}
    assert appended(neighbours, 2) == ["id-0", "id-1"]
    producer.close(5)


def test_a_log_that_stays_away_is_told_in_time(neighbours: Neighbours, aio: AioThread) -> None:
    neighbours.stop()
    producer, outcomes = make(neighbours, aio, patience_seconds=0.3), Outcomes()
    producer.append(submission(1), outcomes.of(1))
    error = outcomes.take(1)[1]
    assert error is not None
    assert error.code is ErrorCode.UNAVAILABLE
    producer.close(1)


def test_the_bound_refuses_and_frees(neighbours: Neighbours, aio: AioThread) -> None:
    """I8: above the bound `done` says UNAVAILABLE before `append` returns."""
    blocked = threading.Event()
    aio.loop.call_soon_threadsafe(blocked.wait)
    producer, outcomes = make(neighbours, aio, max_records_in_flight=2), Outcomes()
    for number in range(3):
        producer.append(submission(number), outcomes.of(number))
    third = outcomes.take(1)
    assert list(third) == [2]
    assert third[2] is not None
    assert third[2].code is ErrorCode.UNAVAILABLE
    blocked.set()
    assert outcomes.take(2) == {0: None, 1: None}
    producer.append(submission(3), outcomes.of(3))
    assert outcomes.take(1) == {3: None}
    producer.close(5)


def test_close_flushes_then_fails_the_rest_and_refuses_more(neighbours: Neighbours, aio: AioThread) -> None:
    producer, outcomes = make(neighbours, aio), Outcomes()
    producer.append(submission(0), outcomes.of(0))
    producer.close(5)
    assert outcomes.take(1) == {0: None}
    producer.append(submission(1), outcomes.of(1))
    refused = outcomes.take(1)[1]
    assert refused is not None
    producer.close(5)


def test_close_does_not_wait_for_a_log_that_is_away(neighbours: Neighbours, aio: AioThread) -> None:
    neighbours.stop()
    producer, outcomes = make(neighbours, aio), Outcomes()
    producer.append(submission(0), outcomes.of(0))
    producer.close(0.05)
    error = outcomes.take(1)[0]
    assert error is not None
    assert error.code is ErrorCode.UNAVAILABLE
