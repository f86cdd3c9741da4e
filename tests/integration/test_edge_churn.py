"""What two thousand clients that came and went leave behind in an edge: nothing."""

from __future__ import annotations

import contextlib
import gc
import pathlib
import select
import socket
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from edge_neighbours import Neighbours

from edge.app import EdgeApp
from edge.core.connection import Connection
from edge.core.session import Session
from edge.settings import EdgeSettings
from throng.adapters.jwt_tokens import TokenIssuer
from throng.runtime.aio_thread import AioThread
from throng.runtime.settings import load

SECONDS = 30.0
REST_SECONDS = 60.0
"""Sweeps and ticks take turns on a busy machine, traced besides."""

BATCH = 50
WARM, CLIENTS = 400, 2_000
ENTERED = b'"entered"'
CLOSE = b"\x88\x82\x00\x00\x00\x00" + struct.pack("!H", 1000)
OWN = tuple(tracemalloc.Filter(inclusive=True, filename_pattern=f"*/{part}/*") for part in ("edge", "throng"))
ALLOWED_OBJECTS = 100
"""Of one type: what the test itself, metrics and gRPC make and drop at any moment."""

ALLOWED_BYTES = 8 * CLIENTS
"""Less than one reference for each client."""


@pytest.fixture
def edge(tmp_path: pathlib.Path) -> Iterator[tuple[EdgeApp, TokenIssuer]]:
    key = tmp_path / "token.key"
    key.write_text("ab" * 32)
    neighbours, aio = Neighbours(), AioThread()
    neighbours.start()
    aio.start()
    flags = {
        "port": 0,
        "edge_id": "edge-1",
        "group_addresses": neighbours.address,
        "router_addresses": neighbours.address,
        "unread_addresses": neighbours.address,
        "jwt_secret_file": key,
        "static_dir": tmp_path / "absent",
        "drain_window_ms": 0,
        "handshakes_per_second": 0,
    }
    app = EdgeApp(load(EdgeSettings, flags=flags, environment={}), aio)
    app.start()
    assert app.wait_ready(SECONDS)
    yield app, TokenIssuer.from_file(key)
    app.stop()
    aio.stop()
    neighbours.stop()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + REST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def come_and_go(app: EdgeApp, tokens: list[str]) -> None:
    """All of them enter `lobby`, some at a time; a third leaves with a close frame, a third without, a third by a reset."""
    host, _, port = app.http_address.rpartition(":")
    for start in range(0, len(tokens), BATCH):
        with contextlib.ExitStack() as stack:
            crowd = []
            for token in tokens[start : start + BATCH]:
                sock = stack.enter_context(socket.create_connection((host, int(port)), SECONDS))
                sock.sendall(
                    f"GET /ws?groups=lobby HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    f"Sec-WebSocket-Protocol: throng.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
                )
                crowd.append(sock)
            for number, sock in enumerate(crowd):
                read_until_entered(sock)
                if number % 3 == 0:
                    sock.sendall(CLOSE)
                elif number % 3 == 1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_until_entered(sock: socket.socket) -> None:
    data = b""
    while ENTERED not in data:
        ready, _, _ = select.select([sock], [], [], SECONDS)
        assert ready, f"no entered after {data[-300:]!r}"
        more = sock.recv(65_536)
        assert more, f"closed after {data[-300:]!r}"
        data += more


def of(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


def objects() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


def own_bytes() -> int:
    gc.collect()
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(OWN).statistics("filename"))


def test_two_thousand_clients_leave_nothing_behind(edge: tuple[EdgeApp, TokenIssuer]) -> None:
    app, issuer = edge
    gc.collect()  # what earlier tests of this process left in cycles would be taken for ours
    others, other_connections = of(Session), of(Connection)
    tokens = [issuer.issue(f"user-{number}", ttl_seconds=600, name=f"User {number}") for number in range(WARM + CLIENTS)]

    def rest() -> None:
        until(lambda: app._hub_counters.connections == 0 and of(Session) <= others, "all have gone, from the sweep too")

    tracemalloc.start()
    try:
        come_and_go(app, tokens[:WARM])
        rest()
        before, bytes_before = objects(), own_bytes()
        come_and_go(app, tokens[WARM:])
        rest()
        after, bytes_after = objects(), own_bytes()
    finally:
        tracemalloc.stop()
    grown = {name: after[name] - before[name] for name in after if after[name] - before[name] > ALLOWED_OBJECTS}
    assert grown == {}
    assert bytes_after - bytes_before < ALLOWED_BYTES
    assert of(Connection) <= other_connections
