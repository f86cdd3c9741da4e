"""Sending to one connection: straight to the socket, or by an outbox while it takes no more (hop 7)."""

from __future__ import annotations

from collections.abc import Callable

from edge.core.connection import Connection, ConnectionState
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.outbox import Outbox
from edge.core.socket_array import SocketArray
from throng.ports.clock import Clock

Watch = Callable[[Connection], None]
Give = Callable[[Connection], None]


class Sender:
    """Owns the outboxes. Never raises for a connection's sake: `on_broken` hears of a dead one, `on_too_slow` of a full one,
    `watch` that the events to wait for have changed, `on_drained` that an outbox is empty and gone."""

    def __init__(self, *, settings: HubSettings, clock: Clock, counters: HubCounters) -> None:
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._watch: Watch = _nothing
        self._on_broken: Give = _nothing
        self._on_too_slow: Give = _nothing
        self._on_drained: Give = _nothing
        self._on_failure: Give = _nothing
        self.blocked: set[Connection] = set()

    def report_to(self, *, watch: Watch, on_broken: Give, on_too_slow: Give, on_drained: Give, on_failure: Give) -> None:
        """Names who hears of connections that need more than sending."""
        self._watch = watch
        self._on_broken = on_broken
        self._on_too_slow = on_too_slow
        self._on_drained = on_drained
        self._on_failure = on_failure

    def send(self, connection: Connection, frame: bytes) -> None:
        """Sends a frame after all that waits for the connection."""
        outbox = connection.outbox
        if outbox is not None:
            outbox.push(frame)
            if outbox.total_bytes > self._settings.outbox_hard_bytes:
                self._on_too_slow(connection)
            return
        counters = self._counters
        try:
            sent = connection.sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._on_broken(connection)
            return
        counters.sends += 1
        counters.sent_bytes += sent
        if sent != len(frame):
            self._make_outbox(connection).push(frame, sent_bytes=sent)

    def queue_rest(self, connection: Connection, array: SocketArray, frame: bytes, sent_bytes: int) -> None:
        """Takes over a fan-out frame of which the socket took only `sent_bytes`."""
        self._make_outbox(connection).push_shared(array, frame, sent_bytes=sent_bytes)

    def flush(self, connection: Connection) -> None:
        """Sends what waits, as far as the socket takes it."""
        outbox = connection.outbox
        if outbox is None:
            return
        try:
            empty = outbox.flush(connection.sock, now=self._clock.monotonic())
        except OSError:
            self._on_broken(connection)
            return
        except Exception:
            self._on_failure(connection)
            return
        if empty:
            self.free(connection)
            self._watch(connection)
            self._on_drained(connection)

    def free(self, connection: Connection) -> None:
        """Lets the outbox go; the arrays serve the socket directly again."""
        outbox = connection.outbox
        if outbox is None:
            return
        outbox.clear(keep_started=False)
        connection.outbox = None
        self.blocked.discard(connection)
        self._counters.blocked_connections -= 1
        for array in connection.arrays:
            array.replace_send(connection, connection.sock.send)

    def blocked_too_long(self, now: float) -> list[Connection]:
        """Connections that took nothing for longer than allowed."""
        since = now - self._settings.blocked_timeout_seconds
        return [
            connection
            for connection in self.blocked
            if connection.state is ConnectionState.OPEN and connection.outbox is not None and connection.outbox.progress_at < since
        ]

    def _make_outbox(self, connection: Connection) -> Outbox:
        self._counters.would_block += 1
        self._counters.outboxes_made += 1
        self._counters.blocked_connections += 1
        outbox = Outbox(
            shared_limit_bytes=self._settings.outbox_shared_bytes,
            shared_limit_frames=self._settings.outbox_shared_frames,
            counters=self._counters,
            now=self._clock.monotonic(),
        )
        connection.outbox = outbox
        self.blocked.add(connection)
        for array in connection.arrays:
            array.replace_send(connection, outbox.sender_for(array))
        self._watch(connection)
        return outbox


def _nothing(connection: Connection) -> None:
    del connection
