"""A hub with a loop that tests turn by hand, a clock they set, and clients at the other end of socket pairs."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edge.core.bulk_send import BulkSend
from edge.core.connection import Connection
from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from throng.testing.fake_clock import FakeClock

bulk_send: BulkSend | None = None
"""What the hubs made here send by."""

MASK = b"\x0a\x0b\x0c\x0d"


class ManualLoop:
    """Keeps callbacks until `turn`."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], Any]] = []
        self.readers: dict[int, Callable[[], Any]] = {}
        self.later: list[tuple[float, Callable[[], Any]]] = []

    def add_reader(self, fd: int, callback: Callable[[], Any]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.ready.append(callback)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> ManualLoop:
        self.later.append((delay, callback))
        return self

    def cancel(self) -> None:
        """The timer never rings here; tests call `run_due`."""

    def turn(self) -> None:
        """One turn: what was ready when it began, then descriptors."""
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()
        for callback in list(self.readers.values()):
            callback()


class Recorder:
    """A handler that writes down what it hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[Connection, bytes]] = []
        self.closed: list[tuple[Connection, int]] = []
        self.on_each: Callable[[Connection, bytes], None] | None = None

    def on_message(self, connection: Connection, payload: bytes) -> None:
        self.messages.append((connection, payload))
        if self.on_each is not None:
            self.on_each(connection, payload)

    def on_closed(self, connection: Connection, code: int) -> None:
        self.closed.append((connection, code))


def client_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A masked frame of a client, at most 65,535 bytes."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    pattern = (MASK * (size // 4 + 1))[:size]
    return head + MASK + bytes(a ^ b for a, b in zip(payload, pattern, strict=True))


class Client:
    """The far end. Reads only when told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.received = b""
        self.ended = False

    def take(self) -> bytes:
        """Everything that is here now; remembered in `received`."""
        taken = b""
        while not self.ended:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            self.ended = not data
            taken += data
        self.received += taken
        return taken

    def frames(self) -> list[tuple[int, bytes]]:
        """All frames received so far, as (opcode, payload); the stream must not be cut in a frame."""
        self.take()
        frames, at, data = [], 0, self.received
        while at < len(data):
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            assert start + size <= len(data), "the stream ends within a frame"
            frames.append((data[at] & 0xF, data[start : start + size]))
            at = start + size
        return frames

    def payloads(self) -> list[bytes]:
        """Payloads of the messages received so far."""
        return [payload for opcode, payload in self.frames() if opcode in (1, 2)]

    def close_code(self) -> int | None:
        """Code of the close frame received, if there is one."""
        codes = [int.from_bytes(payload[:2], "big") for opcode, payload in self.frames() if opcode == 8]
        return codes[0] if codes else None

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


class Stage:
    """A hub, its loop, clock, counters, handler, and its clients."""

    def __init__(self, **changes: Any) -> None:
        self.settings = replace(HubSettings(rest_seconds=0.0), **changes)
        self.loop = ManualLoop()
        self.clock = FakeClock()
        self.counters = HubCounters()
        self.handler = Recorder()
        self.hub = Hub(handler=self.handler, settings=self.settings, clock=self.clock, counters=self.counters, bulk=bulk_send)
        self.hub.attach(self.loop)
        self.clients: list[Client] = []

    def join(
        self, *, binary: bool = True, deflate: bool = False, initial: bytes = b"", send_buffer: int = 0
    ) -> tuple[Connection, Client]:
        """A new connection and its client; `send_buffer`: bytes the kernel holds for it (0: as usual)."""
        near, far = socket.socketpair()
        if send_buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        client = Client(far)
        self.clients.append(client)
        return self.hub.adopt(near, binary=binary, deflate=deflate, initial=initial), client

    def settle(self, *, turns: int = 400) -> None:
        """Turns the loop until nothing is left to do."""
        for _ in range(turns):
            self.loop.turn()
            if not self.loop.ready and not select.select(list(self.loop.readers), [], [], 0)[0]:
                return
        raise AssertionError("the hub does not come to rest")

    def advance(self, seconds: float) -> None:
        """Lets time pass in steps in which nothing is missed, with the loop turning."""
        while seconds > 0:
            step = min(seconds, self.settings.heartbeat_tick_seconds)
            self.clock.advance(step)
            self.hub.run_due()
            self.settle()
            seconds -= step


@contextmanager
def stage(**changes: Any) -> Iterator[Stage]:
    """A stage that leaves nothing open."""
    made = Stage(**changes)
    try:
        yield made
    finally:
        made.hub.stop()
        for client in made.clients:
            client.sock.close()
