"""The hub and single connections: messages, limits, closing, heartbeats, and that nobody disturbs a neighbour."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hub_stage import client_frame, stage

from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.protocol.frames import binary_frame
from throng.domain.close_codes import CloseCode
from throng.testing.fake_clock import FakeClock

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def test_messages_come_in_order_and_answers_go_back():
    with stage() as s:
        connection, client = s.join()
        client.send(client_frame(BINARY, b"one") + client_frame(BINARY, b"two"))
        s.settle()
        assert s.handler.messages == [(connection, b"one"), (connection, b"two")]
        s.hub.send(connection, binary_frame(b"answer"))
        assert client.payloads() == [b"answer"]


def test_bytes_that_came_with_the_upgrade_come_first_and_not_within_adopt():
    with stage() as s:
        frame = client_frame(BINARY, b"early")
        connection, client = s.join(initial=frame[:4])
        client.send(frame[4:] + client_frame(BINARY, b"next"))
        assert s.handler.messages == []
        s.settle()
        assert s.handler.messages == [(connection, b"early"), (connection, b"next")]


def test_bytes_that_came_with_the_upgrade_need_no_others():
    with stage() as s:
        connection, _ = s.join(initial=client_frame(BINARY, b"early"))
        s.settle()
        assert s.handler.messages == [(connection, b"early")]


def test_a_ping_is_answered():
    with stage() as s:
        _, client = s.join()
        client.send(client_frame(PING, b"there?"))
        s.settle()
        assert client.frames() == [(PONG, b"there?")]


def test_the_client_closes():
    with stage() as s:
        connection, client = s.join()
        client.send(client_frame(CLOSE, (4321).to_bytes(2, "big")) + client_frame(BINARY, b"late"))
        s.settle()
        assert client.close_code() == 4321
        assert client.ended
        assert s.handler.closed == []
        client.sock.close()
        s.settle()
        assert s.handler.closed == [(connection, 4321)]
        assert s.handler.messages == []
        assert s.counters.closed == {4321: 1}


def test_a_close_without_code_is_1005_and_a_lost_socket_1006():
    with stage() as s:
        first, client = s.join()
        second, other = s.join()
        client.send(client_frame(CLOSE))
        s.settle()
        client.sock.close()
        other.sock.close()
        s.settle()
        assert s.handler.closed in ([(first, 1005), (second, 1006)], [(second, 1006), (first, 1005)])
        assert s.hub.connections_count == 0


def test_the_hub_closes_and_waits_for_the_answer():
    with stage() as s:
        connection, client = s.join()
        s.hub.send(connection, binary_frame(b"last words"))
        s.hub.close(connection, CloseCode.DRAINING, "come back")
        s.hub.close(connection, CloseCode.NORMAL)
        s.hub.send(connection, binary_frame(b"too late"))
        assert not connection.open
        client.send(client_frame(BINARY, b"ignored"))
        s.settle()
        assert client.payloads() == [b"last words"]
        assert client.close_code() == CloseCode.DRAINING
        assert not client.ended
        client.send(client_frame(CLOSE, (4000).to_bytes(2, "big")))
        s.settle()
        client.take()
        assert client.ended
        client.sock.close()
        s.settle()
        assert s.handler.closed == [(connection, CloseCode.DRAINING)]
        assert s.handler.messages == []


def test_a_client_that_does_not_answer_a_close_is_dropped():
    with stage(close_timeout_seconds=5.0) as s:
        connection, client = s.join()
        s.hub.close(connection, CloseCode.GOING_AWAY)
        s.advance(4.0)
        assert s.handler.closed == []
        s.advance(3.0)
        assert s.handler.closed == [(connection, CloseCode.GOING_AWAY)]
        client.take()
        assert client.ended


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", CloseCode.PROTOCOL_ERROR),
        (client_frame(3), CloseCode.PROTOCOL_ERROR),
        (client_frame(TEXT, b"x"), CloseCode.UNSUPPORTED_DATA),
        (client_frame(BINARY, b"x" * 1_001), CloseCode.FRAME_TOO_LARGE),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask" + b"x" * 500, CloseCode.FRAME_TOO_LARGE),
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_and_does_not_disturb_others(data, code):
    with stage(max_frame_bytes=1_000) as s:
        bad, bad_client = s.join()
        good, good_client = s.join()
        bad_client.send(data)
        good_client.send(client_frame(BINARY, b"fine"))
        s.settle()
        assert bad_client.close_code() == code
        assert bad_client.ended
        assert s.handler.messages == [(good, b"fine")]
        bad_client.sock.close()
        s.settle()
        assert s.handler.closed == [(bad, code)]


def test_bad_utf8_on_the_text_subprotocol():
    with stage() as s:
        _, client = s.join(binary=False)
        client.send(client_frame(TEXT, b"\xff"))
        s.settle()
        assert client.close_code() == CloseCode.INVALID_UTF8


def test_a_handler_that_crashes_ends_its_connection_only():
    with stage() as s:
        bad, bad_client = s.join()
        good, good_client = s.join()

        def crash(connection, payload):
            del payload
            if connection is bad:
                raise ValueError("a defect")

        s.handler.on_each = crash
        bad_client.send(client_frame(BINARY, b"1") + client_frame(BINARY, b"2"))
        good_client.send(client_frame(BINARY, b"3"))
        s.settle()
        assert bad_client.close_code() == CloseCode.INTERNAL_ERROR
        assert sorted(payload for _, payload in s.handler.messages) == [b"1", b"3"]
        assert s.counters.handler_failures == 1
        assert good.open


def test_on_closed_is_never_called_from_within_a_send():
    with stage() as s:
        connection, client = s.join()
        client.sock.close()
        s.hub.send(connection, binary_frame(b"x"))
        assert not connection.open
        assert s.handler.closed == []
        s.settle()
        assert s.handler.closed == [(connection, 1006)]


def test_too_many_frames_in_a_second_are_abuse():
    with stage(input_frames_per_second=10) as s:
        _, client = s.join()
        client.send(client_frame(PING) * 8)
        s.settle()
        s.advance(1.5)
        client.send(client_frame(PING) * 8)
        s.settle()
        assert client.close_code() is None
        client.send(client_frame(PING) * 8)
        s.settle()
        assert client.close_code() == CloseCode.ABUSIVE


def test_too_many_bytes_in_a_second_wait_for_the_next():
    with stage(input_bytes_per_second=100) as s:
        _, client = s.join()
        client.send(client_frame(BINARY, b"x" * 120))
        s.settle()
        client.send(client_frame(BINARY, b"second"))
        s.settle()
        assert len(s.handler.messages) == 1
        assert s.counters.read_pauses == 1
        s.advance(1.5)
        assert [payload for _, payload in s.handler.messages] == [b"x" * 120, b"second"]


def test_a_client_that_ends_while_it_is_not_read_is_noticed():
    with stage(input_bytes_per_second=100) as s:
        connection, client = s.join()
        client.send(client_frame(BINARY, b"x" * 120))
        s.settle()
        client.sock.close()
        s.settle()
        assert s.handler.closed == [(connection, 1006)]


def test_an_unanswered_ping_ends_a_connection_and_any_byte_is_life():
    with stage(heartbeat_interval_seconds=30.0) as s:
        silent, silent_client = s.join()
        alive, alive_client = s.join()
        for _ in range(4):
            s.advance(20.0)
            alive_client.send(client_frame(PONG)[:3])
            s.advance(10.0)
            alive_client.send(client_frame(PONG)[3:])
        s.settle()
        assert [opcode for opcode, _ in silent_client.frames()] == [PING, CLOSE]
        assert silent_client.close_code() == CloseCode.HEARTBEAT_TIMEOUT
        assert alive.open
        assert (silent, CloseCode.HEARTBEAT_TIMEOUT) in s.handler.closed
        assert len([1 for opcode, _ in alive_client.frames() if opcode == PING]) == 4


@pytest.mark.parametrize("silent_after_seconds", [0.5, 7.0, 29.0, 31.0, 45.0, 59.5])
def test_whenever_a_client_vanishes_it_is_gone_within_two_intervals(silent_after_seconds):
    with stage(heartbeat_interval_seconds=30.0) as s:
        connection, client = s.join()
        while s.clock.monotonic() < silent_after_seconds:
            s.advance(0.5)
            client.send(client_frame(PONG))
        s.settle()
        s.advance(29.5)
        assert connection.open, "it may just be slow"
        s.advance(30.5)
        assert s.handler.closed == [(connection, CloseCode.HEARTBEAT_TIMEOUT)]
        assert s.counters.closed == {CloseCode.HEARTBEAT_TIMEOUT: 1}


def test_a_thousand_that_end_at_once_do_so_in_many_turns():
    with stage(heartbeat_interval_seconds=300.0) as s:
        for _ in range(200):
            s.join()[1].sock.close()
        most = 0
        for _ in range(100):
            before = len(s.handler.closed)
            s.loop.turn()
            most = max(most, len(s.handler.closed) - before)
        assert len(s.handler.closed) == 200
        assert s.counters.connections == 0
        assert most <= 64


def test_close_all_reaches_everybody_in_several_turns():
    with stage() as s:
        clients = [s.join()[1] for _ in range(150)]
        s.hub.close_all(CloseCode.GOING_AWAY)
        s.loop.turn()
        assert 0 < sum(client.close_code() is not None for client in clients) < 150
        s.settle()
        assert {client.close_code() for client in clients} == {CloseCode.GOING_AWAY}


def test_stop_tells_the_handler_and_may_be_repeated():
    with stage() as s:
        connection, client = s.join()
        s.hub.stop()
        s.hub.stop()
        assert s.handler.closed == [(connection, CloseCode.GOING_AWAY)]
        client.take()
        assert client.ended
        assert s.loop.readers == {}
        s.hub.fan_out(s.hub.array(), b"x", head_frame=bytes)
        s.hub.close_all(CloseCode.NORMAL)
        near, far = socket.socketpair()
        with far, pytest.raises(ConnectionAbortedError):
            s.hub.adopt(near, binary=True)
        assert near.fileno() == -1


def test_a_dead_socket_is_refused():
    with stage() as s:
        near, far = socket.socketpair()
        far.close()
        near.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            s.hub.adopt(near, binary=True)
        assert s.hub.connections_count == 0


def test_in_a_real_loop_with_a_thousand_sockets():
    class Echo:
        def __init__(self):
            self.hub: Hub | None = None
            self.closed = asyncio.Event()

        def on_message(self, connection, payload):
            self.hub.send(connection, binary_frame(payload))

        def on_closed(self, connection, code):
            if not self.hub.connections_count:
                self.closed.set()

    async def scenario():
        loop = asyncio.get_running_loop()
        handler = Echo()
        hub = handler.hub = Hub(handler=handler, settings=HubSettings(), clock=FakeClock(), counters=HubCounters())
        hub.attach(loop)
        array = hub.array()
        pairs = [socket.socketpair() for _ in range(1_000)]
        try:
            for near, far in pairs:
                far.setblocking(False)
                array.add(hub.adopt(near, binary=True))
            for _, far in pairs:
                await loop.sock_sendall(far, client_frame(BINARY, b"me"))
            for _, far in pairs:
                assert await loop.sock_recv(far, 100) == binary_frame(b"me")
            done = loop.create_future()
            hub.fan_out(array, binary_frame(b"all"), head_frame=bytes, on_done=done.set_result)
            assert await asyncio.wait_for(done, 20) == 1_000
            for _, far in pairs:
                assert far.recv(100) == binary_frame(b"all")
                far.close()
            await asyncio.wait_for(handler.closed.wait(), 20)
            assert len(array) == 0
        finally:
            hub.stop()
            for _, far in pairs:
                far.close()

    asyncio.run(scenario())


def test_a_hub_that_clients_keep_busy_looks_at_their_sockets_at_intervals():
    with stage(rest_seconds=0.003) as staged:
        _, client = staged.join()

        def say(text: bytes) -> None:
            client.send(client_frame(BINARY, text))
            staged.loop.turn()

        say(b"first")  # nobody was heard before: at once
        staged.clock.advance(0.002)
        say(b"second")  # soon after the first: at once, and then a rest
        assert staged.loop.readers == {}
        say(b"third")
        say(b"fourth")
        heard = [payload for _, payload in staged.handler.messages]
        assert heard == [b"first", b"second"]
        delay, rested = staged.loop.later[-1]
        assert delay == 0.003
        staged.clock.advance(0.003)
        rested()
        assert [payload for _, payload in staged.handler.messages] == [b"first", b"second", b"third", b"fourth"]
        staged.clock.advance(0.1)
        staged.loop.later[-1][1]()  # nothing came during this rest: the sockets are watched again
        assert staged.loop.readers != {}
        say(b"fifth")
        assert staged.handler.messages[-1][1] == b"fifth"
        assert staged.loop.readers != {}


def test_a_hub_that_finds_several_messages_at_each_look_rests_longer():
    with stage(rest_seconds=0.003, long_rest_seconds=0.010) as staged:
        clients = [staged.join()[1] for _ in range(5)]

        def all_say(text: bytes) -> None:
            for client in clients:
                client.send(client_frame(BINARY, text))

        all_say(b"first")
        staged.loop.turn()
        staged.clock.advance(0.015)
        all_say(b"second")
        staged.loop.turn()
        delay, rested = staged.loop.later[-1]
        assert (delay, staged.loop.readers) == (0.010, {})
        all_say(b"third")
        staged.clock.advance(0.010)
        rested()
        assert (staged.loop.later[-1][0], staged.loop.readers) == (0.010, {}), "it rests again"
        clients[0].send(client_frame(BINARY, b"alone"))
        staged.clock.advance(0.010)
        rested()
        assert staged.loop.readers != {}, "one message in so long a time is no reason to rest"


def test_a_hub_that_rests_can_be_stopped():
    with stage(rest_seconds=0.003) as staged:
        _, client = staged.join()
        for text in (b"a", b"b"):
            client.send(client_frame(BINARY, text))
            staged.loop.turn()
        assert staged.loop.readers == {}
        staged.hub.stop()
        staged.loop.later[-1][1]()
        assert staged.loop.readers == {}


def test_many_requests_that_take_long_are_served_in_several_turns_and_nobody_twice():
    with stage(slice_seconds=0.002) as s:
        s.handler.on_each = lambda connection, payload: s.clock.advance(0.001)
        joined = [s.join() for _ in range(40)]
        for number, (_, client) in enumerate(joined):
            client.send(client_frame(BINARY, b"%d" % number))
        s.loop.turn()
        first = len(s.handler.messages)
        assert 0 < first < 20, "a turn took the time of several slices"
        s.settle()
        assert sorted(int(payload) for _, payload in s.handler.messages) == list(range(40))


def test_a_hub_that_left_requests_for_the_next_turn_does_not_rest():
    with stage(slice_seconds=0.002, rest_seconds=0.003) as s:
        s.handler.on_each = lambda connection, payload: s.clock.advance(0.001)
        joined = [s.join() for _ in range(20)]
        for _, client in joined:
            client.send(client_frame(BINARY, b"x"))
        turns = 0
        while len(s.handler.messages) < 20:
            assert s.loop.readers, "the hub rests while requests wait"
            s.loop.turn()
            turns += 1
        assert turns > 1
