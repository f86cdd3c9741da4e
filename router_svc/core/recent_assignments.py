"""Clients that were assigned to an edge and stand in no report of it yet, so that a burst is not assigned by old news."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router_svc.ports import EdgeRecord
from throng.domain.ids import EdgeId
from throng.ports.clock import Clock

KEPT_SECONDS = 10
"""Who has not connected so long after being assigned has gone elsewhere."""


@dataclass(slots=True)
class _Edge:
    """`waiting`: per second, oldest first: when, and how many were assigned then and not seen to arrive."""

    incarnation: int
    connections: int
    waiting: deque[list[int]] = field(default_factory=deque)


class RecentAssignments:
    """Counts what this replica assigned; the loop's thread only. Others' assignments are seen when the edge reports them.

    An assignment waits until the edge reports more connections than before, one for each, whoever it was that came; or ten seconds.
    At most ten numbers an edge.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._edges: dict[EdgeId, _Edge] = {}

    def note(self, record: EdgeRecord) -> None:
        """A client was assigned to an edge."""
        edge = self._edge(record)
        second = int(self._clock.monotonic())
        if not edge.waiting or edge.waiting[-1][0] != second:
            edge.waiting.append([second, 0])
        edge.waiting[-1][1] += 1

    def pending(self, records: Sequence[EdgeRecord]) -> Mapping[EdgeId, int]:
        """Clients on their way, per edge, after what the edges report now. Edges that are not named are forgotten."""
        oldest = int(self._clock.monotonic()) - KEPT_SECONDS
        if len(self._edges) > len(records):
            named = {record.info.edge_id for record in records}
            for edge_id in self._edges.keys() - named:
                del self._edges[edge_id]
        found: dict[EdgeId, int] = {}
        for record in records:
            edge = self._edge(record)
            arrived = record.load.connections - edge.connections
            edge.connections = record.load.connections
            waiting = edge.waiting
            while waiting and waiting[0][0] <= oldest:
                waiting.popleft()
            while waiting and waiting[0][1] <= arrived:
                arrived -= waiting.popleft()[1]
            if waiting and arrived > 0:
                waiting[0][1] -= arrived
            if waiting:
                found[record.info.edge_id] = sum(count for _, count in waiting)
        return found

    def _edge(self, record: EdgeRecord) -> _Edge:
        edge = self._edges.get(record.info.edge_id)
        if edge is None or edge.incarnation != record.info.incarnation:
            edge = self._edges[record.info.edge_id] = _Edge(record.info.incarnation, record.load.connections)
        return edge
