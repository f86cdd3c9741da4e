"""Weight of an edge among those that take new clients: set by hand, or derived from how busy it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router_svc.ports import EdgeRecord
from throng.domain.ids import EdgeId

NEUTRAL = 100
"""Weight of an idle edge that holds as many connections as the others do."""

MIN_WEIGHT = 1
MAX_WEIGHT = 1_000
RAMP_SECONDS = 30.0
"""An edge that begins to take clients, or does again, comes to its full weight in so long."""

RAMP_FLOOR = 0.05
"""Part of its weight that it has at once."""

_LAG_HALF_MS = 200
"""A fan-out that lags so much halves the weight."""
_SMALL = 50
"""Differences of so few connections hardly count: a fresh cluster is not steered by noise."""


def effective_weights(records: Sequence[EdgeRecord], pending: Mapping[EdgeId, int] | None = None) -> Mapping[EdgeId, int]:
    """Weight in force per edge, 1 to 1,000; 0 for one that drains, or shall, and for one that is full.

    Derived weights compare the edge's connections with the mean of all edges that take clients (a quarter to four times the
    neutral weight), and take off for CPU in use and for fan-out lag. `pending`: clients on their way to an edge, which it does
    not report yet; they count as connections. Every weight, also one set by hand, grows over RAMP_SECONDS at first.
    """
    coming = pending or {}
    connections = {record.info.edge_id: record.load.connections + coming.get(record.info.edge_id, 0) for record in records}
    serving = [record.info.edge_id for record in records if not _drains(record)]
    mean = sum(connections[edge_id] for edge_id in serving) / len(serving) if serving else 0.0
    return {record.info.edge_id: _weight(record, connections[record.info.edge_id], mean) for record in records}


def _drains(record: EdgeRecord) -> bool:
    return record.load.draining or (record.orders is not None and record.orders.drain)


def _weight(record: EdgeRecord, connections: int, mean_connections: float) -> int:
    limit = record.load.max_connections
    if _drains(record) or (limit and connections >= limit):
        return 0
    by_hand = (record.orders.weight if record.orders is not None else 0) or record.info.weight
    weight = (by_hand or _derived(record, connections, mean_connections)) * _ramp(record)
    return min(max(round(weight), MIN_WEIGHT), MAX_WEIGHT)


def _derived(record: EdgeRecord, connections: int, mean_connections: float) -> float:
    by_connections = min(max((mean_connections + _SMALL) / (connections + _SMALL), 0.25), 4.0)
    by_cpu = min(max(1.0 - record.load.cpu_share, 0.05), 1.0)
    by_lag = _LAG_HALF_MS / (_LAG_HALF_MS + record.load.fanout_lag_ms)
    return NEUTRAL * by_connections * by_cpu * by_lag


def _ramp(record: EdgeRecord) -> float:
    """With the square of the time: the derived weight of an empty edge is four times the others', which a straight line would
    pass within seconds. Both times are of the registry's clock, so that clocks which differ do not matter."""
    if not record.serving_since_ms:
        return 1.0
    served_seconds = (record.reported_at_ms - record.serving_since_ms) / 1000
    return min(max((max(served_seconds, 0.0) / RAMP_SECONDS) ** 2, RAMP_FLOOR), 1.0)
