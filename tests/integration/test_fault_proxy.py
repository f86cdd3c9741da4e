"""The TCP fault proxy: each fault is what it says, and `restore` ends it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from throng.testing.servers import FaultProxy

PATIENCE_SECONDS = 10.0


class Echo:
    """A server that sends back what comes."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._main = threading.Thread(target=self._serve)
        self._main.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._echo, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in [self._main, *self._threads]:
            thread.join(PATIENCE_SECONDS)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    echo = Echo()
    with FaultProxy(("127.0.0.1", echo.port)) as made:
        yield made
    echo.close()


def dial(proxy: FaultProxy, timeout_seconds: float = PATIENCE_SECONDS) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_seconds)


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = connection.recv(4096)
        assert part, "the connection ended"
        answer += part
    return answer


def test_what_comes_goes_through(proxy: FaultProxy) -> None:
    with dial(proxy) as connection:
        assert echoed(connection, b"x" * 100_000) == b"x" * 100_000


def test_a_cut_resets_connections_and_refuses_new_ones_until_restored(proxy: FaultProxy) -> None:
    with dial(proxy) as connection:
        assert echoed(connection, b"before") == b"before"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.restore()
    with dial(proxy) as connection:
        assert echoed(connection, b"after") == b"after"


def test_a_stall_keeps_connections_and_passes_nothing_until_restored(proxy: FaultProxy) -> None:
    with dial(proxy) as old:
        assert echoed(old, b"before") == b"before"
        proxy.stall()
        old.settimeout(0.3)
        old.sendall(b"held")
        with pytest.raises(TimeoutError):
            old.recv(10)
        with dial(proxy) as new:
            new.settimeout(0.3)
            new.sendall(b"held too")
            with pytest.raises(TimeoutError):
                new.recv(10)
            proxy.restore()
            new.settimeout(PATIENCE_SECONDS)
            assert new.recv(100) == b"held too"
        old.settimeout(PATIENCE_SECONDS)
        assert old.recv(100) == b"held"


def test_a_delay_holds_up_and_a_limit_slows(proxy: FaultProxy) -> None:
    with dial(proxy) as connection:
        proxy.delay(0.2)
        started = time.monotonic()
        assert echoed(connection, b"late") == b"late"
        assert time.monotonic() - started >= 0.4
        proxy.restore()
        proxy.limit(50_000)
        started = time.monotonic()
        assert echoed(connection, b"y" * 20_000) == b"y" * 20_000
        assert time.monotonic() - started >= 0.4


def test_a_target_that_is_away_ends_the_connection() -> None:
    with FaultProxy(("127.0.0.1", 1)) as proxy, dial(proxy) as connection:
        assert connection.recv(10) == b""
