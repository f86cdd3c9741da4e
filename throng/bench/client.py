"""A client that stays connected: opening, liveness, and coming back to the next edge as docs/protocol.md 3.7 and 3.8 say."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from throng.api.client.v1 import client_pb2
from throng.bench import websocket
from throng.bench.decoding import Broadcast, DrainEvent, Event, WelcomeEvent
from throng.bench.websocket import BrokenStreamError, Handshake, client_frame, split_frames

if TYPE_CHECKING:
    from throng.bench.fleet import Fleet

OPENING_TIMEOUT_NS = 10_000_000_000
ANSWER_TIMEOUT_NS = 10_000_000_000
_STABLE_AFTER_NS = 5_000_000_000
_MAX_HEAD_BYTES = 16_384
_MAX_BUFFERED_BYTES = 1_048_576
RESUMED_RECEIVE_BUFFER_BYTES = 1 << 20
CLOSED_ABNORMALLY = 1006
OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""What this machine lacks, so that a failure to connect says nothing about the server."""


class Wire(asyncio.Protocol):
    """One connection of a client; what arrives after the client has let go of it is dropped."""

    __slots__ = ("_client", "_fragments", "_handshake", "_rest", "transport")

    def __init__(self, client: Client, handshake: Handshake) -> None:
        self._client: Client | None = client
        self._handshake: Handshake | None = handshake
        self._rest = b""
        self._fragments = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request to upgrade."""
        opened = self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        if self._client is None or self._handshake is None:
            opened.abort()
        else:
            opened.write(self._handshake.request)

    def data_received(self, data: bytes) -> None:
        """Takes bytes; what many receivers get alike is decoded once."""
        client = self._client
        if client is None:
            return
        client.heard = True
        if self._handshake is None and not self._rest and not self._fragments:
            decoder = client.fleet.decoder
            events = decoder.cached(data)
            if events is None:
                events = decoder.broadcasts(data)
            if events is not None:
                client.on_broadcasts(events)
                return
        try:
            self._take(data)
        except BrokenStreamError as error:
            if self._client is not None:
                self._client.fleet.count_problem(str(error))
                self._client.lost(CLOSED_ABNORMALLY)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended without a close frame, or behind one."""
        if self._client is not None:
            self._client.lost(CLOSED_ABNORMALLY)

    def write(self, data: bytes) -> None:
        """Sends bytes, if the connection lives."""
        if self.transport is not None:
            self.transport.write(data)

    @property
    def is_clogged(self) -> bool:
        """The server takes nothing more for now."""
        return self.transport is None or self.transport.get_write_buffer_size() > _MAX_BUFFERED_BYTES

    def let_go(self, *, flush: bool = False) -> None:
        """Ends the connection, after what was written last when it is to `flush`; nothing more is reported."""
        self._client = None
        if self.transport is not None:
            self.transport.close() if flush else self.transport.abort()

    def _take(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        if self._handshake is not None:
            head, mark, rest = self._rest.partition(b"\r\n\r\n")
            if not mark:
                if len(self._rest) > _MAX_HEAD_BYTES:
                    raise BrokenStreamError("the answer to the upgrade does not end")
                return
            self._handshake.check(head)
            self._handshake, self._rest = None, rest
        frames, self._rest = split_frames(self._rest)
        for frame in frames:
            if self._client is None:
                return
            self._on_frame(self._client, frame)

    def _on_frame(self, client: Client, frame: websocket.Frame) -> None:
        if frame.opcode == websocket.PING:
            client.fleet.pings += 1
            self.write(client_frame(frame.payload, websocket.PONG))
        elif frame.opcode == websocket.CLOSE:
            self.write(client_frame(frame.payload[:2], websocket.CLOSE))
            client.lost(websocket.close_code(frame.payload))
        elif frame.opcode in (websocket.BINARY, websocket.CONTINUATION):
            self._fragments += frame.payload
            if frame.is_last:
                payload, self._fragments = self._fragments, b""
                client.on_event(client.fleet.decoder.event(payload))
        elif frame.opcode == websocket.TEXT:
            raise BrokenStreamError("a text message on a binary subprotocol")


async def _connected(loop: asyncio.AbstractEventLoop, host: str, port: int, receive_buffer_bytes: int) -> socket.socket:
    """A connected socket with a small buffer, which must be set before it connects."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class Client:
    """Keeps one connection up until `close`. A subclass says what is entered and what is done with events."""

    __slots__ = (
        "_attempt",
        "_base_ms",
        "_edge",
        "_failures",
        "_max_ms",
        "_online_ns",
        "asked_ns",
        "closed",
        "connections",
        "fleet",
        "heard",
        "heard_ns",
        "ready",
        "silence_ns",
        "stalled",
        "user_id",
        "wire",
    )
    is_receiver: ClassVar[bool] = False
    receive_buffer_bytes = 0
    """Of its socket; 0: the system's."""

    def __init__(self, fleet: Fleet, user_id: str, edge: int) -> None:
        self.fleet = fleet
        self.user_id = user_id
        self.wire: Wire | None = None
        self.heard = False
        self.heard_ns = 0
        self.silence_ns = 60_000_000_000
        self.asked_ns = 0
        self.ready = False
        self.closed = False
        self.stalled = False
        self.connections = 0
        self._edge = edge
        self._attempt = 0
        self._base_ms = 500
        self._max_ms = 15_000
        self._online_ns = 0
        self._failures = 0

    # What subclasses do ---------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Asks to take part in the group."""
        raise RuntimeError("a subclass enters")

    def on_broadcasts(self, events: Sequence[Broadcast]) -> None:
        """Takes blocks and notices."""
        raise RuntimeError("a subclass takes broadcasts")

    def take(self, event: Event) -> None:
        """Takes any other event."""
        raise RuntimeError("a subclass takes events")

    def on_offline(self) -> None:
        """The connection is gone."""

    def on_sweep(self, now_ns: int) -> None:
        """About once a second: whether an answer is overdue."""

    # Opening --------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Starts to connect to the edge whose turn it is."""
        if self.closed or self.wire is not None:
            return
        target = self.fleet.targets[self._edge % len(self.fleet.targets)]
        wire = self.wire = Wire(self, Handshake(target.authority, "/ws", self.fleet.token(self.user_id)))
        self.heard_ns = time.monotonic_ns()
        self.heard = False
        self.ready = False
        self.stalled = False
        self.fleet.spawn(self._dial(wire, target.host, target.port, tls=target.tls))

    async def _dial(self, wire: Wire, host: str, port: int, *, tls: bool) -> None:
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_NS / 1e9):
                loop = asyncio.get_running_loop()
                if self.receive_buffer_bytes:
                    sock = await _connected(loop, host, port, self.receive_buffer_bytes)
                    name = host if tls else None
                    await loop.create_connection(lambda: wire, sock=sock, ssl=True if tls else None, server_hostname=name)
                else:
                    await loop.create_connection(lambda: wire, host, port, ssl=True if tls else None)
        except (OSError, TimeoutError) as error:
            if isinstance(error, OSError) and error.errno in OWN_LIMITS:
                self.fleet.own_limit(error)
            if self.wire is wire:
                self.lost(CLOSED_ABNORMALLY)

    def lost(self, code: int) -> None:
        """The connection is over; comes back to the next edge after a random wait."""
        was_ready = self._let_go()
        if was_ready:
            self.fleet.count_close(code)
        self._come_back(was_ready=was_ready)

    def cut(self) -> None:
        """The bench ends the connection without a word, as a network does; comes back like one that lost it."""
        self._come_back(was_ready=self._let_go())

    def leave(self, away_seconds: float) -> None:
        """Says goodbye, and comes back to the next edge after a while."""
        if self.wire is not None and self.ready:
            self.wire.write(client_frame((1000).to_bytes(2, "big"), websocket.CLOSE))
        self._let_go(flush=True)
        self._edge += 1
        self.fleet.later(away_seconds, self.open)

    def stall(self) -> bool:
        """Stops reading; False: there is no connection to stop at."""
        if self.wire is None or self.wire.transport is None or not self.ready:
            return False
        self.wire.transport.pause_reading()
        self.stalled = True
        return True

    def resume(self) -> None:
        """Reads again, when it had stopped."""
        if self.stalled and self.wire is not None and self.wire.transport is not None:
            self.heard_ns = time.monotonic_ns()
            # With the small buffer it would be its own window that makes it slow from here on.
            sock = self.wire.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RESUMED_RECEIVE_BUFFER_BYTES)
            self.wire.transport.resume_reading()
        self.stalled = False

    def _come_back(self, *, was_ready: bool) -> None:
        self._edge += 1
        if was_ready and time.monotonic_ns() - self._online_ns >= _STABLE_AFTER_NS:
            self._attempt = 0
        bound_ms = min(self._max_ms, self._base_ms * 2**self._attempt)
        self._attempt = min(self._attempt + 1, 30)
        self.fleet.later(random.random() * bound_ms / 1000, self.open)

    def close(self) -> None:
        """Closes for good."""
        self.closed = True
        if self.wire is not None and self.ready:
            self.wire.write(client_frame((1000).to_bytes(2, "big"), websocket.CLOSE))
        self._let_go()

    def _let_go(self, *, flush: bool = False) -> bool:
        wire, self.wire = self.wire, None
        was_ready, self.ready = self.ready, False
        if wire is not None:
            wire.let_go(flush=flush)
        self.on_offline()
        return was_ready

    # Staying --------------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Takes one message of the server."""
        if isinstance(event, WelcomeEvent):
            self.ready = True
            self.connections += 1
            self._online_ns = time.monotonic_ns()
            self._base_ms, self._max_ms = event.reconnect_base_ms or 500, event.reconnect_max_ms or 15_000
            self.fleet.heartbeat_ms = event.heartbeat_interval_ms or 30_000
            self.silence_ns = 2_000_000 * self.fleet.heartbeat_ms
            self.enter()
        elif isinstance(event, DrainEvent):
            self.fleet.later(event.reconnect_after_ms / 1000, self._move, self.wire)
        else:
            self.take(event)

    def send(self, frame: client_pb2.ClientFrame) -> None:
        """Sends one request."""
        if self.wire is not None:
            self.wire.write(client_frame(frame.SerializeToString()))

    def retry_seconds(self, least: float, retry_after_ms: int) -> float:
        """How long to wait before a request that failed is made again; each one in a row widens the wait, as in the page's SDK."""
        bound: float = min(15.0, 0.5 * 2**self._failures)
        self._failures = min(self._failures + 1, 30)
        return max(retry_after_ms / 1000, least + random.random() * bound)

    def succeeded(self) -> None:
        """A request was answered: the next failure waits briefly again."""
        self._failures = 0

    def sweep(self, now_ns: int) -> None:
        """About once a second: whether the connection is still alive."""
        if self.wire is None or self.stalled:
            return
        if self.heard:
            self.heard, self.heard_ns = False, now_ns
        silent_ns = now_ns - self.heard_ns
        if silent_ns > (self.silence_ns if self.ready else OPENING_TIMEOUT_NS):
            self.fleet.count_problem("no sign of life in time" if self.ready else "no answer to the upgrade in time")
            self.lost(CLOSED_ABNORMALLY)
        elif self.ready:
            self.on_sweep(now_ns)

    def _move(self, wire: Wire | None) -> None:
        """The edge empties itself: leaves for the next one without a further wait."""
        if wire is None or self.wire is not wire:
            return
        self._let_go()
        self._edge += 1
        self.open()
