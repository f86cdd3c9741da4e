"""The local copy of edges and routes that every publication is looked up in (hop 6); pure, time is passed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from router_svc.ports import NO_ORDERS, EdgeRecord, Route, RoutesChanged, RoutesPruned
from throng.domain.ids import EdgeId, GroupId


@dataclass(slots=True)
class _KnownEdge:
    record: EdgeRecord
    deadline: float


class RouteTable:
    """Edges that are alive, and routes of the groups that were asked for.

    Between `begin` and `lose` the table is in step: a group that it holds, also as one without routes, needs no look at the
    registry. Afterwards the routes stay as a last resort until the next `begin`. Edges outlive both, since they are compared
    with the registry by `keep_edge` and `expire`.
    """

    def __init__(self, *, max_groups: int) -> None:
        self._max_groups = max_groups
        self._edges: dict[EdgeId, _KnownEdge] = {}
        self._routes: OrderedDict[GroupId, dict[EdgeId, Route]] = OrderedDict()
        self._floors: dict[EdgeId, int] = {}
        self._loading: dict[GroupId, dict[EdgeId, Route]] = {}
        self.in_step = False
        self.generation = 0
        """Rises with every `begin` and `lose`; what was read in another one is not entered."""

    def begin(self) -> None:
        """The change channel is up: forgets all routes and is in step from here on."""
        self._routes.clear()
        self._floors.clear()
        self._loading.clear()
        self.in_step = True
        self.generation += 1

    def lose(self) -> None:
        """The change channel broke."""
        self._loading.clear()
        self.in_step = False
        self.generation += 1

    @property
    def group_count(self) -> int:
        """Groups in the table."""
        return len(self._routes)

    def keep_edge(self, record: EdgeRecord, *, now: float) -> bool:
        """An edge reported or is listed, and is alive until its record expires; True: it is new or in a newer life. One of an
        older life is ignored. A record without orders leaves what else is known of that life."""
        known = self._edges.get(record.info.edge_id)
        if record.orders is None:
            record = replace(record, orders=NO_ORDERS)
            if known is not None and known.record.info.incarnation == record.info.incarnation:
                record = replace(record, orders=known.record.orders, serving_since_ms=known.record.serving_since_ms)
        if known is None:
            self._edges[record.info.edge_id] = _KnownEdge(record, now + record.expires_in_seconds)
            return True
        if record.info.incarnation < known.record.info.incarnation:
            return False
        newer_life = record.info != known.record.info
        known.deadline = now + record.expires_in_seconds
        known.record = record
        return newer_life

    def drop_edge(self, edge_id: EdgeId, incarnation: int) -> bool:
        """An edge said good-bye; True: it was known in that life."""
        known = self._edges.get(edge_id)
        if known is None or known.record.info.incarnation != incarnation:
            return False
        del self._edges[edge_id]
        return True

    def expire(self, *, now: float, not_before: float) -> list[EdgeRecord]:
        """Drops edges whose records ran out. `not_before`: after an outage of the registry, edges have until then to be seen
        again."""
        if now < not_before:
            return []
        gone = [known.record for known in self._edges.values() if known.deadline <= now]
        for record in gone:
            del self._edges[record.info.edge_id]
        return gone

    def edges(self) -> list[EdgeRecord]:
        """All edges that are alive, by edge_id."""
        return [self._edges[edge_id].record for edge_id in sorted(self._edges)]

    def edge(self, edge_id: EdgeId) -> EdgeRecord | None:
        """One edge, if it is alive."""
        known = self._edges.get(edge_id)
        return known.record if known else None

    def knows(self, group_id: GroupId) -> bool:
        """The table holds the group, perhaps as one without routes."""
        return group_id in self._routes

    def routes(self, group_id: GroupId) -> list[Route]:
        """Routes of a group that lead to edges that are alive; empty for a group that is not here."""
        return self.living(self._routes.get(group_id, {}).values())

    def living(self, routes: Iterable[Route]) -> list[Route]:
        """Those of the routes whose edge is alive in that incarnation and has not reported everything anew since."""
        edges, floors = self._edges, self._floors
        return [
            route
            for route in routes
            if (known := edges.get(route.edge_id)) is not None
            and known.record.info.incarnation == route.incarnation
            and route.version >= floors.get(route.edge_id, 0)
        ]

    def expect(self, group_ids: Iterable[GroupId]) -> None:
        """The groups are being read: keeps changes of them that arrive before `fill`."""
        if self.in_step:
            for group_id in group_ids:
                self._loading.setdefault(group_id, {})

    def fill(self, group_id: GroupId, routes: Sequence[Route], *, generation: int) -> None:
        """Enters what was read, under the changes that arrived meanwhile; nothing, when the channel broke in between."""
        if generation != self.generation or not self.in_step:
            return
        entry = {route.edge_id: route for route in routes}
        for route in self._loading.pop(group_id, {}).values():
            _apply(entry, route)
        while len(self._routes) >= self._max_groups:
            self._routes.popitem(last=False)
        self._routes[group_id] = entry

    def give_up(self, group_ids: Iterable[GroupId]) -> None:
        """The groups could not be read."""
        for group_id in group_ids:
            self._loading.pop(group_id, None)

    def prune(self, change: RoutesPruned) -> None:
        """Routes of an edge below a version count no more, wherever they stand."""
        self._floors[change.edge_id] = max(change.below_version, self._floors.get(change.edge_id, 0))

    def change(self, change: RoutesChanged) -> None:
        """Applies a change to the groups that are here or are being read; others will be read when they are asked for."""
        for group_id, connections in change.counts.items():
            route = Route(change.edge_id, change.incarnation, change.version, connections)
            entry = self._routes.get(group_id)
            if entry is not None:
                _apply(entry, route)
            pending = self._loading.get(group_id)
            if pending is not None and _newer(route, pending.get(route.edge_id)):
                pending[route.edge_id] = route


def _newer(route: Route, held: Route | None) -> bool:
    return held is None or (route.incarnation, route.version) >= (held.incarnation, held.version)


def _apply(entry: dict[EdgeId, Route], route: Route) -> None:
    if not _newer(route, entry.get(route.edge_id)):
        return
    if route.connections:
        entry[route.edge_id] = route
    else:
        entry.pop(route.edge_id, None)
