"""Reading from connections: fair, bounded in bytes and frames per second, and with one buffer for all (hop 1)."""

from __future__ import annotations

from typing import Final, Protocol

import structlog

from edge.core.connection import Connection, ConnectionState
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.protocol.events import Close, Event, Failed, Message, Ping
from edge.protocol.frames import pong_frame
from edge.protocol.parser import Partial, parse
from throng.domain.close_codes import CloseCode

ABNORMAL_CLOSURE: Final = 1006
"""What RFC 6455 calls an end without a close frame; never sent."""
_READ_BYTES: Final = 65_536

_log = structlog.get_logger("edge.hub")


class MessageHandler(Protocol):
    """Who takes messages."""

    def on_message(self, connection: Connection, payload: bytes) -> None:
        """A message came."""
        ...


class ReaderOwner(Protocol):
    """Who does what reading shows to be necessary."""

    def answer(self, connection: Connection, frame: bytes) -> None:
        """Sends a control frame."""
        ...

    def answer_close(self, connection: Connection, code: int | None) -> None:
        """The client closes."""
        ...

    def fail(self, connection: Connection, code: CloseCode, reason: str) -> None:
        """The client broke a rule."""
        ...

    def pause(self, connection: Connection) -> None:
        """The connection is in `paused` now."""
        ...

    def lost(self, connection: Connection) -> None:
        """The socket ended."""
        ...


class Reader:
    """One read per connection and turn. A connection above its bytes per second is not read for the rest of the second
    (TCP then slows the client); one above its frames per second is closed as ABUSIVE."""

    def __init__(self, *, owner: ReaderOwner, handler: MessageHandler, settings: HubSettings, counters: HubCounters) -> None:
        self._owner = owner
        self._handler = handler
        self._settings = settings
        self._counters = counters
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._window = 0
        self.paused: set[Connection] = set()

    def begin_window(self) -> list[Connection]:
        """A new second begins; returns connections that may be read again."""
        self._window += 1
        resumed = list(self.paused)
        self.paused.clear()
        return resumed

    def keep_for_later(self, connection: Connection, data: bytes) -> None:
        """Puts bytes in front of what the socket will give."""
        connection.partial = Partial()
        connection.partial.hold(data)

    def read(self, connection: Connection) -> None:
        """Reads once and handles what is complete."""
        if connection.state is ConnectionState.GONE:
            return
        try:
            size = connection.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._owner.lost(connection)
            return
        connection.missed_pings = 0
        self._counters.received_bytes += size
        if connection.window != self._window:
            connection.window = self._window
            connection.window_bytes = connection.frames_in_window = 0
        connection.window_bytes += size
        if connection.window_bytes > self._settings.input_bytes_per_second:
            self.paused.add(connection)
            self._counters.read_pauses += 1
            self._owner.pause(connection)
        if connection.state is not ConnectionState.ANSWERED:
            self.feed(connection, bytes(self._view[:size]))

    def feed(self, connection: Connection, data: bytes) -> None:
        """Handles bytes as if they had just been read."""
        if connection.state not in (ConnectionState.OPEN, ConnectionState.CLOSING):
            return
        events, connection.partial = parse(
            data,
            connection.partial,
            binary=connection.binary,
            max_message_bytes=self._settings.max_frame_bytes,
            deflate=connection.deflate,
        )
        connection.frames_in_window += len(events)
        if connection.frames_in_window > self._settings.input_frames_per_second and connection.state is ConnectionState.OPEN:
            self._owner.fail(connection, CloseCode.ABUSIVE, "too many frames in a second")
            return
        for event in events:
            self._handle(connection, event)

    def _handle(self, connection: Connection, event: Event) -> None:
        if isinstance(event, Message):
            if connection.state is not ConnectionState.OPEN:
                return
            self._counters.received_messages += 1
            try:
                self._handler.on_message(connection, event.payload)
            except Exception:
                self._counters.handler_failures += 1
                _log.exception("hub_on_message_failed", fd=connection.fd)
                self._owner.fail(connection, CloseCode.INTERNAL_ERROR, "internal error")
        elif isinstance(event, Ping):
            self._owner.answer(connection, pong_frame(event.payload))
        elif isinstance(event, Close):
            if connection.state is not ConnectionState.GONE:
                self._owner.answer_close(connection, event.code)
        elif isinstance(event, Failed):
            self._owner.fail(connection, event.code, event.reason)
