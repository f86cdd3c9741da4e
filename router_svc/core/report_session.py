"""One edge's stream of reports, written to the registry; says when a snapshot is wanted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from router_svc.core.directory import RouteDirectory
from router_svc.core.online_counts import OnlineCounts
from router_svc.core.route_digest import HeldGroups
from router_svc.metrics import RouterMetrics
from router_svc.ports import (
    NO_ORDERS,
    EdgeChanged,
    EdgeGone,
    EdgeInfo,
    EdgeLoad,
    EdgeOrders,
    EdgeRecord,
    RouteRegistry,
    RoutesChanged,
    RoutesPruned,
    Session,
    Standing,
)
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock

_log = structlog.get_logger("throng.router.reports")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Delta:
    """Connections that changed; 0: the group is not held any more."""

    counts: Mapping[GroupId, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A part of everything that the edge holds; `complete`: the last part."""

    counts: Mapping[GroupId, int]
    complete: bool


@dataclass(frozen=True, slots=True)
class Digest:
    """Sum over everything that the edge holds."""

    group_count: int
    xor_hash: int


Report = Delta | Snapshot | Digest | EdgeLoad


@dataclass(frozen=True, slots=True)
class ReportPolicy:
    """Times in seconds: life of an edge without a report, pauses between repeated writes, and between repeated wishes for a
    snapshot."""

    ttl_seconds: float = 9.0
    retry_seconds: float = 0.2
    max_retry_seconds: float = 2.0
    ask_again_seconds: float = 10.0


class ReportSession:
    """Begins with `identify`; then `apply` writes reports in order. While the registry is away, both wait and repeat."""

    def __init__(
        self,
        registry: RouteRegistry,
        directory: RouteDirectory,
        online: OnlineCounts,
        clock: Clock,
        metrics: RouterMetrics,
        policy: ReportPolicy,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._online = online
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._info: EdgeInfo | None = None
        self._session = Session(EdgeId(""), 0, 0)
        self._load: EdgeLoad | None = None
        self._version = 0
        self._held = HeldGroups()
        self._arriving: HeldGroups | None = None
        self._floor = 0
        self._awaiting_snapshot = True
        self._asked_at = float("-inf")

    async def identify(self, info: EdgeInfo) -> None:
        """Registers the edge.

        Raises:
            ThrongError: CONFLICT when a newer incarnation of the edge is alive.
        """
        self._info = info
        await self._register()
        self._asked_at = self._clock.monotonic()  # the edge sends a snapshot unasked

    async def apply(self, reports: Sequence[Report]) -> bool:
        """Writes reports in order; returns when all stand in the registry. True: a snapshot is wanted.

        Raises:
            ThrongError: CONFLICT when a newer stream or life of this edge has taken over.
        """
        started = self._clock.monotonic()
        pending: dict[GroupId, int] = {}
        load: EdgeLoad | None = None
        wanted: str | None = None
        for report in reports:
            if isinstance(report, Delta):
                pending.update(report.counts)
            elif isinstance(report, EdgeLoad):
                load = report  # only the last one says anything
            else:
                wanted = await self._put(pending) or wanted
                pending = {}
                wanted = (await self._take_snapshot(report) if isinstance(report, Snapshot) else self._compare(report)) or wanted
        wanted = await self._put(pending) or wanted
        if load is not None:
            wanted = await self._beat(load) or wanted
        self._metrics.reports.inc(len(reports))
        self._metrics.report_seconds.observe(self._clock.monotonic() - started)
        return self._ask(wanted)

    @property
    def draining(self) -> bool:
        """The edge said that it empties itself: when its stream breaks, it is about to stop."""
        return self._load is not None and self._load.draining

    def orders(self) -> EdgeOrders:
        """What operators ordered of this life of the edge, as far as this replica has heard."""
        record = self._directory.edge(self._session.edge_id)
        if record is None or record.info.incarnation != self._session.incarnation:
            return NO_ORDERS
        return record.orders or NO_ORDERS

    def end(self) -> None:
        """The stream is over, however it ended."""
        self._online.end(self._session)

    async def good_bye(self) -> None:
        """The edge stops: nothing is to be sent to it any more, and no client either. One attempt; else its record expires."""
        if self._info is None:
            return
        standing = await self._registry.deregister(self._session)
        if standing is Standing.CURRENT:
            self._directory.apply(EdgeGone(self._session.edge_id, self._session.incarnation))

    async def _register(self) -> None:
        info = self._info
        assert info is not None
        self._session = await self._repeated(lambda: self._registry.register(info))
        self._online.begin(self._session)
        self._version = self._session.number
        self._held = HeldGroups()
        self._arriving = None
        self._awaiting_snapshot = True
        if self._load is not None:  # above all, that it drains
            load = self._load
            await self._repeated(lambda: self._registry.heartbeat(self._session, load))
        record = EdgeRecord(
            info,
            self._load or EdgeLoad(),
            self._session.number,
            self._clock.now_ms(),
            self._policy.ttl_seconds,
            orders=None,
            serving_since_ms=self._clock.now_ms(),
        )
        self._directory.apply(EdgeChanged(record))
        _log.info("edge_registered", edge_id=info.edge_id, incarnation=info.incarnation, session=self._session.number)

    async def _put(self, counts: Mapping[GroupId, int]) -> str | None:
        if not counts:
            return None
        self._version += 1
        version = self._version
        standing = await self._repeated(lambda: self._registry.put_routes(self._session, version, counts))
        missing = await self._mind(standing)
        if missing is None:
            self._directory.apply(RoutesChanged(self._session.edge_id, self._session.incarnation, version, counts))
            self._online.reported(self._session, counts)
            self._held.update(counts)
            if self._arriving is not None:
                self._arriving.update(counts)
        return missing

    async def _take_snapshot(self, snapshot: Snapshot) -> str | None:
        if self._arriving is None:
            self._arriving = HeldGroups()
            self._online.begin(self._session)
            self._floor = self._version + 1
        missing = await self._put(snapshot.counts)
        if missing is not None or not snapshot.complete:
            return missing
        edge_id, floor = self._session.edge_id, self._floor
        await self._repeated(lambda: self._registry.prune(edge_id, below_version=floor))
        self._directory.apply(RoutesPruned(edge_id, floor))
        self._held, self._arriving = self._arriving, None
        self._awaiting_snapshot = False
        return None

    def _compare(self, digest: Digest) -> str | None:
        if self._awaiting_snapshot or self._held.matches(digest.group_count, digest.xor_hash):
            return None
        return "digest"

    async def _beat(self, load: EdgeLoad) -> str | None:
        self._load = load
        standing, groups = await self._repeated(lambda: self._registry.heartbeat(self._session, load))
        missing = await self._mind(standing)
        if missing is None and not self._awaiting_snapshot and self._arriving is None and groups != self._held.group_count:
            return "count"
        return missing

    async def _mind(self, standing: Standing) -> str | None:
        """Ends a session that was superseded; begins anew when the registry lost the edge."""
        if standing is Standing.SUPERSEDED:
            raise ThrongError(
                ErrorCode.CONFLICT,
                "a newer stream of this edge has taken over",
                fields={"edge_id": self._session.edge_id},
            )
        if standing is Standing.CURRENT:
            return None
        await self._register()
        self._asked_at = float("-inf")
        return "missing"

    def _ask(self, reason: str | None) -> bool:
        now = self._clock.monotonic()
        overdue = self._awaiting_snapshot and self._arriving is None
        if reason is None and not overdue:
            return False
        if now - self._asked_at < self._policy.ask_again_seconds:
            return False
        self._asked_at = now
        self._metrics.snapshots_wanted[reason or "missing"].inc()
        _log.warning("snapshot_wanted", edge_id=self._session.edge_id, reason=reason or "missing")
        return True

    async def _repeated(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Repeats a write while the registry is away; the stream's end cancels it."""
        pause = self._policy.retry_seconds
        while True:
            try:
                return await call()
            except ThrongError as error:
                if error.code is not ErrorCode.UNAVAILABLE:
                    raise
                self._metrics.registry_errors.inc()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, self._policy.max_retry_seconds)
