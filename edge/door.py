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
    """A `Door` and the hub's handler in one, for each of hub and sessions needs the other. Hub thread only."""

    def __init__(self, hub: Callable[[HubDoor], Hub], sessions: Callable[[Hub], EdgeSessions]) -> None:
        self.hub = hub(self)
        self.sessions = sessions(self.hub)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self.hub.connections_count

    def adopt(self, sock: socket.socket, admission: Admission, *, initial: bytes) -> None:
        """Takes over a socket after the 101 answer and opens its session."""
        identity = admission.identity
        try:
            connection = self.hub.adopt(sock, binary=admission.upgrade.binary, initial=initial)
        except OSError:
            return  # the client has gone meanwhile; the hub has closed the socket
        self.sessions.open(
            connection,
            user_id=identity.user_id,
            display_name=identity.display_name,
            expires_at_ms=identity.expires_at_ms,
            groups=list(admission.groups),
            delivery=admission.delivery,
        )

    def on_message(self, connection: Connection, payload: bytes) -> None:
        """A message came."""
        self.sessions.on_message(connection, payload)

    def on_closed(self, connection: Connection, code: int) -> None:
        """The connection is gone."""
        self.sessions.on_closed(connection, code)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to serve in the loop."""
        self.hub.attach(loop)
        self._tick(loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop)
        try:
            self.sessions.tick()
        except Exception as error:
            _log.error("sessions_tick_failed", exc_info=error)

    def stop(self) -> None:
        """Drops what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self.hub.stop()
