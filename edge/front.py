"""The addresses on which an edge serves HTTP (hop 1): that of the clients, perhaps shared with other edges of this machine, and a
private one for operators, at which exactly this process answers.

An edge that shares its port listens only while it lets clients in: what the kernel would deal out to a process that is not ready
or drains goes to the others. A port of its own is listened on all the time, and says 503.
"""

from __future__ import annotations

import socket

import structlog

from edge.core.hub_counters import HubCounters
from edge.descriptors import DescriptorPlan
from edge.http.acceptor import Acceptor, CountingServer
from edge.http.application import make_operations_server, make_server
from edge.http.quick_upgrade import QuickUpgrades
from edge.http.services import HttpServices
from edge.http.upgrade_gate import UpgradeGate
from edge.settings import EdgeSettings
from throng.domain.errors import ErrorCode, ThrongError

BACKLOG = 4_096
"""Connections that may wait to be accepted, if the kernel allows as many (net.core.somaxconn)."""
DEFER_SECONDS = 1
"""A connection is accepted with its request, or without one after about so long: a plain upgrade that is there is served at half
the price (`http/quick_upgrade.py`)."""

_log = structlog.get_logger("throng.edge")


class Front:
    """Owns the listening sockets and the HTTP servers. `bind` and `release` from any thread, everything else in the hub's.

    Attributes:
        address: where clients are served, host:port; empty before `bind`.
        operations_address: where operators are served; empty: nowhere else.
    """

    def __init__(self, settings: EdgeSettings, descriptors: DescriptorPlan, counters: HubCounters) -> None:
        self._settings = settings
        self._descriptors = descriptors
        self._counters = counters
        self._public: socket.socket | None = None
        self._private: socket.socket | None = None
        self._server: CountingServer | None = None
        self._operations: CountingServer | None = None
        self._acceptor: Acceptor | None = None
        self._listening = False
        self._port = 0
        self.address = ""
        self.operations_address = ""

    def bind(self) -> None:
        """Takes the addresses.

        Raises:
            ThrongError: UNAVAILABLE: one is taken or not ours.
        """
        settings = self._settings
        self._public = _bound(settings.host, settings.port, shared=settings.reuse_port)
        self._port = int(self._public.getsockname()[1])
        self.address = f"{settings.host}:{self._port}"
        if settings.metrics_port is not None:
            self._private = _bound(settings.metrics_host, settings.metrics_port)
            self.operations_address = f"{settings.metrics_host}:{self._private.getsockname()[1]}"

    @property
    def max_connections(self) -> int:
        """Clients that are let in."""
        return self._descriptors.max_connections

    @property
    def port(self) -> int:
        """The clients' port; 0 before `bind`."""
        return self._port

    def open(self, services: HttpServices) -> None:
        """Begins to serve; on a shared port only after `listen`."""
        server = make_server(services, metrics=self._settings.public_metrics)
        self._server = server
        self._acceptor = Acceptor(
            server,
            sockets=self._descriptors.sockets,
            clients=lambda: self._counters.connections,
            counters=self._counters,
            quick=QuickUpgrades(UpgradeGate(services)).take,
        )
        if self._private is not None:
            self._operations = make_operations_server(services)
            self._operations.add_socket(self._private)
        if not self._settings.reuse_port:
            self.listen()

    def listen(self) -> None:
        """Lets clients come, also after `leave`. Idempotent; nothing happens after `close`."""
        if self._acceptor is None or self._listening:
            return
        if self._public is None:
            try:
                self._public = _bound(self._settings.host, self._port, shared=True)
            except ThrongError as error:
                _log.error("shared_port_taken", address=self.address, reason=error.text)
                return
        self._listening = True
        if self._settings.reuse_port:
            self._public.listen(BACKLOG)
        self._acceptor.start([self._public])

    def leave(self) -> None:
        """Gives a shared port up to the other edges, after what has come already is accepted; a port of its own stays."""
        if self._settings.reuse_port:
            self._end_listening()

    async def close(self) -> None:
        """Ends listening and every HTTP connection."""
        self._end_listening()
        self._acceptor = None
        for server in (self._server, self._operations):
            if server is not None:
                server.stop()
                await server.close_all_connections()

    def release(self) -> None:
        """Closes the sockets, also after a start that failed half-way. Idempotent."""
        for sock in (self._public, self._private):
            if sock is not None:
                sock.close()
        self._public = self._private = None

    def _end_listening(self) -> None:
        self._listening = False
        if self._acceptor is not None:
            self._acceptor.take_waiting()
            self._acceptor.stop()
        if self._public is not None:
            self._public.close()
            self._public = None


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens, unless it is shared: then it only holds its place."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        sock.bind((host, port))
        if not shared:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ThrongError(ErrorCode.UNAVAILABLE, f"cannot listen on {host}:{port}; is the port taken?") from error
    return sock
