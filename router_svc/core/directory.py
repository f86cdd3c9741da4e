"""Keeps the local table in step with the registry and answers who holds a group (hop 6).

Three tasks: one follows the change channel, one compares the edges with the registry and lets them expire, one sweeps what
dead edges left. A look-up is answered from the table while it is in step, else by one read of the registry, however many
wait for it; while the registry is away too, for a short grace from what the table last knew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from router_svc.core.route_table import RouteTable
from router_svc.core.task_end import end_tasks
from router_svc.metrics import RouterMetrics
from router_svc.ports import (
    Change,
    EdgeChanged,
    EdgeDelivery,
    EdgeGone,
    EdgeRecord,
    Route,
    RouteRegistry,
    RoutesChanged,
    RoutesPruned,
    WatchStarted,
)
from throng.domain.errors import ThrongError, unavailable
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock

_log = structlog.get_logger("throng.router.directory")
_MAX_LITTER = 10_000
_RETRY_AFTER_FAILED_READ_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class DirectoryPolicy:
    """Times in seconds and bounds.

    Attributes:
        ttl_seconds: how long an edge lives without a report.
        poll_seconds: between comparisons of the edges with the registry.
        sweep_seconds: between sweeps of the registry.
        stale_grace_seconds: how long after a break of the channel the table still serves while the registry is away.
        max_groups: groups in the table.
        reconnect_seconds: pause before the channel is opened again.
    """

    ttl_seconds: float = 9.0
    poll_seconds: float = 3.0
    sweep_seconds: float = 9.0
    stale_grace_seconds: float = 5.0
    max_groups: int = 1_000_000
    reconnect_seconds: float = 0.2


class RouteDirectory:
    """The table, and what keeps it true; the loop's thread only."""

    def __init__(
        self, registry: RouteRegistry, delivery: EdgeDelivery, clock: Clock, metrics: RouterMetrics, policy: DirectoryPolicy
    ) -> None:
        self._registry = registry
        self._delivery = delivery
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._table = RouteTable(max_groups=policy.max_groups)
        self._reads: dict[GroupId, asyncio.Task[Mapping[GroupId, list[Route]]]] = {}
        self._litter: dict[tuple[GroupId, EdgeId], Route] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._in_step = asyncio.Event()
        self._channel_lost_at = float("-inf")
        self._read_failed_at = float("-inf")
        self._expire_not_before = float("-inf")
        self._away = False
        self._listener: Callable[[Change], None] = lambda change: None

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Names who hears of each change after it stands in the table; of an edge that expired as of one that said good-bye."""
        self._listener = listener

    def start(self) -> None:
        """Starts the tasks."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="router-follow"),
            asyncio.create_task(self._poll(), name="router-poll"),
            asyncio.create_task(self._sweeping(), name="router-sweep"),
        ]

    async def stop(self) -> None:
        """Ends the tasks and the reads under way."""
        await end_tasks(*self._tasks, *self._reads.values())
        self._tasks.clear()

    async def wait_in_step(self, timeout_seconds: float) -> bool:
        """Waits until the table follows the registry; False: not in that time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._in_step.wait()
        except TimeoutError:
            return False
        return True

    @property
    def in_step(self) -> bool:
        """The table follows the registry."""
        return self._table.in_step

    def edges(self) -> list[EdgeRecord]:
        """Edges that are alive, by edge_id."""
        return self._table.edges()

    def edge(self, edge_id: EdgeId) -> EdgeRecord | None:
        """One edge, if it is alive."""
        return self._table.edge(edge_id)

    def lookup(self, group_id: GroupId) -> list[Route] | None:
        """Routes of a group to edges that are alive, or None when `resolve` must be asked."""
        if self._table.in_step and self._table.knows(group_id):
            self._metrics.lookups["table"].inc()
            return self._table.routes(group_id)
        return None

    async def resolve(self, group_ids: Sequence[GroupId]) -> Mapping[GroupId, list[Route]]:
        """Reads routes of groups from the registry, each group once however many ask.

        Raises:
            ThrongError: UNAVAILABLE when the registry is away and the table's knowledge is older than the grace.
        """
        missing = [group_id for group_id in group_ids if group_id not in self._reads]
        self._metrics.lookup_waits.inc(len(group_ids) - len(missing))
        if missing:
            task = asyncio.create_task(self._read(missing), name="router-read")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # its waiters may all be gone
            self._reads.update(dict.fromkeys(missing, task))
        waiting = {self._reads[group_id] for group_id in group_ids}
        try:
            answers = [await asyncio.shield(task) for task in waiting]
        except ThrongError as error:
            return self._from_stale(group_ids, error)
        found = {group_id: routes for answer in answers for group_id, routes in answer.items()}
        self._metrics.lookups["registry"].inc(len(group_ids))
        return {group_id: self._table.living(found[group_id]) for group_id in group_ids}

    def _from_stale(self, group_ids: Sequence[GroupId], error: ThrongError) -> Mapping[GroupId, list[Route]]:
        fresh_enough = self._table.in_step or (self._clock.monotonic() - self._channel_lost_at < self._policy.stale_grace_seconds)
        if fresh_enough and all(self._table.knows(group_id) for group_id in group_ids):
            self._metrics.lookups["stale_table"].inc(len(group_ids))
            return {group_id: self._table.routes(group_id) for group_id in group_ids}
        self._metrics.lookups["none"].inc(len(group_ids))
        raise unavailable("the registry of routes is away", retry_after_ms=500) from error

    async def _read(self, group_ids: list[GroupId]) -> Mapping[GroupId, list[Route]]:
        generation = self._table.generation
        self._table.expect(group_ids)
        try:
            if self._clock.monotonic() - self._read_failed_at < _RETRY_AFTER_FAILED_READ_SECONDS:
                raise unavailable("the registry of routes did not answer a moment ago")
            try:
                rows = await self._registry.read_routes(group_ids)
            except ThrongError:
                self._metrics.registry_errors.inc()
                self._read_failed_at = self._clock.monotonic()
                raise
            for group_id, routes in zip(group_ids, rows, strict=True):
                self._table.fill(group_id, routes, generation=generation)
                self._note_litter(group_id, routes)
            return dict(zip(group_ids, rows, strict=True))
        finally:
            self._table.give_up(group_ids)
            for group_id in group_ids:
                self._reads.pop(group_id, None)

    def _note_litter(self, group_id: GroupId, routes: Sequence[Route]) -> None:
        """Routes of edges that are gone are removed by the next sweep, if this replica can know that they are."""
        if not self._table.in_step or self._clock.monotonic() < self._expire_not_before:
            return
        living = self._table.living(routes)
        for route in routes:
            if route not in living and len(self._litter) < _MAX_LITTER:
                self._litter[group_id, route.edge_id] = route

    def apply(self, change: Change) -> None:
        """Takes over one change, told by the channel or made by this replica."""
        match change:
            case RoutesChanged():
                self._table.change(change)
            case EdgeChanged(record):
                self._keep(record)
            case EdgeGone(edge_id, incarnation):
                if self._table.drop_edge(edge_id, incarnation):
                    self._forget(edge_id, incarnation, "good_bye")
            case RoutesPruned():
                self._table.prune(change)
            case WatchStarted():
                self._table.begin()
                self._in_step.set()
                self._metrics.table_in_step.set(1)
        if not isinstance(change, EdgeGone):
            self._listener(change)

    def _keep(self, record: EdgeRecord) -> None:
        if self._table.keep_edge(record, now=self._clock.monotonic()):
            self._delivery.ensure(record.info)
            _log.info("edge_alive", edge_id=record.info.edge_id, incarnation=record.info.incarnation)
            self._metrics.edges_alive.set(len(self._table.edges()))

    def _forget(self, edge_id: EdgeId, incarnation: int, reason: str) -> None:
        self._delivery.drop(edge_id)
        self._metrics.edges_dropped[reason].inc()
        self._metrics.edges_alive.set(len(self._table.edges()))
        _log.info("edge_gone", edge_id=edge_id, reason=reason)
        self._listener(EdgeGone(edge_id, incarnation))

    async def refresh_edges(self) -> None:
        """Compares the edges with the registry: what is listed lives on.

        Raises:
            ThrongError: UNAVAILABLE; edges then keep what they have.
        """
        try:
            records = await self._registry.list_edges()
        except ThrongError:
            self._metrics.registry_errors.inc()
            self._away = True
            raise
        if self._away:
            # The registry may have come back empty: edges need the time of their heartbeats to be seen again.
            self._away = False
            self._expire_not_before = self._clock.monotonic() + self._policy.ttl_seconds
        self._read_failed_at = float("-inf")  # the registry answers
        for record in records:
            self._keep(record)

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._registry.watch()) as changes:
                    async for change in changes:
                        if isinstance(change, WatchStarted):
                            # The channel is open: changes wait in it while the edges are listed.
                            await self.refresh_edges()
                        self.apply(change)
            except Exception as error:
                self._lose(error)
            await asyncio.sleep(self._policy.reconnect_seconds * random.uniform(0.5, 1.5))

    def _lose(self, error: Exception) -> None:
        if not isinstance(error, ThrongError):
            _log.error("route_channel_failed", exc_info=error)
        if not self._table.in_step:
            return
        _log.warning("route_channel_broken", reason=str(error))
        self._metrics.channel_breaks.inc()
        self._metrics.table_in_step.set(0)
        self._channel_lost_at = self._clock.monotonic()
        self._away = True
        self._table.lose()
        self._in_step.clear()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._policy.poll_seconds * random.uniform(0.9, 1.1))
            try:
                await self.refresh_edges()
                self.expire()
            except ThrongError as error:
                _log.warning("route_registry_away", code=error.code.name, reason=error.text)
            except Exception as error:
                _log.error("route_poll_failed", exc_info=error)

    def expire(self) -> None:
        """Drops edges whose time ran out."""
        for record in self._table.expire(now=self._clock.monotonic(), not_before=self._expire_not_before):
            self._forget(record.info.edge_id, record.info.incarnation, "expired")
        self._metrics.table_groups.set(self._table.group_count)

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(self._policy.sweep_seconds * random.uniform(0.7, 1.3))
            try:
                await self.sweep()
            except ThrongError as error:
                self._metrics.registry_errors.inc()
                _log.warning("route_sweep_failed", code=error.code.name, reason=error.text)
            except Exception as error:
                _log.error("route_sweep_failed", exc_info=error)

    async def sweep(self) -> None:
        """Removes from the registry what dead edges left.

        Raises:
            ThrongError: UNAVAILABLE; the next sweep goes on.
        """
        # Looked at again: an edge may have been new to this replica, and not gone, when its route was read.
        litter = [(group_id, route) for (group_id, _), route in self._litter.items() if not self._table.living([route])]
        self._litter.clear()
        await self._registry.drop_routes(litter)
        self._metrics.swept_edges.inc(await self._registry.sweep())
