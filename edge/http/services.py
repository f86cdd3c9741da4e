"""What the HTTP handlers of an edge work with; made once by the app."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from edge.http.admission import Admission, UpgradeRules
from edge.http.handshake_budget import HandshakeBudget
from edge.http.readiness import Readiness
from edge.http.site import Site
from throng.ports.tokens import TokenVerifier


@dataclass(frozen=True, slots=True)
class AssignedEdge:
    """Where a client shall connect; `url` is the base of the address, such as ws://host:port."""

    edge_id: str
    url: str


class TokenMaker(Protocol):
    """Gives tokens for development login."""

    def issue(self, user_id: str, *, ttl_seconds: int, name: str = "") -> str:
        """Makes a token for one user."""
        ...


class Door(Protocol):
    """The hub and its sessions, as the upgrade sees them. Hub thread only."""

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        ...

    def adopt(self, sock: socket.socket, admission: Admission, *, initial: bytes, answer: bytes) -> bool:
        """Takes over a socket and sends the 101 `answer` together with the first frame; `initial` was read already behind the
        request. False: the client has gone, and the socket is closed."""
        ...


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Numbers for the handlers."""

    max_connections: int
    retry_after_seconds: int = 2
    login_ttl_seconds: int = 604_800


@dataclass(frozen=True, slots=True)
class PageConfig:
    """What the page asks for at start."""

    version: str
    default_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpServices:
    """Everything behind the handlers.

    Attributes:
        issuer: gives tokens when development login is enabled, otherwise None.
        assign: asks a router for an edge; raises ThrongError when none answers.
        own_url: this edge's own base address when it was set by hand; empty: as the client's request names the host.
        upgraded: counts the outcome of an upgrade.
        render_metrics: makes the text for Prometheus, in another thread.
    """

    edge_id: str
    door: Door
    verifier: TokenVerifier
    issuer: TokenMaker | None
    rules: UpgradeRules
    limits: HttpLimits
    readiness: Readiness
    budget: HandshakeBudget
    site: Site
    config: PageConfig
    assign: Callable[[str, tuple[str, ...]], Awaitable[AssignedEdge]]
    own_url: str
    upgraded: Callable[[str], None]
    render_metrics: Callable[[], Awaitable[bytes]]
