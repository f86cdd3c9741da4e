"""The slim hub: every client connection after its upgrade, in one nested epoll, without tasks or timers of its own (hops 1, 7)."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import structlog

from edge.core.array_pair import ArrayPair
from edge.core.bulk_send import BulkSend
from edge.core.connection import Connection, ConnectionState
from edge.core.fan_out import FanOut
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.in_turns import InTurns
from edge.core.reader import ABNORMAL_CLOSURE, Reader
from edge.core.ready_turns import ReadyTurns
from edge.core.sender import Sender
from edge.core.socket_array import FrameDone, HeadFrame
from edge.core.timing_wheel import TimingWheel
from edge.protocol.frames import close_frame, ping_frame
from throng.domain.close_codes import CloseCode
from throng.ports.clock import Clock

_CLOSES_PER_TURN = 64
_PING = ping_frame()
_NOTSENT_LOWAT: int = getattr(socket, "TCP_NOTSENT_LOWAT", 0)
_BROKEN = select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
_READABLE = select.EPOLLIN | _BROKEN

_log = structlog.get_logger("edge.hub")


class HubHandler(Protocol):
    """The layer above. Called in the hub thread, at the top level of a loop turn except `on_message` of `feed`."""

    def on_message(self, connection: Connection, payload: bytes) -> None:
        """A message came. An exception is logged and closes the connection with INTERNAL_ERROR."""
        ...

    def on_closed(self, connection: Connection, code: int) -> None:
        """The connection is gone: its own or our close code, 1005 when the client gave none, 1006 when it just vanished.

        Called exactly once per adopted connection, never from within another call of the hub, and up to
        `close_timeout_seconds` after `Hub.close`; no `on_message` comes in between.
        """
        ...


class HubLoop(Protocol):
    """The part of an asyncio loop that a hub needs."""

    def add_reader(self, fd: int, callback: Callable[[], Any], /) -> Any:
        """Calls back while a descriptor is readable."""
        ...

    def remove_reader(self, fd: int, /) -> Any:
        """Ends that."""
        ...

    def call_soon(self, callback: Callable[[], Any], /) -> Any:
        """Calls back in the next turn."""
        ...

    def call_later(self, delay: float, callback: Callable[[], Any], /) -> Any:
        """Calls back later; the result has `cancel()`."""
        ...


class Hub:
    """Owns the sockets of clients from the 101 answer to the end. Lives in one loop's thread; no method may be called from another.

    Idle connections cost a slotted object and a socket. A connection that breaks, floods or crashes its handler never
    disturbs another. Frames of one connection arrive in the order of `send` and `fan_out` passes.
    """

    def __init__(
        self, *, handler: HubHandler, settings: HubSettings, clock: Clock, counters: HubCounters, bulk: BulkSend | None = None
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._epoll = select.epoll()
        self._table: list[Connection | None] = []
        self._loop: HubLoop | None = None
        self._timer: Any = None
        self._rest: Any = None
        self._ready = ReadyTurns(self._epoll, self._serve, settings=settings, clock=clock)
        self._closing: dict[Connection, float] = {}
        self._gone = InTurns(self._bury, self.soon, per_turn=_CLOSES_PER_TURN)
        self._leaving = InTurns(self._leave, self.soon, per_turn=_CLOSES_PER_TURN)
        self._slicing = self._stopped = False
        self._wheel = TimingWheel(
            interval_seconds=settings.heartbeat_interval_seconds,
            tick_seconds=settings.heartbeat_tick_seconds,
            now=clock.monotonic(),
        )
        self._next_second_at = clock.monotonic() + 1.0
        self._sender = Sender(settings=settings, clock=clock, counters=counters)
        self._sender.report_to(
            watch=self._watch,
            on_broken=self._vanish,
            on_too_slow=self._give_up,
            on_drained=self._end_if_answered,
            on_failure=self._defect,
        )
        self._fan_out = FanOut(settings=settings, counters=counters, sender=self._sender, on_broken=self._vanish, bulk=bulk)
        self._reader = Reader(owner=self, handler=handler, settings=settings, counters=counters)

    # --- for the layer above ---------------------------------------------------------------------------------------

    def attach(self, loop: HubLoop) -> None:
        """Begins to serve in a loop, which sees one descriptor and one timer."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._on_ready)
        self._timer = loop.call_later(self._settings.heartbeat_tick_seconds, self._on_timer)

    def adopt(self, sock: socket.socket, *, binary: bool, deflate: bool = False, initial: bytes = b"") -> Connection:
        """Takes over a socket after its upgrade; `initial`: bytes that came after the request. No handler is called meanwhile.

        Raises:
            OSError: the socket is dead already, or the hub has stopped; the socket is closed.
        """
        try:
            if self._stopped:
                raise ConnectionAbortedError("the hub has stopped")
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if _NOTSENT_LOWAT:
                    sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, self._settings.unsent_bytes)
            fd = sock.fileno()
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
        except OSError:
            sock.close()
            raise
        connection = Connection(sock, fd, binary=binary, deflate=deflate)
        if fd >= len(self._table):
            self._table.extend([None] * (fd + 1 - len(self._table)))
        self._table[fd] = connection
        self._counters.connections += 1
        self._counters.accepted += 1
        if initial:
            self._reader.keep_for_later(connection, initial)
            self.soon(lambda: self._reader.feed(connection, b""))
        return connection

    def send(self, connection: Connection, frame: bytes) -> None:
        """Sends a ready frame to one connection, in order with what waits for it. Nothing happens when it is not open."""
        if connection.state is ConnectionState.OPEN:
            self._sender.send(connection, frame)

    def close(self, connection: Connection, code: CloseCode, reason: str = "") -> None:
        """Begins the close handshake after what waits for the connection; it leaves its arrays at once. Idempotent."""
        if connection.state is ConnectionState.OPEN:
            self._begin_close(connection, ConnectionState.CLOSING, int(code), close_frame(code, reason))

    def array(self) -> ArrayPair:
        """A new array of sockets for `fan_out`; it needs no release."""
        return ArrayPair()

    def fan_out(self, array: ArrayPair, frame: bytes, *, head_frame: HeadFrame, on_done: FrameDone | None = None) -> None:
        """Queues a frame for all connections of an array.

        Args:
            array: who gets it: everybody in it now who stays; who joins before the pass begins may get it too.
            frame: ready bytes, shared by all.
            head_frame: makes the frame that stands for frames that were left out, when it is needed.
            on_done: hears, after the pass, how many sockets the frame was handed to.
        """
        self._fan_out.queue(array, frame, head_frame=head_frame, on_done=on_done)
        self._begin_slicing()

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back in the next turn of the loop; nothing is taken after `stop`."""
        if self._loop is not None:
            self._loop.call_soon(callback)
        elif not self._stopped:
            raise RuntimeError("the hub is not attached to a loop")

    def close_all(self, code: CloseCode, reason: str = "") -> None:
        """Begins to close all connections, some in each turn of the loop; wait for `connections_count` to reach 0."""
        self._leaving.add((connection, code, reason) for connection in self.connections() if connection.open)

    def connections(self) -> Iterator[Connection]:
        """All connections that are not gone."""
        return (connection for connection in self._table if connection is not None)

    @property
    def connections_count(self) -> int:
        """How many connections there are, closing ones included."""
        return self._counters.connections

    def stop(self) -> None:
        """Drops all that is left, calls `on_closed` for each and leaves the loop. Idempotent; other calls do nothing later."""
        loop, self._loop = self._loop, None
        if self._stopped:
            return
        self._stopped = True
        if loop is not None:
            if self._rest is None:
                loop.remove_reader(self._epoll.fileno())
            else:
                self._rest.cancel()
            self._timer.cancel()
        for connection in list(self.connections()):
            self._lose(connection, connection.close_code or int(CloseCode.GOING_AWAY))
        self._gone.finish()
        self._epoll.close()

    # --- turns of the loop -----------------------------------------------------------------------------------------

    def _on_ready(self) -> None:
        loop = self._loop
        if loop is None:
            return
        rest_seconds = self._ready.run()
        if rest_seconds and self._loop is not None:
            loop.remove_reader(self._epoll.fileno())
            self._rest = loop.call_later(rest_seconds, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if self._loop is None:
            return
        rest_seconds = self._ready.run()
        if self._loop is None:
            return
        if rest_seconds:
            self._rest = self._loop.call_later(rest_seconds, self._rested)
        else:
            self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _serve(self, fd: int, events: int) -> None:
        connection = self._table[fd]
        if connection is None or connection.state is ConnectionState.GONE:
            return
        if events & select.EPOLLOUT:
            self._sender.flush(connection)
        if events & _READABLE:
            if events & _BROKEN and connection in self._reader.paused:
                self._vanish(connection)
            else:
                self._reader.read(connection)

    def run_due(self) -> None:
        """Heartbeats and deadlines that are due by the clock; the loop's timer calls it, tests may."""
        now = self._clock.monotonic()
        table = self._table
        for slot in self._wheel.due(now):
            for fd in range(slot, len(table), self._wheel.slots):
                connection = table[fd]
                if connection is not None and connection.state is ConnectionState.OPEN:
                    self._beat(connection)
        if now >= self._next_second_at:
            self._next_second_at = now + 1.0
            for connection in self._reader.begin_window():
                self._watch(connection)
            self._leaving.add((connection, CloseCode.TOO_SLOW, "") for connection in self._sender.blocked_too_long(now))
            for connection in [connection for connection, deadline in self._closing.items() if deadline <= now]:
                self._lose(connection, connection.close_code or ABNORMAL_CLOSURE)

    def _on_timer(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(self._settings.heartbeat_tick_seconds, self._on_timer)
        self.run_due()

    def _begin_slicing(self) -> None:
        if not self._slicing:
            self._slicing = True
            self.soon(self._run_slice)

    def _run_slice(self) -> None:
        self._slicing = False
        if self._fan_out.run_slice():
            self._begin_slicing()

    def _leave(self, leaving: tuple[Connection, CloseCode, str]) -> None:
        connection, code, reason = leaving
        if code is not CloseCode.TOO_SLOW:
            self.close(connection, code, reason)
        elif connection.open:
            self._give_up(connection)

    # --- one connection --------------------------------------------------------------------------------------------

    def answer_close(self, connection: Connection, code: int | None) -> None:
        """The client closes: answers in kind and ends."""
        if connection.state is ConnectionState.OPEN:
            self._begin_close(connection, ConnectionState.ANSWERED, code or 1005, close_frame(code))
        else:
            connection.state = ConnectionState.ANSWERED
            self._end_if_answered(connection)

    def fail(self, connection: Connection, code: CloseCode, reason: str) -> None:
        """Closes without reading on; what the client still sends is thrown away."""
        if connection.state is ConnectionState.OPEN:
            self._begin_close(connection, ConnectionState.ANSWERED, int(code), close_frame(code, reason))
        elif connection.state is ConnectionState.CLOSING:
            connection.state = ConnectionState.ANSWERED
            self._end_if_answered(connection)

    def answer(self, connection: Connection, frame: bytes) -> None:
        """Sends a control frame."""
        if connection.state is ConnectionState.OPEN:
            self._sender.send(connection, frame)

    def pause(self, connection: Connection) -> None:
        """Stops reading until the next window."""
        self._watch(connection)

    def lost(self, connection: Connection) -> None:
        """The socket ended."""
        self._vanish(connection)

    def _begin_close(self, connection: Connection, state: ConnectionState, code: int, frame: bytes) -> None:
        connection.state = state
        connection.close_code = code
        connection.partial = connection.partial if state is ConnectionState.CLOSING else None
        for array in connection.arrays:
            array.remove(connection)
        self._closing[connection] = self._clock.monotonic() + self._settings.close_timeout_seconds
        self._sender.send(connection, frame)
        self._end_if_answered(connection)

    def _end_if_answered(self, connection: Connection) -> None:
        """Both close frames are exchanged: ends our side, so that the client ends its own without losing our last bytes."""
        if connection.state is ConnectionState.ANSWERED and connection.outbox is None:
            try:
                connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._vanish(connection)

    def _give_up(self, connection: Connection) -> None:
        """Closes a client that is too slow; what waited for it is forgotten."""
        if connection.state is not ConnectionState.OPEN:
            self._vanish(connection)
            return
        if connection.outbox is not None:
            connection.outbox.clear(keep_started=True)
        self.close(connection, CloseCode.TOO_SLOW, "the client took nothing for too long")

    def _defect(self, connection: Connection) -> None:
        self._counters.handler_failures += 1
        _log.exception("hub_send_failed", fd=connection.fd)
        self._lose(connection, int(CloseCode.INTERNAL_ERROR))

    def _beat(self, connection: Connection) -> None:
        """Pings, and ends who gave no sign of life since the last ping: found within two intervals, whenever it fell silent. A
        connection that takes nothing has the patience of `Sender` instead, for a ping would wait behind the rest."""
        if connection.outbox is not None:
            return
        if connection.missed_pings:
            self._sender.send(connection, close_frame(CloseCode.HEARTBEAT_TIMEOUT, "a ping went unanswered"))
            self._lose(connection, int(CloseCode.HEARTBEAT_TIMEOUT))
            return
        connection.missed_pings += 1
        self._counters.pings += 1
        self._sender.send(connection, _PING)

    def _watch(self, connection: Connection) -> None:
        if connection.state is ConnectionState.GONE:
            return
        events = select.EPOLLRDHUP
        if connection not in self._reader.paused:
            events |= select.EPOLLIN
        if connection.outbox is not None:
            events |= select.EPOLLOUT
        self._epoll.modify(connection.fd, events)

    def _vanish(self, connection: Connection) -> None:
        self._lose(connection, connection.close_code or ABNORMAL_CLOSURE)

    def _lose(self, connection: Connection, code: int) -> None:
        """Takes a connection out of everything; its socket is closed and its handler called in the next turn, when no loop
        over connections is under way and no descriptor can be given out twice."""
        if connection.state is ConnectionState.GONE:
            return
        connection.state = ConnectionState.GONE
        connection.close_code = code
        connection.partial = None
        for array in connection.arrays:
            array.remove(connection)
        self._sender.free(connection)
        self._reader.paused.discard(connection)
        self._closing.pop(connection, None)
        self._epoll.unregister(connection.fd)
        self._gone.add([connection])

    def _bury(self, connection: Connection) -> None:
        self._table[connection.fd] = None
        connection.sock.close()
        self._counters.connections -= 1
        self._counters.closed[connection.close_code] = self._counters.closed.get(connection.close_code, 0) + 1
        try:
            self._handler.on_closed(connection, connection.close_code)
        except Exception:
            self._counters.handler_failures += 1
            _log.exception("hub_on_closed_failed", fd=connection.fd)
