"""Tells edges how many connections their groups have on all edges together (design 9): what changed, at most once a second.

An edge reports its routes to one replica, and that one tells it: there is always exactly one, it knows which groups the edge
holds, and when it dies the edge reports to another. Counts are absolute, so two that overlap for a moment do no harm.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence

from router_svc.core.directory import RouteDirectory
from router_svc.metrics import RouterMetrics
from router_svc.ports import Change, EdgeChanged, EdgeDelivery, RoutesChanged, Session
from throng.domain.errors import ThrongError
from throng.domain.ids import EdgeId, GroupId

GROUPS_PER_TURN = 20_000
"""Changed groups that are summed up in one turn; the others have theirs a second later."""

GROUPS_PER_EVENT = 4_000
"""Groups of which one edge is told in one turn."""

BIG = 10
"""From so many connections on a group is a candidate for the biggest."""

BIGGEST = 10
"""How many of the biggest groups operators are shown."""

_NOT_TOLD = -1


class _Listener:
    """An edge that reports here, and the count of each of its groups that it was told last."""

    __slots__ = ("session", "told")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.told: dict[GroupId, int] = {}


class OnlineCounts:
    """Costs by what changes: a change marks its group, `tell` sums the marked groups up once. The loop's thread only."""

    def __init__(self, directory: RouteDirectory, delivery: EdgeDelivery, metrics: RouterMetrics) -> None:
        self._directory = directory
        self._delivery = delivery
        self._metrics = metrics
        self._edges: dict[EdgeId, _Listener] = {}
        self._holders: dict[GroupId, dict[EdgeId, _Listener]] = {}
        self._changed: dict[GroupId, None] = {}
        self._big: dict[GroupId, int] = {}
        directory.listen(self._on_change)

    def begin(self, session: Session) -> None:
        """An edge begins to report everything here, perhaps again."""
        self._drop(session.edge_id)
        self._edges[session.edge_id] = _Listener(session)

    def reported(self, session: Session, counts: Mapping[GroupId, int]) -> None:
        """The edge's connections in some groups stand in the registry; 0: none. Of the others it is told even where the sum is as
        before: it may have dropped the group and taken it up again in between."""
        edge = self._edges.get(session.edge_id)
        if edge is None or edge.session != session:
            return
        for group_id, connections in counts.items():
            if connections:
                edge.told[group_id] = _NOT_TOLD
                self._holders.setdefault(group_id, {})[session.edge_id] = edge
                self._changed[group_id] = None
            elif edge.told.pop(group_id, None) is not None:
                self._let_go(group_id, session.edge_id)

    def end(self, session: Session) -> None:
        """The edge does not report here any more."""
        edge = self._edges.get(session.edge_id)
        if edge is not None and edge.session == session:
            self._drop(session.edge_id)

    async def tell(self) -> None:
        """One turn: tells each edge the counts of its groups that changed. Waits for the registry at most."""
        if not self._directory.in_step:
            return  # what is here may be old; when the table is in step again, everything counts as changed
        group_ids = list(itertools.islice(self._changed, GROUPS_PER_TURN))
        for group_id in group_ids:
            del self._changed[group_id]
        try:
            sums = await self._sums([group_id for group_id in group_ids if group_id in self._holders])
        except ThrongError:
            self._changed.update(dict.fromkeys(group_ids))
            return
        self._note_sizes(sums)
        news: dict[EdgeId, dict[GroupId, int]] = {}
        for group_id, online in sums.items():
            for edge_id, edge in self._holders.get(group_id, {}).items():
                if edge.told[group_id] != online:
                    news.setdefault(edge_id, {})[group_id] = online
        for edge_id, counts in news.items():
            self._tell(self._edges[edge_id], counts)

    def _note_sizes(self, sums: Mapping[GroupId, int]) -> None:
        """Keeps the biggest groups for operators; costs something only where a big one changed."""
        touched = False
        for group_id, online in sums.items():
            if online >= BIG:
                self._big[group_id] = online
                touched = True
            elif self._big.pop(group_id, None) is not None:
                touched = True
        if touched:
            self._show_biggest()

    def _show_biggest(self) -> None:
        self._metrics.biggest.show(heapq.nlargest(BIGGEST, self._big.items(), key=lambda one: one[1]))

    async def _sums(self, group_ids: Sequence[GroupId]) -> Mapping[GroupId, int]:
        routes = {group_id: self._directory.lookup(group_id) for group_id in group_ids}
        unknown = [group_id for group_id, found in routes.items() if found is None]
        if unknown:
            routes.update(await self._directory.resolve(unknown))
        return {group_id: sum(route.connections for route in found or ()) for group_id, found in routes.items()}

    def _tell(self, edge: _Listener, counts: Mapping[GroupId, int]) -> None:
        now = dict(itertools.islice(counts.items(), GROUPS_PER_EVENT))
        session = edge.session
        if self._delivery.tell_online(session.edge_id, session.incarnation, now):
            edge.told.update(now)
            self._metrics.online_events.inc()
            self._metrics.online_groups.inc(len(now))
        else:
            now = {}
        self._changed.update(dict.fromkeys(group_id for group_id in counts if group_id not in now))

    def _on_change(self, change: Change) -> None:
        """Marks groups whose sum may be another now; a change that does not name any may concern them all."""
        if isinstance(change, RoutesChanged):
            self._changed.update(dict.fromkeys(group_id for group_id in change.counts if group_id in self._holders))
        elif not isinstance(change, EdgeChanged):
            self._changed.update(dict.fromkeys(self._holders))

    def _drop(self, edge_id: EdgeId) -> None:
        edge = self._edges.pop(edge_id, None)
        if edge is not None:
            for group_id in edge.told:
                self._let_go(group_id, edge_id)

    def _let_go(self, group_id: GroupId, edge_id: EdgeId) -> None:
        holders = self._holders[group_id]
        del holders[edge_id]
        if not holders:
            del self._holders[group_id]
            if self._big.pop(group_id, None) is not None:
                self._show_biggest()
