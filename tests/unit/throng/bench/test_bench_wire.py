"""Frames, decoding, plans and sharing of the load client."""

from __future__ import annotations

import pathlib
import uuid

import pytest

from edge.protocol.frames import binary_frame
from edge.protocol.handshake import accept_key
from edge.protocol.masking import unmask
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.bench.decoding import AckEvent, Decoder, EnteredEvent, FailureEvent, Notice, PulledEvent, RejectEvent
from throng.bench.pages import Page, digest, make_text, read_text
from throng.bench.plan import BenchPlan
from throng.bench.sender_client import new_msg_id
from throng.bench.sharing import deal, worker_count
from throng.bench.websocket import BrokenStreamError, Handshake, client_frame, split_frames
from throng.domain.errors import ErrorCode, ThrongError


def plan(**changes: object) -> BenchPlan:
    target = {"urls": ("ws://127.0.0.1:1",), "group_address": "127.0.0.1:2", "jwt_secret_file": pathlib.Path("secret")}
    return BenchPlan(**target | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_masked_and_cut(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    sent = client_frame(payload)
    body = sent[-size:] if size else b""
    mask = sent[len(sent) - size - 4 : len(sent) - size]
    assert unmask(body, mask) == payload
    data = binary_frame(payload) + binary_frame(b"next")
    frames, rest = split_frames(data + b"\x82")
    assert [frame.payload for frame in frames] == [payload, b"next"]
    assert rest == b"\x82"


def test_a_stream_cut_anywhere_gives_the_same_frames() -> None:
    data = binary_frame(b"a" * 10) + binary_frame(b"b" * 300)
    for place in range(len(data) + 1):
        first, rest = split_frames(data[:place])
        second, rest = split_frames(rest + data[place:])
        assert [len(frame.payload) for frame in first + second] == [10, 300]
        assert rest == b""


@pytest.mark.parametrize("data", [b"\x82\x81....x", b"\xc2\x01x", b"\x82\x7f" + (1 << 40).to_bytes(8, "big")])
def test_what_a_server_may_not_send_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        split_frames(data)


def test_an_upgrade_is_checked() -> None:
    handshake = Handshake("h", "/ws", "token")
    key = handshake.request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
    handshake.check(f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept_key(key)}".encode())
    with pytest.raises(BrokenStreamError, match="503"):
        handshake.check(b"HTTP/1.1 503 Service Unavailable")
    with pytest.raises(BrokenStreamError, match="another"):
        handshake.check(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x")


def message(seq: int, text: str) -> message_pb2.Message:
    return message_pb2.Message(seq=seq, sender_id="s", client_msg_id=f"id{seq}", text=message_pb2.Text(text=text))


def block(group: str, after: int, *messages: message_pb2.Message) -> bytes:
    made = message_pb2.Block(group_id=group, epoch=1, prev_seq=after, messages=messages)
    return binary_frame(client_pb2.ServerFrame(block=made).SerializeToString())


def test_blocks_are_decoded_once_however_many_receive_them() -> None:
    seen: list[Page] = []
    decoder = Decoder("run", seen.append)
    data = block("g", 4, message(5, make_text("run", "g", 0, 77, 200)), message(6, "hello"))
    events = decoder.broadcasts(data)
    assert decoder.cached(bytes(data)) is events
    assert seen == [events[0]]  # type: ignore[index]
    page = seen[0]
    assert (page.group_id, page.after_seq, page.last_seq, page.created_ns, page.flaw) == ("g", 4, 6, (77, 0), "")
    assert page.digests[0] == digest("s", "id5", make_text("run", "g", 0, 77, 200))


def test_a_block_with_messages_of_another_group_says_so() -> None:
    decoder = Decoder("run", lambda page: None)
    events = decoder.broadcasts(block("g", 4, message(5, make_text("run", "other", 0, 77, 200))))
    assert events is not None
    assert isinstance(events[0], Page)
    assert events[0].foreign == (5,)


def test_a_swapped_block_is_flawed() -> None:
    decoder = Decoder("run", lambda page: None)
    events = decoder.broadcasts(block("g", 4, message(6, "x"), message(5, "y")))
    assert events is not None
    assert isinstance(events[0], Page)
    assert events[0].flaw


def test_chunks_with_answers_or_halves_are_not_taken_as_broadcasts() -> None:
    decoder = Decoder("run", lambda page: None)
    data = block("g", 4, message(5, "x"))
    ack = binary_frame(client_pb2.ServerFrame(ack=client_pb2.Ack(client_msg_id="a")).SerializeToString())
    assert decoder.broadcasts(data[:-1]) is None
    assert decoder.broadcasts(data + ack) is None


def test_every_answer_is_decoded() -> None:
    decoder = Decoder("run", lambda page: None)

    def event(**kind: object) -> object:
        return decoder.event(client_pb2.ServerFrame(request_id=7, **kind).SerializeToString())  # type: ignore[arg-type]

    assert event(ack=client_pb2.Ack(group_id="g", client_msg_id="a", epoch=1, seq=9)) == AckEvent("g", "a", 1, 9)
    code = error_pb2.ERROR_CODE_UNAVAILABLE
    reject = client_pb2.Reject(client_msg_id="a", code=code, retry_after_ms=5)
    assert event(reject=reject) == RejectEvent("a", ErrorCode.UNAVAILABLE, 5)
    assert event(failure=client_pb2.Failure(code=code)) == FailureEvent(7, ErrorCode.UNAVAILABLE, 0)
    assert event(notice=client_pb2.Notice(group_id="g", epoch=1, head_seq=3)) == Notice("g", 1, 3)
    pulled = event(pulled=client_pb2.Pulled(group_id="g", epoch=1, after_seq=4, up_to_seq=4, head_seq=9))
    assert pulled == PulledEvent(Page("g", 1, 4, 4), 9)
    entered = event(entered=client_pb2.Entered(group=group_pb2.Group(group_id="g", epoch=1, head_seq=9)))
    assert entered == EnteredEvent(Page("g", 1, 9, 9), 9, False, 0)
    with pytest.raises(BrokenStreamError):
        decoder.event(b"\xff\xff")


def test_a_text_says_whose_it_is() -> None:
    text = make_text("run", "group", 5, 123, 200)
    assert len(text) == 200
    assert read_text(text) == ("run", "group", 123)
    assert read_text("hello") is None
    assert read_text("throng-bench of a person") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": ()},
        {"urls": ("ftp://127.0.0.1:1",)},
        {"urls": ("ws://127.0.0.1:99999",)},
        {"urls": ("ws://example.com:1",)},
        {"group_address": "example.com:2"},
        {"group_ids": ("a b",)},
        {"receivers": 0, "senders": 0},
        {"text_bytes": 10},
        {"rate": 1_000.0, "seconds": 10_000.0},
        {"seconds": 0.0},
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ThrongError) as caught:
        plan(**changes).check()
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_a_remote_target_has_to_be_allowed() -> None:
    plan(urls=("wss://example.com",), group_address="example.com:2", allow_remote=True).check()
    plan(urls=("ws://[::1]:8080", "http://localhost:1")).check()


def test_clients_are_dealt_out_to_groups_edges_and_workers() -> None:
    made = plan(groups=3, receivers=12, senders=6, workers=4, rate=60.0)
    dealt = deal(made, "run")
    assert [len(dealt.members[group_id]) for group_id in dealt.group_ids] == [6, 6, 6]
    shares = dealt.shares(made, "run", 0)
    assert sum(len(share.receivers) for share in shares) == 12
    assert sum(share.rate for share in shares) == pytest.approx(60.0)
    users = [client.user_id for share in shares for client in (*share.receivers, *share.senders)]
    assert len(set(users)) == 18
    for group_id in dealt.group_ids:
        assert {client.edge % 2 for client in dealt.receivers if client.group_id == group_id} == {0, 1}


def test_one_group_is_spread_over_all_edges() -> None:
    dealt = deal(plan(receivers=10, senders=0), "run")
    assert [client.edge % 2 for client in dealt.receivers].count(0) == 5
    many = deal(plan(groups=10, receivers=10, senders=0), "run")
    assert [client.edge % 2 for client in many.receivers].count(0) == 5


def test_workers_are_as_many_as_clients_need() -> None:
    assert worker_count(plan(receivers=1, senders=0, workers=8)) == 1
    assert worker_count(plan(receivers=100, senders=10)) == 1


def test_ids_of_messages_are_random_uuids() -> None:
    ids = [new_msg_id() for _ in range(500)]
    assert len(set(ids)) == 500
    for text in ids:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
