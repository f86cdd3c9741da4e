"""Weight of an edge among those that take new clients: set by hand, or derived from how busy it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router_svc.ports import EdgeRecord
from throng.domain.ids import EdgeId

NEUTRAL = 100
"""Weight of an idle edge that holds as many connections as the others do."""

MIN_WEIGHT = 1
MAX_WEIGHT = 1_000
_LAG_HALF_MS = 200
"""A fan-out that lags so much halves the weight."""
_SMALL = 50
"""Differences of so few connections hardly count: a fresh cluster is not steered by noise."""


def effective_weights(records: Sequence[EdgeRecord]) -> Mapping[EdgeId, int]:
    """Weight in force per edge, 1 to 1,000; 0 for one that drains.

    Derived weights compare the edge's connections with the mean of all edges that do not drain (a quarter to four times the
    neutral weight), and take off for CPU in use and for fan-out lag.
    """
    serving = [record for record in records if not record.load.draining]
    mean = sum(record.load.connections for record in serving) / len(serving) if serving else 0.0
    return {record.info.edge_id: _weight(record, mean) for record in records}


def _weight(record: EdgeRecord, mean_connections: float) -> int:
    load = record.load
    if load.draining:
        return 0
    if record.info.weight:
        return min(max(record.info.weight, MIN_WEIGHT), MAX_WEIGHT)
    by_connections = min(max((mean_connections + _SMALL) / (load.connections + _SMALL), 0.25), 4.0)
    by_cpu = min(max(1.0 - load.cpu_share, 0.05), 1.0)
    by_lag = _LAG_HALF_MS / (_LAG_HALF_MS + load.fanout_lag_ms)
    return min(max(round(NEUTRAL * by_connections * by_cpu * by_lag), MIN_WEIGHT), MAX_WEIGHT)
