"""EdgeService over real gRPC: identity, order, unreadable events, flow control, drain, end of streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import grpc
import pytest
from edge_neighbours import Delivery, block_event
from prometheus_client import CollectorRegistry

from edge import servicer as servicer_module
from edge.adapters.proto_values import to_event
from edge.ports import AnswerEvent, BlockEvent, EdgeEvent, GroupEvent, HeadEvent, MemberEvent
from edge.servicer import EdgeServicer
from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.api.edge.v1 import edge_pb2, edge_pb2_grpc
from throng.domain.errors import ErrorCode
from throng.domain.group import Role
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_aio import AioServer
from throng.runtime.rpc_metrics import RpcMetrics


class RecordingGate:
    """Takes events at once, or, while `held`, not at all."""

    def __init__(self) -> None:
        self.events: list[EdgeEvent] = []
        self.held = False
        self.waiting_events = 0
        self.blocked = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def post(self, events: Sequence[EdgeEvent], on_taken: Callable[[], None] | None) -> None:
        self.events.extend(events)
        if self.held:
            self.waiting_events += len(events)
        if on_taken is not None:
            self._callbacks.append(on_taken)
            self.blocked.set()

    def release(self) -> None:
        self.waiting_events = 0
        for callback in self._callbacks:
            callback()
        self._callbacks.clear()


class Serving:
    """An EdgeServicer on a port."""

    def __init__(self, *, json_wanted: bool = False) -> None:
        self.gate = RecordingGate()
        self.counts = [0, 0]
        self.drains: list[int | None] = []
        self.aio = AioThread()
        self.aio.start()
        self.json_wanted = json_wanted
        self.address = self.aio.run(self._serve(), 5)

    async def _serve(self) -> str:
        self.servicer = EdgeServicer(
            "edge-1",
            42,
            self.gate,
            read_event=lambda data: to_event(data, wants_json=lambda _group: self.json_wanted),
            drain=self._drain,
            events_received=self._count,
        )
        self._server = AioServer(RpcMetrics("edge", CollectorRegistry()))
        self._server.add(edge_pb2_grpc.add_EdgeServiceServicer_to_server, self.servicer, "throng.edge.v1.EdgeService")
        return f"127.0.0.1:{await self._server.start('127.0.0.1:0')}"

    def _drain(self, window_ms: int | None) -> int:
        self.drains.append(window_ms)
        return 17

    def _count(self, read: int, unreadable: int) -> None:
        self.counts[0] += read
        self.counts[1] += unreadable

    def close(self) -> None:
        self.aio.loop.call_soon_threadsafe(self.servicer.end_streams)
        self.aio.run(self._server.stop(1), 5)
        self.aio.stop()


@pytest.fixture
def serving() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.close()


@pytest.fixture
def delivery(serving: Serving) -> Iterator[Delivery]:
    delivery = Delivery(serving.address, "edge-1", 42)
    delivery.open()
    yield delivery
    delivery.close()


def message(seq: int, **content: object) -> message_pb2.Message:
    return message_pb2.Message(seq=seq, sender_id="bob", **(content or {"text": message_pb2.Text(text=f"hi {seq}")}))  # type: ignore[arg-type]


def head(number: int) -> edge_pb2.EdgeEvent:
    return edge_pb2.EdgeEvent(group_id="lobby", head=edge_pb2.Head(epoch=1, head_seq=number))


@pytest.mark.parametrize(("edge_id", "incarnation"), [("edge-2", 42), ("edge-1", 41), ("", 0)])
def test_another_identity_ends_the_stream(serving: Serving, edge_id: str, incarnation: int) -> None:
    stranger = Delivery(serving.address, edge_id, incarnation)
    with pytest.raises(grpc.RpcError) as caught:
        stranger.open()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    assert not serving.gate.events
    stranger.close()


def test_events_arrive_in_order_and_are_counted(serving: Serving, delivery: Delivery) -> None:
    assert delivery.send(head(1), head(2)) == 2
    assert delivery.send(head(3)) == 3
    assert [event.head_seq for event in serving.gate.events if isinstance(event, HeadEvent)] == [1, 2, 3]


def test_a_block_is_read_once_for_all(serving: Serving, delivery: Delivery) -> None:
    event = block_event([message(4), message(5, recall=message_pb2.Recall(target_seq=2))], published_at_ms=99)
    delivery.send(event)
    (block,) = serving.gate.events
    assert isinstance(block, BlockEvent)
    assert (block.group_id, block.epoch, block.prev_seq, block.head_seq, block.published_at_ms) == ("lobby", 1, 3, 5, 99)
    assert block.block == event.block
    assert [seq for seq, _ in block.messages] == [4, 5]
    assert message_pb2.Message.FromString(block.messages[0][1]).text.text == "hi 4"
    assert block.recalled == [(2, 5)]
    assert block.json_block is None


def test_json_is_made_only_where_it_is_wanted(serving: Serving, delivery: Delivery) -> None:
    serving.json_wanted = True
    delivery.send(block_event([message(1)]))
    (block,) = serving.gate.events
    assert isinstance(block, BlockEvent)
    assert block.json_block == ('{"groupId":"lobby","epoch":1,"messages":[{"seq":"1","senderId":"bob","text":{"text":"hi 1"}}]}')


def test_answers_members_and_groups_are_read(serving: Serving, delivery: Delivery) -> None:
    ack = edge_pb2.Answer(conn_id="c1", request_id=7)
    ack.ack.group_id, ack.ack.client_msg_id, ack.ack.epoch, ack.ack.seq, ack.ack.sent_at_ms = "lobby", "m1", 1, 9, 5
    reject = edge_pb2.Answer(conn_id="c1", request_id=8)
    reject.reject.group_id, reject.reject.client_msg_id = "lobby", "m2"
    reject.reject.code, reject.reject.text, reject.reject.retry_after_ms = error_pb2.ERROR_CODE_MUTED, "hush", 60
    delivery.send(
        edge_pb2.EdgeEvent(group_id="lobby", answer=ack),
        edge_pb2.EdgeEvent(group_id="lobby", answer=reject),
        edge_pb2.EdgeEvent(group_id="lobby", member_change=edge_pb2.MemberChange(user_id="eve")),
        edge_pb2.EdgeEvent(group_id="lobby", group_changed=group_pb2.Group(group_id="lobby", name="New")),
    )
    acked, rejected, member, group = serving.gate.events
    assert isinstance(acked, AnswerEvent)
    assert (acked.conn_id, acked.request_id, acked.client_msg_id, acked.seq, acked.error) == ("c1", 7, "m1", 9, None)
    assert isinstance(rejected, AnswerEvent)
    assert rejected.error is not None
    assert (rejected.error.code, rejected.error.text, rejected.error.retry_after_ms) == (ErrorCode.MUTED, "hush", 60)
    assert isinstance(member, MemberEvent)
    assert (member.user_id, member.role) == ("eve", Role.NONE)
    assert isinstance(group, GroupEvent)
    assert group.group.name == "New"


def test_unreadable_events_disturb_no_others(serving: Serving, delivery: Delivery) -> None:
    rubbish = edge_pb2.EdgeEvent(group_id="lobby", block=b"\xff\xff")
    assert delivery.send(head(1), rubbish, edge_pb2.EdgeEvent(group_id="lobby"), head(2)) == 4
    assert len(serving.gate.events) == 2
    assert serving.counts == [2, 2]


def test_a_hub_that_is_behind_holds_the_router_back(serving: Serving, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """I8: the bound is kept by not reading on; nothing is dropped."""
    monkeypatch.setattr(servicer_module, "MAX_WAITING_EVENTS", 2)
    serving.gate.held = True
    assert delivery.send(head(1), head(2)) == 2
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(delivery.send(head(3))))
    sender.start()
    assert serving.gate.blocked.wait(10)
    assert not answers
    serving.aio.loop.call_soon_threadsafe(serving.gate.release)
    sender.join(10)
    assert answers == [3]


def test_drain_passes_its_window_on(serving: Serving, delivery: Delivery) -> None:
    assert delivery.stub.Drain(edge_pb2.DrainRequest(window_ms=1_500), timeout=5).connections == 17
    delivery.stub.Drain(edge_pb2.DrainRequest(), timeout=5)
    assert serving.drains == [1_500, None]
    with pytest.raises(grpc.RpcError) as caught:
        delivery.stub.Drain(edge_pb2.DrainRequest(window_ms=600_001), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def test_streams_end_when_the_edge_stops(serving: Serving, delivery: Delivery) -> None:
    serving.aio.loop.call_soon_threadsafe(serving.servicer.end_streams)
    assert list(delivery.responses) == []
