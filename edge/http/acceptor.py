"""Takes connections from listening sockets (hop 1), as many as there are descriptors for, and never spins when there are none.

What cannot be accepted waits in the kernel's queue; a paused acceptor looks again ten times a second. Hub thread only.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import tornado.httpserver
import tornado.iostream

from edge.core.hub_counters import HubCounters

ACCEPTS_PER_TURN = 16
"""A turn of the loop in a storm takes about as long as a slice of a fan-out, which it delays."""

PAUSE_SECONDS = 0.1
LOG_SECONDS = 10.0
KEEP_ALIVE_ROOM = 256
"""With less room for HTTP than this, answers end their connections."""
_OF_ONE_CONNECTION = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EPERM,
        errno.EINTR,
    }
)
"""Errors of `accept` that concern the connection which was accepted, not the listening socket."""

_log = structlog.get_logger("throng.edge.http")


class CountingServer(tornado.httpserver.HTTPServer):
    """An HTTP server that knows how many connections it has; a socket that leaves for the hub is none of them."""

    def initialize(self, *arguments: Any, **settings: Any) -> None:
        """Takes what `HTTPServer` takes."""
        self.open_connections = 0
        super().initialize(*arguments, **settings)

    def handle_stream(self, stream: tornado.iostream.IOStream, address: Any) -> None:
        """A connection begins."""
        self.open_connections += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended, or left."""
        self.open_connections -= 1
        super().on_close(server_conn)


class Acceptor:
    """Reads listening sockets for one server.

    Args:
        server: gets the connections.
        sockets: clients and HTTP connections that there may be at once.
        clients: how many clients there are now.
        counters: `accept_pauses` is counted there.
        quick: gets each connection first; True: the server never sees it.
    """

    def __init__(
        self,
        server: CountingServer,
        *,
        sockets: int,
        clients: Callable[[], int],
        counters: HubCounters,
        quick: Callable[[socket.socket], bool] = lambda _: False,
    ) -> None:
        self._server = server
        self._sockets = sockets
        self._clients = clients
        self._counters = counters
        self._quick = quick
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: tuple[socket.socket, ...] = ()
        self._resume_timer: asyncio.TimerHandle | None = None
        self._logged_at = float("-inf")

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Begins to accept from sockets that listen."""
        self._loop = asyncio.get_running_loop()
        self._listeners = tuple(listeners)
        self._watch()

    def stop(self) -> None:
        """Accepts nothing more; the sockets stay as they are. Idempotent."""
        self._unwatch()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None
        self._listeners = ()

    def take_waiting(self) -> None:
        """Accepts what waits now; for a socket that is about to be closed, whose queue would be reset."""
        for listener in self._listeners:
            while self._room() > 0 and self._accept(listener):
                pass

    def _watch(self) -> None:
        self._resume_timer = None
        assert self._loop is not None
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._on_ready, listener)

    def _unwatch(self) -> None:
        if self._loop is not None and self._resume_timer is None:
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def _room(self) -> int:
        return self._sockets - self._clients() - self._server.open_connections

    def _on_ready(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            room = self._room()
            self._server.conn_params.no_keep_alive = room < KEEP_ALIVE_ROOM
            if room <= 0:
                self._pause("no descriptors are left for clients and HTTP")
                return
            if not self._accept(listener):
                return

    def _accept(self, listener: socket.socket) -> bool:
        """Accepts one connection; False: none waits, or none can be accepted for now."""
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _OF_ONE_CONNECTION:
                return True
            self._pause(error.strerror or str(error))
            return False
        try:
            sock.setblocking(False)
            if not self._quick(sock):
                self._server.handle_stream(tornado.iostream.IOStream(sock), address)
        except Exception:
            _log.exception("connection_not_served")
            sock.close()
        return True

    def _pause(self, why: str) -> None:
        self._counters.accept_pauses += 1
        loop = self._loop
        if loop is None or self._resume_timer is not None:
            return
        if loop.time() - self._logged_at >= LOG_SECONDS:
            self._logged_at = loop.time()
            _log.warning("accepting_paused", reason=why, clients=self._clients(), http=self._server.open_connections)
        self._unwatch()
        self._resume_timer = loop.call_later(PAUSE_SECONDS, self._watch)
