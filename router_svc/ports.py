"""What router_svc needs from the outside: the shared registry of routes, and the way to edges.

Adapters: `RouteRegistry`: `redis`, real or embedded; `EdgeDelivery`: gRPC to EdgeService.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from throng.domain.ids import EdgeId, GroupId

MAX_INCARNATION = 2**53 - 1
"""Registries compare incarnations as doubles (Lua)."""


@dataclass(frozen=True, slots=True)
class EdgeInfo:
    """Who an edge is. `weight` 0: derived from load."""

    edge_id: EdgeId
    incarnation: int
    address: str
    public_url: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class EdgeLoad:
    """How busy an edge is; `cpu_share` of one core, 0 to 1; `max_connections` 0: not told."""

    connections: int = 0
    cpu_share: float = 0.0
    fanout_lag_ms: int = 0
    draining: bool = False
    max_connections: int = 0


@dataclass(frozen=True, slots=True)
class EdgeOrders:
    """What operators ordered of an edge.

    Attributes:
        weight: set by hand, 1 to 1,000; 0: none.
        drain_id: rises with every order to drain or to serve again; 0: this life of the edge got none.
        drain: the newest of them: True: drain; False: serve.
        window_ms: of the drain; 0: the edge's setting.
    """

    weight: int = 0
    drain_id: int = 0
    drain: bool = False
    window_ms: int = 0


NO_ORDERS = EdgeOrders()


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """An edge that is alive for another `expires_in_seconds` without a report.

    `orders` None: whoever made this record does not know them. `serving_since_ms`: when it began to take clients, by the clock of
    `reported_at_ms`; 0: not known.
    """

    info: EdgeInfo
    load: EdgeLoad
    session: int
    reported_at_ms: int
    expires_in_seconds: float
    orders: EdgeOrders | None = NO_ORDERS
    serving_since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """One report stream of an edge. `number` rises with every registration of that edge, whoever made it, and fences off
    writes of earlier streams that are still under way."""

    edge_id: EdgeId
    incarnation: int
    number: int


@dataclass(frozen=True, slots=True)
class Route:
    """An edge's connections in a group; of two routes of one edge the one with the higher (incarnation, version) holds."""

    edge_id: EdgeId
    incarnation: int
    version: int
    connections: int


class Standing(enum.Enum):
    """How the registry sees a session."""

    CURRENT = "current"
    MISSING = "missing"
    """The registry was emptied, or the edge expired: register again and report everything."""
    SUPERSEDED = "superseded"
    """A newer stream or a newer life of the edge has taken over: end this one."""


@dataclass(frozen=True, slots=True)
class WatchStarted:
    """The channel is up: every change from here on is told, nothing about those before."""


@dataclass(frozen=True, slots=True)
class EdgeChanged:
    """An edge registered, reported its load or was ordered something."""

    record: EdgeRecord


@dataclass(frozen=True, slots=True)
class EdgeGone:
    """An edge said good-bye in this incarnation."""

    edge_id: EdgeId
    incarnation: int


@dataclass(frozen=True, slots=True)
class RoutesChanged:
    """Connections of one edge in some groups; 0: none."""

    edge_id: EdgeId
    incarnation: int
    version: int
    counts: Mapping[GroupId, int]


@dataclass(frozen=True, slots=True)
class RoutesPruned:
    """An edge has reported everything anew: its routes of lower versions count no more."""

    edge_id: EdgeId
    below_version: int


Change = WatchStarted | EdgeChanged | EdgeGone | RoutesChanged | RoutesPruned


class RouteRegistry(Protocol):
    """Purpose: which edges are alive and which groups they hold, shared by all replicas.

    Ordering: writes of one session in the order of the calls; a session with a lower number cannot overwrite what a higher one
    wrote. A change is told on the channel after it stands in the registry.
    Durability: none promised. It may be emptied at any moment; `heartbeat` then answers MISSING, or counts other groups than
    were put, and the edge reports everything again.
    Idempotency: every call may be repeated with the same arguments.
    Concurrency: one asyncio loop; calls of different sessions at the same time.
    Errors: ThrongError UNAVAILABLE (it may or may not have been done: repeat) or INTERNAL; CONFLICT where it is named.
    Every call ends within a few seconds.
    Expiry: an edge whose last `register`, `heartbeat` or `put_routes` lies longer ago than the time to live is not listed.
    Not promised: that routes of edges that are gone are absent; readers drop routes whose (edge_id, incarnation) is not listed.
    """

    async def register(self, info: EdgeInfo) -> Session:
        """Begins a session. CONFLICT when a newer incarnation of the edge is alive."""
        ...

    async def heartbeat(self, session: Session, load: EdgeLoad) -> tuple[Standing, int]:
        """Notes the load and lives on; with CURRENT the number of groups that the registry has of this edge."""
        ...

    async def put_routes(self, session: Session, version: int, counts: Mapping[GroupId, int]) -> Standing:
        """Sets connections of groups; 0 removes. `version` rises per session, beginning above `session.number`."""
        ...

    async def prune(self, edge_id: EdgeId, *, below_version: int) -> int:
        """Removes the edge's routes whose version is lower, after a snapshot; returns how many."""
        ...

    async def deregister(self, session: Session) -> Standing:
        """Removes an edge and its routes at once, if this session is current."""
        ...

    async def order_weight(self, edge_id: EdgeId, weight: int) -> bool:
        """Sets a weight by hand, 0: none; False: no such edge is alive. It outlives the edge by seven days, unless the registry is
        emptied."""
        ...

    async def order_drain(self, edge_id: EdgeId, *, drain: bool, window_ms: int = 0) -> bool:
        """Orders the life of the edge that is alive to drain or to serve again; False: there is none. The same order again is no
        new one."""
        ...

    async def list_edges(self) -> list[EdgeRecord]:
        """Edges that are alive, by edge_id."""
        ...

    async def read_routes(self, group_ids: Sequence[GroupId]) -> list[list[Route]]:
        """Routes per group, in order; those of edges that are gone may be among them."""
        ...

    async def drop_routes(self, routes: Sequence[tuple[GroupId, Route]]) -> None:
        """Removes routes of edges that are gone, unless they were written again since."""
        ...

    async def sweep(self) -> int:
        """Removes what expired edges left; returns how many edges. May run in several replicas at once."""
        ...

    def watch(self) -> AsyncGenerator[Change, None]:
        """Yields WatchStarted, then changes, those of one edge in the order in which they were made, those of this replica too.
        Raises UNAVAILABLE within a few seconds when the channel broke or went silent; changes may have been missed then."""
        ...

    async def close(self) -> None:
        """Closes connections. Idempotent."""
        ...


class EventKind(enum.Enum):
    """What an event is to a queue that is full."""

    BLOCK = "block"
    """Messages of a group; can shrink to a head."""
    ANSWER = "answer"
    """ACK or reject for one connection; the client asks again."""
    CONTROL = "control"
    """A change of a member or a group; nobody asks again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event for one or many edges, made once; `event` is passed on as it is."""

    kind: EventKind
    group_id: GroupId
    epoch: int
    head_seq: int
    event: bytes


class EdgeDelivery(Protocol):
    """Purpose: hands events to edges (hop 6), each edge at its own pace.

    Ordering: per edge and group as given. Durability: none. Overflow: see `core/delivery_queue.py`; never blocks.
    Concurrency: the loop's thread. Errors: none; an edge that cannot be reached is dialled again until `drop`.
    """

    def ensure(self, info: EdgeInfo) -> None:
        """Keeps a link to this life of the edge; ends one to an older life. Again changes nothing."""
        ...

    def drop(self, edge_id: EdgeId) -> None:
        """Ends the link and forgets what waits in it."""
        ...

    def deliver(self, edge_id: EdgeId, incarnation: int, item: Outgoing) -> bool:
        """Queues an event; False: there is no link to that life of the edge (incarnation 0: to any)."""
        ...

    def tell_online(self, edge_id: EdgeId, incarnation: int, counts: Mapping[GroupId, int]) -> bool:
        """Queues online counts, at most 4,000. False: there is no stream to that life of the edge, or what was told before still
        waits in the queue, or the queue is full; say it later, with the counts of then."""
        ...

    def is_failing(self, edge_id: EdgeId) -> bool:
        """The edge is linked but could not be reached lately."""
        ...
