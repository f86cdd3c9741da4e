"""Fan-out: everyone gets every frame once and in order, whatever joins, leaves, blocks or breaks meanwhile (I8)."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator

import hub_stage
import pytest
from backends import backend_missing
from hub_stage import Stage, stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.core.array_pair import MIN_RECEIVERS
from edge.native.build import build
from edge.native.library import NativeBulkSend, NativeMissingError
from edge.protocol.deflate import deflated
from edge.protocol.frames import binary_frame
from throng.domain.close_codes import CloseCode


@pytest.fixture(params=["pure", "native", "ring"], autouse=True, scope="module")
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything here holds for all ways of sending."""
    if request.param != "pure":
        if shutil.which("cc") is None:
            backend_missing("cc", "apt-get install gcc libc6-dev")
        try:
            hub_stage.bulk_send = NativeBulkSend(build(tmp_path_factory.mktemp("native")), ring=request.param == "ring")
        except NativeMissingError as error:
            backend_missing("io_uring", str(error))
    yield
    hub_stage.bulk_send = None


HEAD = binary_frame(b"head")
STEPS = st.sampled_from(["publish", "join", "leave", "break", "turn", "turn"])


def fill(s: Stage, count: int, **how):
    array = s.hub.array()
    members = [s.join(**how) for _ in range(count)]
    for connection, _ in members:
        array.add(connection)
    return array, members


def publish(s: Stage, array, payload: bytes, done=None) -> None:
    s.hub.fan_out(array, binary_frame(payload), head_frame=lambda: HEAD, on_done=done)


def tiny_slices(s: Stage) -> None:
    """Every look at the time ends the slice."""
    ticks = itertools.count()
    s.hub._fan_out._now = lambda: float(next(ticks))


def test_everyone_gets_every_frame_in_order():
    with stage() as s:
        array, members = fill(s, 200)
        sent: list[int] = []
        for number in range(5):
            publish(s, array, b"%d" % number, sent.append)
            s.loop.turn()
        s.settle()
        assert all(client.payloads() == [b"0", b"1", b"2", b"3", b"4"] for _, client in members)
        assert sent == [200] * 5


def test_frames_that_wait_are_joined_into_one_call_per_socket():
    with stage() as s:
        array, members = fill(s, 10)
        sent: list[int] = []
        for number in range(5):
            publish(s, array, b"%d" % number, sent.append)
        s.settle()
        assert all(client.payloads() == [b"0", b"1", b"2", b"3", b"4"] for _, client in members)
        assert (s.counters.fan_out_passes, s.counters.fan_out_sends, s.counters.pending_frames) == (1, 10, 0)
        assert sent == [10] * 5


def test_joining_has_a_bound():
    with stage(join_bytes=250) as s:
        array, members = fill(s, 2)
        for number in range(5):
            publish(s, array, b"%d" % number * 100)
        publish(s, array, b"L" * 1_000)
        s.settle()
        assert s.counters.fan_out_passes == 4
        assert [payload[:1] for payload in members[0][1].payloads()] == [b"0", b"1", b"2", b"3", b"4", b"L"]


def test_a_long_pass_gives_way_to_the_loop_and_to_other_arrays():
    with stage() as s:
        tiny_slices(s)
        large, _ = fill(s, 300)
        small, small_members = fill(s, 1)
        publish(s, large, b"large")
        publish(s, small, b"small")
        s.loop.turn()
        s.loop.turn()
        assert small_members[0][1].payloads() == [b"small"]
        assert s.counters.fan_out_sends == 1
        s.settle()
        assert s.counters.fan_out_sends == 301
        assert s.counters.fan_out_slices >= 5


def test_an_empty_array_is_done_at_once():
    with stage() as s:
        sent: list[int] = []
        publish(s, s.hub.array(), b"nobody", sent.append)
        s.settle()
        assert sent == [0]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(["publish", "join", "leave", "break", "turn", "turn"]), st.integers(0, 400)), max_size=40)
)
def test_joins_and_leaves_in_the_middle_of_a_pass_lose_and_repeat_nothing(steps):
    with stage() as s:
        tiny_slices(s)
        array, members = fill(s, 130)
        since = {id(connection): 0 for connection, _ in members}
        gone: set[int] = set()
        published = 0
        for step, number in steps:
            present = [member for member in members if id(member[0]) not in gone]
            if step == "publish":
                published += 1
                publish(s, array, b"%d" % published)
            elif step == "join":
                member = s.join()
                array.add(member[0])
                since[id(member[0])] = published
                members.append(member)
            elif step == "turn":
                s.loop.turn()
            elif present:
                connection, client = present[number % len(present)]
                gone.add(id(connection))
                if step == "leave":
                    array.remove(connection)
                else:
                    client.sock.close()
        s.settle()
        for connection, client in members:
            if id(connection) in gone:
                continue
            got = [int(payload) for payload in client.payloads()]
            assert got == list(range(published - len(got) + 1, published + 1)), "in order, each once, up to the last"
            assert len(got) >= published - since[id(connection)]
        assert len(array) == len(members) - len(gone)


def test_a_broken_socket_in_a_pass_takes_nothing_from_the_others():
    with stage() as s:
        array, members = fill(s, 100)
        for _, client in members[10:60:7]:
            client.sock.close()
        sent: list[int] = []
        publish(s, array, b"x", sent.append)
        s.loop.turn()
        s.settle()
        rest = [client for number, (_, client) in enumerate(members) if number not in range(10, 60, 7)]
        assert sent == [len(rest)]
        assert all(client.payloads() == [b"x"] for client in rest)
        assert len(array) == len(rest)


def test_a_slow_reader_gets_everything_later_and_its_outbox_goes():
    with stage() as s:
        array, [(slow, slow_client), (_, fast_client)] = fill(s, 2, send_buffer=4_096)
        payloads = [b"%04d" % number + b"x" * 1_000 for number in range(40)]
        for payload in payloads:
            publish(s, array, payload)
            s.settle()
            fast_client.take()
        assert slow.outbox is not None
        assert s.counters.blocked_connections == 1
        assert s.counters.outbox_bytes > 10_000
        s.hub.send(slow, binary_frame(b"alone"))
        publish(s, array, b"after")
        for _ in range(100):
            slow_client.take()
            s.settle()
        assert slow_client.payloads() == [*payloads, b"alone", b"after"]
        assert fast_client.payloads() == [*payloads, b"after"]
        assert slow.outbox is None
        assert (s.counters.blocked_connections, s.counters.outbox_bytes) == (0, 0)
        publish(s, array, b"direct")
        s.settle()
        assert slow_client.payloads()[-1] == b"direct"


def test_a_full_outbox_shrinks_to_the_newest_head_and_keeps_what_is_for_one_alone():
    with stage(outbox_shared_bytes=10_000) as s:
        array, [(slow, client)] = fill(s, 1, send_buffer=4_096)
        other = s.hub.array()
        other.add(slow)
        newest = 0
        heads: list[int] = []

        def head_frame() -> bytes:
            heads.append(newest)
            return binary_frame(b"head %d" % newest)

        s.hub.fan_out(other, binary_frame(b"other"), head_frame=lambda: HEAD)
        for newest in range(1, 61):
            s.hub.fan_out(array, binary_frame(b"%04d" % newest + b"x" * 1_000), head_frame=head_frame)
            s.settle()
            if newest == 20:
                s.hub.send(slow, binary_frame(b"ack"))
            assert s.counters.outbox_bytes < 12_000
        assert heads == []
        for _ in range(50):
            client.take()
            s.settle()
        payloads = client.payloads()
        assert payloads[0] == b"other"
        assert payloads[-1] in (b"head 60", b"ack")
        assert {b"head 60", b"ack"} <= set(payloads)
        assert heads == [60]
        blocks = [int(payload[:4]) for payload in payloads if payload.endswith(b"x")]
        assert blocks == list(range(1, len(blocks) + 1)), "a run from the start; then the head alone"
        assert s.counters.outbox_overflows == 1
        s.hub.fan_out(array, binary_frame(b"again"), head_frame=head_frame)
        s.settle()
        assert client.payloads()[-1] == b"again"


def test_an_outbox_is_bounded_in_frames_too():
    with stage(outbox_shared_frames=8) as s:
        array, [(slow, client)] = fill(s, 1, send_buffer=4_096)
        for number in range(400):
            publish(s, array, b"%04d" % number)
            s.settle()
            assert slow.outbox is None or len(slow.outbox) <= 10
        assert s.counters.outbox_overflows == 1
        for _ in range(50):
            client.take()
            s.settle()
        *blocks, last = client.payloads()
        assert last == b"head"
        assert [int(payload) for payload in blocks] == list(range(len(blocks)))


def test_a_hundred_that_are_too_slow_are_given_up_in_turns():
    with stage(blocked_timeout_seconds=20.0, close_timeout_seconds=5.0, heartbeat_interval_seconds=300.0) as s:
        array, members = fill(s, 200, send_buffer=4_096)
        for _ in range(20):
            publish(s, array, b"x" * 1_000)
        s.settle()
        assert s.counters.blocked_connections == 200
        s.clock.advance(21.0)
        s.hub.run_due()
        most = 0
        for _ in range(10):
            before = len(array)
            s.loop.turn()
            most = max(most, before - len(array))
        assert most <= 64
        assert len(array) == 0
        s.advance(7.0)
        assert s.counters.closed == {CloseCode.TOO_SLOW: len(members)}


def test_frames_for_one_alone_are_never_dropped_but_too_many_close():
    with stage(outbox_hard_bytes=50_000) as s:
        connection, client = s.join(send_buffer=4_096)
        for number in range(100):
            s.hub.send(connection, binary_frame(b"%04d" % number + b"x" * 1_000))
            if not connection.open:
                break
        assert 40 < number < 90
        assert s.counters.outbox_bytes < 2_000
        for _ in range(20):
            client.take()
            s.settle()
        assert client.close_code() == CloseCode.TOO_SLOW
        payloads = client.payloads()
        assert [int(payload[:4]) for payload in payloads] == list(range(len(payloads)))


def test_a_client_that_takes_nothing_for_twenty_seconds_is_closed_as_too_slow():
    with stage(blocked_timeout_seconds=20.0, close_timeout_seconds=5.0, heartbeat_interval_seconds=300.0) as s:
        array, [(slow, client)] = fill(s, 1, send_buffer=4_096)
        for _ in range(20):
            publish(s, array, b"x" * 1_000)
        s.settle()
        s.advance(15.0)
        client.take()
        s.settle()
        assert slow.outbox is not None or slow.open
        for _ in range(40):
            publish(s, array, b"x" * 1_000)
        s.settle()
        s.advance(15.0)
        assert slow.open, "it took something 15 s ago"
        s.advance(7.0)
        assert not slow.open
        assert len(array) == 0
        s.advance(7.0)
        assert s.handler.closed == [(slow, CloseCode.TOO_SLOW)]
        assert (s.counters.blocked_connections, s.counters.outbox_bytes) == (0, 0)


def test_frames_that_wait_for_a_pass_are_bounded_too():
    with stage(array_pending_bytes=10_000) as s:
        array, members = fill(s, 2)
        sent: list[int] = []
        for _ in range(25):
            publish(s, array, b"x" * 1_000, sent.append)
            assert array.variants(b"")[0][0].pending_bytes <= 11_100
        s.settle()
        assert members[0][1].payloads()[0] == b"head"
        assert s.counters.array_overflows >= 2
        assert sent == [2] * 25
        assert s.counters.pending_frames == 0


def test_a_head_frame_that_cannot_be_made_ends_its_connection_only():
    with stage(outbox_shared_bytes=3_000) as s:
        array, [(slow, client)] = fill(s, 1, send_buffer=4_096)
        _, other = s.join()

        def defect() -> bytes:
            raise ValueError("a defect")

        for _ in range(30):
            s.hub.fan_out(array, binary_frame(b"x" * 1_000), head_frame=defect)
            s.settle()
        for _ in range(20):
            client.take()
            s.settle()
        assert s.handler.closed == [(slow, CloseCode.INTERNAL_ERROR)]
        other.send(b"")


def test_a_close_comes_after_what_waits():
    with stage() as s:
        array, [(slow, client)] = fill(s, 1, send_buffer=4_096)
        for _ in range(30):
            publish(s, array, b"x" * 1_000)
            s.settle()
        assert slow.outbox is not None
        s.hub.close(slow, CloseCode.DRAINING)
        for _ in range(60):
            client.take()
            s.settle()
        assert len(client.payloads()) == 30
        assert client.close_code() == CloseCode.DRAINING


@pytest.mark.parametrize("how_many", [1, 2, 3])
def test_a_connection_may_be_in_several_arrays(how_many):
    with stage() as s:
        connection, client = s.join()
        arrays = [s.hub.array() for _ in range(how_many)]
        for array in arrays:
            array.add(connection)
            array.add(connection)
        for number, array in enumerate(arrays):
            assert len(array) == 1
            publish(s, array, b"%d" % number)
        s.settle()
        assert client.payloads() == [b"%d" % number for number in range(how_many)]
        arrays[0].remove(connection)
        arrays[0].remove(connection)
        assert connection not in arrays[0]
        assert len(connection.arrays) == how_many - 1
        client.sock.close()
        s.settle()
        assert all(len(array) == 0 for array in arrays)
        arrays[0].add(connection)
        assert len(arrays[0]) == 0


def test_those_who_negotiated_it_share_one_compressed_frame_and_all_are_told_once():
    with stage() as s:
        array, plain = fill(s, 3)
        shrunk = [s.join(deflate=True) for _ in range(MIN_RECEIVERS)]
        for connection, _ in shrunk:
            array.add(connection)
        long, short = b"hello " * 50, b"short"
        sent: list[int] = []
        publish(s, array, long, sent.append)
        publish(s, array, short, sent.append)
        s.settle()
        assert all(client.received == binary_frame(long) + binary_frame(short) for _, client in plain if client.take() is not None)
        expected = deflated(binary_frame(long)) + binary_frame(short)
        assert all(client.received == expected for _, client in shrunk if client.take() is not None)
        assert sent == [len(array)] * 2 == [3 + MIN_RECEIVERS] * 2
        for connection, _ in plain:
            array.remove(connection)
        publish(s, array, short, sent.append)
        s.settle()
        assert sent[-1] == MIN_RECEIVERS
        array.remove(shrunk[0][0])
        assert shrunk[0][0] not in array
        assert shrunk[1][0] in array
        publish(s, array, long)
        s.settle()
        shrunk[1][1].take()
        assert shrunk[1][1].received.endswith(binary_frame(long)), "so few do not pay for a compression"


def test_a_compressed_message_of_a_client_is_read():
    with stage() as s:
        _, client = s.join(deflate=True)
        payload = deflated(binary_frame(b"chat " * 60))[2:]
        client.send(bytes((0xC2, 0x80 | len(payload))) + bytes(4) + payload)
        s.settle()
        assert [payload for _, payload in s.handler.messages] == [b"chat " * 60]
