"""What a cluster shall consist of: how many of each service, and which links lead through a fault proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SERVICES = ("router", "unread", "group", "edge")
"""Kinds of services, in the order in which they start; they stop in the order of `STOPPING`."""

STOPPING = ("edge", "group", "unread", "router")

LINKS = (
    "client->edge",
    "edge->group",
    "edge->kafka",
    "edge->router",
    "edge->unread",
    "group->group",
    "group->kafka",
    "group->mysql",
    "group->redis",
    "group->router",
    "group->unread",
    "router->edge",
    "router->redis",
    "unread->group",
    "unread->mysql",
    "unread->redis",
)
"""Every connection that one part opens to another, by the kinds at its ends."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """How a cluster is made.

    Attributes:
        edges, routers, groups, unreads: processes of each service.
        host: address on which the edges serve the page; everything else listens on 127.0.0.1.
        port: of the first edge, the others have the next ones; 0: any free ones.
        default_group: open group that exists from the start; empty: none.
        proxied: links (`LINKS`) that lead through a `FaultProxy`, one for each pair of processes.
        restart_dead: a process that dies is started again, after 0.5 s at first, later after up to 10 s.
        tls: certificates and a shared token between the services, and TLS from services to Kafka, MariaDB and Redis. Clients come
            to edges without it.
        flags: further settings by kind of service, such as {"edge": {"min_send_interval_ms": "0"}}.
        environment: further environment variables by name of process, such as {"edge-2": {"TZ": "UTC"}}.
        backend_options: further options of servers: settings of Kafka, options of MariaDB as {"--name": "value"}.
        uplink, store: `grpc` and `sqlite` take no Kafka and no MariaDB, for one group service and one unread service only.
        start_seconds: how long everything may take to become ready, seconds.
    """

    edges: int = 2
    routers: int = 2
    groups: int = 2
    unreads: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    default_group: str = "lobby"
    proxied: frozenset[str] = frozenset()
    restart_dead: bool = True
    tls: bool = False
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    backend_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    uplink: Literal["kafka", "grpc"] = "kafka"
    store: Literal["mysql", "sqlite"] = "mysql"
    start_seconds: float = 90.0

    def __post_init__(self) -> None:
        """Checks the parts against each other.

        Raises:
            ValueError: naming what is wrong.
        """
        unknown = sorted(set(self.proxied) - set(LINKS)) + sorted(set(self.flags) - set(SERVICES))
        if unknown:
            raise ValueError(f"there is no {unknown[0]}")
        if min(self.edges, self.routers, self.groups, self.unreads) < 1:
            raise ValueError("at least one of each service is needed")
        if self.uplink == "grpc" and self.groups > 1:
            raise ValueError("several group services need the uplink kafka")
        if self.store == "sqlite" and max(self.groups, self.unreads) > 1:
            raise ValueError("several of a service need the store mysql")

    def count(self, kind: str) -> int:
        """Processes of one kind."""
        return {"edge": self.edges, "router": self.routers, "group": self.groups, "unread": self.unreads}[kind]

    def names(self, kind: str) -> list[str]:
        """Names of the processes of one kind: `edge-1`, `edge-2` …"""
        return [f"{kind}-{number}" for number in range(1, self.count(kind) + 1)]
