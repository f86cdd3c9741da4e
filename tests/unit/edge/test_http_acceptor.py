"""Accepting without descriptors: it pauses, says so and comes back, and neither spins nor dies."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing

from edge.core.hub_counters import HubCounters
from edge.descriptors import HTTP_DESCRIPTORS, plan_descriptors
from edge.http.acceptor import ACCEPTS_PER_TURN, KEEP_ALIVE_ROOM, Acceptor
from throng.domain.errors import ErrorCode, ThrongError


class FakeListener:
    """Gives what it is told to: an error number, or a socket."""

    def __init__(self, *outcomes: int | None) -> None:
        self.outcomes = list(outcomes)
        self.tries = 0

    def fileno(self) -> int:
        return 77

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        outcome = self.outcomes.pop(0) if self.outcomes else errno.EAGAIN
        if outcome is None:
            return socket.socket(socket.AF_UNIX), ("", 0)
        raise OSError(outcome, "told to")


class FakeLoop:
    """Readers and timers that the test turns by hand."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[Callable[[], None]] = []
        self.now = 0.0

    def add_reader(self, fd: int, callback: Callable[..., None], *arguments: Any) -> None:
        self.readers[fd] = lambda: callback(*arguments)

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeLoop:
        self.timers.append(callback)
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def time(self) -> float:
        return self.now


class FakeServer:
    """Counts what it gets; `http` connections stay."""

    class conn_params:  # noqa: N801 - the name that Tornado gave it
        no_keep_alive = False

    def __init__(self) -> None:
        self.open_connections = 0
        self.streams: list[Any] = []

    def handle_stream(self, stream: Any, address: Any) -> None:
        self.open_connections += 1
        self.streams.append(stream)


class Stage:
    """An acceptor of one listener."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: int | None, sockets: int = 1_000) -> None:
        self.loop, self.server, self.listener = FakeLoop(), FakeServer(), FakeListener(*outcomes)
        self.counters = HubCounters()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.loop)
        monkeypatch.setattr("tornado.iostream.IOStream", lambda sock: sock)
        self.acceptor = Acceptor(
            self.server,  # type: ignore[arg-type]
            sockets=sockets,
            clients=lambda: self.counters.connections,
            counters=self.counters,
        )
        self.acceptor.start([self.listener])  # type: ignore[list-item]

    def turn(self) -> None:
        """The loop finds the listener readable, if it watches it."""
        for callback in list(self.loop.readers.values()):
            callback()

    def ring(self) -> None:
        timers, self.loop.timers = self.loop.timers, []
        for timer in timers:
            timer()

    def close(self) -> None:
        for stream in self.server.streams:
            stream.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
def test_without_descriptors_it_looks_away_for_a_moment(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    stage = Stage(monkeypatch, number, number, None)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            stage.turn()  # nobody is told that the listener is readable, however long it is
        assert stage.listener.tries == 1
        stage.ring()
        stage.turn()
        assert stage.listener.tries == 2
    assert [entry["event"] for entry in logs] == ["accepting_paused"], "said once, not at each attempt"
    stage.ring()
    stage.turn()
    assert len(stage.server.streams) == 1
    assert stage.counters.accept_pauses == 2
    stage.close()


def test_it_pauses_when_clients_and_http_have_all_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, *[None] * 10, sockets=5)
    stage.counters.connections = 2
    stage.turn()
    assert stage.server.open_connections == 3
    stage.ring()
    stage.turn()
    assert stage.server.open_connections == 3
    stage.counters.connections = 0
    stage.ring()
    stage.turn()
    assert stage.server.open_connections == 5
    stage.close()


def test_a_connection_that_broke_in_the_queue_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, errno.ECONNABORTED, errno.EPROTO, None)
    stage.turn()
    assert len(stage.server.streams) == 1
    assert not stage.counters.accept_pauses
    stage.close()


def test_a_crowd_at_the_door_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, *[None] * (ACCEPTS_PER_TURN + 5))
    stage.turn()
    assert len(stage.server.streams) == ACCEPTS_PER_TURN
    stage.turn()
    assert len(stage.server.streams) == ACCEPTS_PER_TURN + 5
    stage.close()


def test_answers_end_their_connections_when_room_gets_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, None, None, sockets=KEEP_ALIVE_ROOM + 1)
    stage.turn()
    assert stage.server.conn_params.no_keep_alive
    stage.counters.connections = -100  # a hundred have gone
    stage.turn()
    assert not stage.server.conn_params.no_keep_alive
    stage.close()


def test_after_its_end_nothing_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, errno.EMFILE, None)
    stage.turn()
    stage.acceptor.stop()
    stage.acceptor.stop()
    stage.ring()
    assert not stage.loop.readers
    assert not stage.server.streams


def test_what_waits_is_accepted_before_a_shared_port_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, None, None, errno.EAGAIN)
    stage.acceptor.take_waiting()
    assert len(stage.server.streams) == 2
    stage.close()


def test_clients_are_capped_by_the_limit_of_open_files() -> None:
    plan = plan_descriptors(20_000, wanted_connections=100_000, reserved=64)
    assert plan.max_connections == 19_900
    assert plan.sockets == 19_900 + HTTP_DESCRIPTORS
    assert plan_descriptors(20_000, wanted_connections=500, reserved=64).max_connections == 500
    with pytest.raises(ThrongError, match="100 open files are too few") as refused:
        plan_descriptors(100, wanted_connections=500, reserved=64)
    assert refused.value.code is ErrorCode.INVALID_ARGUMENT
