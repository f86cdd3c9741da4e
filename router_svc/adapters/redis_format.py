"""Keys, values and change messages as they stand in Redis; the braces are literal, so that an edge or a group is one hash tag.

throng:router:edges               set of edge_ids that are or were alive
throng:router:edge:{e}            hash: the edge's record; expires after three missed heartbeats
throng:router:edge-orders:{e}     hash: what operators ordered of the edge; expires seven days after the edge's last report
throng:router:edge-groups:{e}     sorted set: groups that the edge holds, scored by the version of the route
throng:router:group:{g}           hash: edge_id -> incarnation:version:connections
throng:router:changes             channel: JSON, one object per change (and ticks: proof of life, one per node)
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from router_svc.ports import (
    Change,
    EdgeChanged,
    EdgeGone,
    EdgeInfo,
    EdgeLoad,
    EdgeOrders,
    EdgeRecord,
    Route,
    RoutesChanged,
    RoutesPruned,
)
from throng.domain.ids import EdgeId, GroupId

EDGES_KEY = "throng:router:edges"
CHANGES_CHANNEL = "throng:router:changes"


def edge_key(edge_id: str) -> str:
    """Key of an edge's record."""
    return "throng:router:edge:{" + edge_id + "}"


def edge_orders_key(edge_id: str) -> str:
    """Key of what was ordered of an edge; in the slot of its record."""
    return "throng:router:edge-orders:{" + edge_id + "}"


def edge_groups_key(edge_id: str) -> str:
    """Key of an edge's own index of groups; in the slot of its record."""
    return "throng:router:edge-groups:{" + edge_id + "}"


def group_key(group_id: str) -> str:
    """Key of a group's routes."""
    return "throng:router:group:{" + group_id + "}"


def parse_record(edge_id: str, fields: Mapping[str, str], *, expires_in_seconds: float) -> EdgeRecord:
    """Reads an edge's record together with what was ordered of it.

    Raises:
        KeyError, ValueError: it is not complete; treat it as absent.
    """
    info = EdgeInfo(
        edge_id=EdgeId(edge_id),
        incarnation=int(fields["incarnation"]),
        address=fields["address"],
        public_url=fields["public_url"],
        weight=int(fields["weight"]),
    )
    load = EdgeLoad(
        connections=int(fields["connections"]),
        cpu_share=float(fields["cpu_share"]),
        fanout_lag_ms=int(fields["fanout_lag_ms"]),
        draining=fields["draining"] == "1",
        max_connections=int(fields.get("max_connections", "0")),
    )
    return EdgeRecord(
        info=info,
        load=load,
        session=int(fields["session"]),
        reported_at_ms=int(fields["reported_at"]),
        expires_in_seconds=expires_in_seconds,
        orders=_parse_orders(fields),
        serving_since_ms=int(fields.get("serving_since", "0")),
    )


def _parse_orders(fields: Mapping[str, str]) -> EdgeOrders:
    weight = int(fields.get("ordered_weight", "0"))
    if fields.get("drain_incarnation") != fields["incarnation"]:
        return EdgeOrders(weight=weight)
    return EdgeOrders(weight, int(fields["drain_id"]), fields["drain"] == "1", int(fields["drain_window_ms"]))


def parse_route(edge_id: bytes, value: bytes) -> Route:
    """Reads one field of a group's routes."""
    incarnation, version, connections = value.split(b":")
    return Route(EdgeId(edge_id.decode()), int(incarnation), int(version), int(connections))


def format_routes_changed(change: RoutesChanged) -> str:
    """Makes the change message for routes; those for edges are made by the scripts."""
    return json.dumps(
        {
            "kind": "routes",
            "edge_id": change.edge_id,
            "incarnation": str(change.incarnation),
            "version": str(change.version),
            "counts": dict(change.counts),
        },
        separators=(",", ":"),
    )


def format_routes_pruned(change: RoutesPruned) -> str:
    """Makes the change message for a snapshot that is complete."""
    return json.dumps(
        {"kind": "pruned", "edge_id": change.edge_id, "below_version": str(change.below_version)}, separators=(",", ":")
    )


def parse_change(message: bytes, *, ttl_seconds: float) -> Change | None:
    """Reads a change message; None: of a kind that this version does not know.

    Raises:
        KeyError, ValueError: it is malformed.
    """
    fields = json.loads(message)
    kind = fields["kind"]
    if kind == "routes":
        counts = {GroupId(group_id): int(count) for group_id, count in fields["counts"].items()}
        return RoutesChanged(EdgeId(fields["edge_id"]), int(fields["incarnation"]), int(fields["version"]), counts)
    if kind == "edge":
        return EdgeChanged(parse_record(fields["edge_id"], fields, expires_in_seconds=ttl_seconds))
    if kind == "gone":
        return EdgeGone(EdgeId(fields["edge_id"]), int(fields["incarnation"]))
    if kind == "pruned":
        return RoutesPruned(EdgeId(fields["edge_id"]), int(fields["below_version"]))
    return None
