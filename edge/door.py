"""The hub with its sessions: takes sockets in after their upgrade (hop 1), passes on what the hub says, and ticks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import structlog

from edge.core.connection import Connection
from edge.core.hub import Hub
from edge.core.sessions import EdgeSessions
from edge.http.admission import Admission

_TICK_SECONDS = 0.1
_log = structlog.get_logger("throng.edge")


class HubDoor:
    """A `Door` and the hub's handler in one, for each of hub and sessions needs the other. Hub thread only.

    Attributes:
        lateness_seconds: by how much the newest tick came late: how long one turn of the hub's loop takes.
    """

    def __init__(
        self,
        hub: Callable[[HubDoor], Hub],
        sessions: Callable[[Hub], EdgeSessions],
        *,
        delayed: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Makes both.

        Args:
            hub: makes the hub.
            sessions: makes what is above it.
            delayed: hears ten times a second how late the loop was, seconds.
        """
        self.hub = hub(self)
        self.sessions = sessions(self.hub)
        self._delayed = delayed
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._departing = False
        self.lateness_seconds = 0.0

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self.hub.connections_count

    def adopt(self, sock: socket.socket, admission: Admission, *, initial: bytes, answer: bytes) -> bool:
        """Takes over a socket, opens its session and sends the 101 answer before all else; False: the client has gone."""
        identity = admission.identity
        try:
            upgrade = admission.upgrade
            connection = self.hub.adopt(sock, binary=upgrade.binary, deflate=upgrade.deflate, initial=initial)
        except OSError:
            return False  # the client has gone meanwhile; the hub has closed the socket
        self.sessions.open(
            connection,
            user_id=identity.user_id,
            display_name=identity.display_name,
            expires_at_ms=identity.expires_at_ms,
            groups=list(admission.groups),
            delivery=admission.delivery,
            greeting=answer,
        )
        return True

    def on_message(self, connection: Connection, payload: bytes) -> None:
        """A message came."""
        self.sessions.on_message(connection, payload)

    def on_closed(self, connection: Connection, code: int) -> None:
        """The connection is gone."""
        self.sessions.on_closed(connection, code)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to serve in the loop."""
        self._loop = loop
        self.hub.attach(loop)
        self._tick(loop, loop.time())

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self.lateness_seconds = max(0.0, now - due)
        self._delayed(self.lateness_seconds)
        self._timer = loop.call_at(now + _TICK_SECONDS, self._tick, loop, now + _TICK_SECONDS)
        try:
            self.sessions.tick()
        except Exception as error:
            _log.error("sessions_tick_failed", exc_info=error)
        if not self._departing:
            self._depart()

    def drain(self, window_ms: int) -> None:
        """Sends all clients away over a window, some in each turn of the loop."""
        self.sessions.drain(window_ms)
        if not self._departing:
            self._depart()

    def _depart(self) -> None:
        self._departing = False
        if self._loop is not None and self.sessions.depart():
            self._departing = True
            self._loop.call_soon(self._depart)

    def stop(self) -> None:
        """Drops what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None
        self.hub.stop()
