"""From publications to the queues of the edges concerned, in order per group (hops 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router_svc.core.directory import RouteDirectory
from router_svc.metrics import RouterMetrics
from router_svc.ports import EdgeDelivery, EventKind, Outgoing, Route
from throng.domain.errors import ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock

_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Publication:
    """One event and whom it is for: every edge that holds `item.group_id`, or `edge_id` alone in that life (0: any)."""

    item: Outgoing
    edge_id: EdgeId | None = None
    incarnation: int = 0


def publication(*, group_id: str, edge_id: str, incarnation: int, epoch: int, head_seq: int, event: bytes) -> Publication:
    """Makes a publication for a group (a block when it has a head) or for one edge (an answer)."""
    if edge_id:
        return Publication(Outgoing(EventKind.ANSWER, GroupId(""), 0, 0, event), EdgeId(edge_id), incarnation)
    kind = EventKind.BLOCK if head_seq else EventKind.CONTROL
    return Publication(Outgoing(kind, GroupId(group_id), epoch, head_seq, event))


class Publishing:
    """Looks up and queues; calls of one stream come one after the other."""

    def __init__(self, directory: RouteDirectory, delivery: EdgeDelivery, clock: Clock, metrics: RouterMetrics) -> None:
        self._directory = directory
        self._delivery = delivery
        self._clock = clock
        self._metrics = metrics
        self._looked_at = float("-inf")

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Queues a batch for all edges concerned; returns when all of it is queued.

        Raises:
            ThrongError: UNAVAILABLE when it is not known who holds a group; some of the batch may be queued.
        """
        started = self._clock.monotonic()
        routes: dict[GroupId, list[Route]] = {}
        unknown: list[GroupId] = []
        for each in publications:
            group_id = each.item.group_id
            if each.edge_id is None and group_id not in routes:
                found = self._directory.lookup(group_id)
                routes[group_id] = found or []
                if found is None:
                    unknown.append(group_id)
        if unknown:
            routes.update(await self._directory.resolve(unknown))
        if any(each.edge_id is not None and self._directory.edge(each.edge_id) is None for each in publications):
            await self._find_edges()
        for each in publications:
            if each.edge_id is None:
                self._to_group(each.item, routes)
            else:
                self._to_edge(each)
        self._metrics.queued_seconds.observe(self._clock.monotonic() - started)

    async def _find_edges(self) -> None:
        """An edge that just registered elsewhere may not have been told to this replica yet."""
        now = self._clock.monotonic()
        if self._directory.in_step or now - self._looked_at < _LOOK_AGAIN_SECONDS:
            return
        self._looked_at = now
        try:
            await self._directory.refresh_edges()
        except ThrongError:
            return  # what cannot be found is dropped and counted; its client asks again

    def _to_group(self, item: Outgoing, routes: Mapping[GroupId, list[Route]]) -> None:
        queued = 0
        for route in routes[item.group_id]:
            queued += self._delivery.deliver(route.edge_id, route.incarnation, item)
        if queued:
            self._metrics.published_queued.inc()
            self._metrics.deliveries.inc(queued)
        else:
            self._metrics.published_no_route.inc()

    def _to_edge(self, each: Publication) -> None:
        assert each.edge_id is not None
        if self._delivery.deliver(each.edge_id, each.incarnation, each.item):
            self._metrics.published_queued.inc()
            self._metrics.deliveries.inc()
        else:
            self._metrics.published_edge_gone.inc()
