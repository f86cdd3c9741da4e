"""Panels that stand on several dashboards."""

from __future__ import annotations

from panels import Metrics, Panel, Query

_all = Metrics()

HUB_LATE = Panel(
    "Hub thread late",
    "How late each edge's timer ran, 99th percentile: what holds up this thread holds up every client of the edge.",
    "s",
    (Query(_all.quantile(0.99, "throng_edge_loop_delay_seconds", "instance"), "{{instance}}"),),
    amber=0.1,
    red=0.5,
)

SHRUNK = Panel(
    "Shrunk to a notice",
    "Blocks for which a queue had no room, in routers, in passes and in outboxes of slow clients (I8), per second.",
    "reqps",
    (
        Query(_all.rate("throng_router_shrunk_blocks_total"), "router"),
        Query(_all.rate("throng_edge_fan_out_overflows_total"), "fan-out"),
        Query(_all.rate("throng_edge_outbox_overflows_total"), "outboxes"),
    ),
)
