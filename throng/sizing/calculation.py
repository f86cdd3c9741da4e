"""The formulas of docs/plan.md: pure, from a crowd, assumptions and sizes to figures."""

from __future__ import annotations

import math

from throng.sizing.assumptions import Assumptions
from throng.sizing.crowd import Crowd, Delivery
from throng.sizing.figures import Sizing
from throng.sizing.wire_sizes import WireSizes

_DAY = 86_400
_MESSAGE_ROW, _MESSAGE_INDEX, _MEMBER_ROW, _MEMBER_INDEX, _CURSOR_ROW = 120, 75, 80, 45, 55
"""Bytes of rows beside the body, with ids as in `wire_sizes.py` and what InnoDB adds: header 5, transaction 6, roll pointer 7."""


def size(crowd: Crowd, assumptions: Assumptions) -> Sizing:
    """Reckons everything.

    Raises:
        ThrongError: INVALID_ARGUMENT for a crowd that cannot be.
    """
    crowd.check()
    sizes = WireSizes.of(crowd.text_bytes, crowd.messages_per_block)
    found = Sizing(crowd, assumptions.all())
    _traffic(crowd, assumptions, sizes, found)
    _edges(crowd, assumptions, found)
    _coming_back(crowd, assumptions, found)
    _edge_memory(crowd, assumptions, found)
    _network(crowd, assumptions, sizes, found)
    _services(crowd, assumptions, sizes, found)
    _kafka(crowd, sizes, found)
    _mysql(crowd, assumptions, sizes, found)
    _redis(assumptions, found)
    _warn(crowd, assumptions, found)
    return found


def _traffic(crowd: Crowd, known: Assumptions, sizes: WireSizes, found: Sizing) -> None:
    part = "Traffic"
    found.add(part, "messages per block", crowd.messages_per_block, "", "min(block_max, max(1, rate × block_interval))")
    blocks = found.add(part, "blocks per second", crowd.blocks_per_second, "/s", "rate / messages per block")
    found.add(part, "deliveries", crowd.members * crowd.rate, "/s", "members × rate")
    found.add(part, "sends", crowd.members * blocks, "/s", "members × blocks per second")
    told = sizes.frame_bytes if crowd.delivery is Delivery.INLINE else sizes.notice_bytes
    found.add(part, "frame", told, "bytes", "one block (inline) or notice (notify), encoded and framed")
    pulls = crowd.members * blocks if crowd.delivery is Delivery.NOTIFY else 0.0
    found.add(part, "pulls", pulls, "/s", "notify: members × blocks per second; inline: 0")
    pace = min(1 / known["cursor_seconds"], blocks)
    cursors = crowd.members * crowd.reading_share * pace
    found.add(part, "read cursors", cursors, "/s", "members × reading_share × min(1 / cursor_seconds, blocks per second)")
    found.add(part, "pings", crowd.members / known["heartbeat_seconds"], "/s", "members / heartbeat_seconds")
    found.add(
        part,
        "sends per core and second",
        known.sends_per_second(told),
        "/s",
        "1 / (1 / sends_per_cpu_second + kB over 0.2 × per kB)",
    )


def _edges(crowd: Crowd, known: Assumptions, found: Sizing) -> None:
    part = "Edges (one process is one core)"
    fan_out = found["sends"] / found["sends per core and second"]
    found.add(part, "cores for fan-out", fan_out, "", "sends / sends per core and second")
    pulling = found.add(part, "cores for pulls", found["pulls"] / known["pulls_per_cpu_second"], "", "pulls / pulls_per_cpu_second")
    reading = found.add(
        part,
        "cores for read cursors",
        found["read cursors"] / known["pulls_per_cpu_second"],
        "",
        "read cursors / pulls_per_cpu_second",
    )
    beats = 2 * found["pings"] / known["sends_per_cpu_second"]
    found.add(part, "cores for heartbeats", beats, "", "2 × pings / sends_per_cpu_second")
    taken, refused = crowd.rate * known["edge_us_per_message"] / 1e6, (crowd.offered - crowd.rate) * known["refused_us"] / 1e6
    sending = found.add(part, "cores for submissions", taken + refused, "", "rate × edge_us + (offered − rate) × refused_us")
    cores = found.add(part, "edge cores in use", fan_out + pulling + reading + beats + sending, "", "sum of these")
    by_cpu = found.add(part, "edges by CPU", math.ceil(cores / crowd.utilisation), "", "⌈edge cores / utilisation⌉")
    by_sockets = math.ceil(crowd.members / crowd.connections_per_edge)
    found.add(part, "edges by connections", by_sockets, "", "⌈members / connections_per_edge⌉")
    edges = found.add(part, "edges", max(by_cpu, by_sockets) + crowd.spare_edges, "", "the larger one + spare_edges")
    found.add(part, "members per edge", crowd.members / edges, "", "members / edges")
    left = max(1.0, edges - 1)
    found.add(part, "load of an edge", 100 * cores / edges, "%", "edge cores / edges")
    found.add(part, "load after the loss of one", 100 * cores / left, "%", "edge cores / (edges − 1)")
    a_pass = crowd.members / edges / found["sends per core and second"]
    found.add(part, "one block to all of an edge", a_pass, "s", "members per edge / sends per core and second")


def _coming_back(crowd: Crowd, known: Assumptions, found: Sizing) -> None:
    part = "Coming in and coming back (h: handshakes/s of an edge)"
    edges, cores, tries = found["edges"], found["edge cores in use"], known["retry_factor"]
    quiet = min(float(crowd.handshakes_per_second), known["handshakes_per_cpu_second"])
    found.add(part, "all members come in", crowd.members / (edges * quiet), "s", "members / (edges × h), at the pace of the edges")

    def rate_at(count: float) -> float:
        idle = max(0.05, 1.0 - cores / count)
        return min(float(crowd.handshakes_per_second), idle * known["handshakes_per_cpu_second"])

    found.add(part, "h while messages flow", rate_at(edges), "/s", "min(budget, idle share of an edge × handshakes_per_cpu_second)")
    if edges > 1:
        lost, left = crowd.members / edges, edges - 1
        seconds = known["first_wait_seconds"] + tries * lost / (left * rate_at(left))
        text = "first_wait + retry_factor × members per edge / ((edges − 1) × h)"
        found.add(part, "back after the loss of one edge", seconds, "s", text)
    seconds = known["first_wait_seconds"] + tries * crowd.members / (edges * rate_at(edges))
    found.add(part, "back after all sockets were cut", seconds, "s", "first_wait + retry_factor × members / (edges × h)")


def _edge_memory(crowd: Crowd, known: Assumptions, found: Sizing) -> None:
    part = "Memory of edges"
    clients = crowd.members / max(1.0, found["edges"] - min(1, crowd.spare_edges))
    each = known["edge_bytes_per_connection"] + known["kernel_bytes_per_connection"]
    slow = crowd.slow_share * clients * known["slow_bytes"]
    total = known["edge_base_bytes"] + known["edge_cache_bytes"] + clients * each + slow
    found.add(
        part, "memory of an edge", total, "bytes", "base + cache + clients after a loss × (edge + kernel) + slow_share × slow_bytes"
    )
    found.add(part, "memory of all edges", total * found["edges"], "bytes", "edges × memory of an edge")


def _network(crowd: Crowd, known: Assumptions, sizes: WireSizes, found: Sizing) -> None:
    part = "Network of clients"
    out = found["sends"] * known.wire_bytes(found["frame"])
    out += found["pulls"] * known.wire_bytes(sizes.frame_bytes) + found["pings"] * known.wire_bytes(2)
    found.add(part, "out", 8 * out, "bits/s", "8 × (sends × frame + pulls × block + pings), with packet headers")
    frames_in = found["sends"] + 2 * found["pulls"] + 2 * found["pings"] + 2 * crowd.offered
    found.add(
        part, "in", 8 * frames_in * known["segment_bytes"], "bits/s", "8 × an empty packet for each send, pull, ping and submission"
    )
    found.add(part, "out per day", out * _DAY, "bytes", "out / 8 × 86,400")
    found.add(part, "out per edge", 8 * out / found["edges"], "bits/s", "out / edges")
    by_card = math.ceil(8 * out / (crowd.gigabits_per_machine * 1e9 * crowd.utilisation))
    by_core = math.ceil(found["edges"] / crowd.cores_per_machine)
    found.add(
        part, "machines for edges", max(by_card, by_core), "", "max(⌈out / (gigabits × utilisation)⌉, ⌈edges / cores_per_machine⌉)"
    )


def _services(crowd: Crowd, known: Assumptions, sizes: WireSizes, found: Sizing) -> None:
    part = "Services behind the edges"
    edges, blocks = found["edges"], found["blocks per second"]
    stream = 8 * blocks * edges * known.wire_bytes(sizes.block_bytes)
    found.add(part, "routers to edges", stream, "bits/s", "8 × blocks per second × edges × block")
    routing = blocks * edges * known["router_us_per_block"] / 1e6
    found.add(part, "router cores in use", routing, "", "blocks per second × edges × router_us_per_block")
    found.add(part, "routers", max(2, math.ceil(routing / crowd.utilisation) + 1), "", "max(2, ⌈router cores / utilisation⌉ + 1)")
    writing = crowd.rate * known["group_us_per_message"] / 1e6
    found.add(part, "group service cores in use", writing, "", "rate × group_us_per_message; one group has one writer")
    found.add(part, "group services", 2, "", "one that writes the group, one that takes over")
    cursors = found["read cursors"]
    reading = crowd.rate * known["other_us_per_message"] / 1e6 + cursors / known["cursor_rows_per_cpu_second"]
    found.add(part, "unread service and MySQL for them", reading, "cores", "rate × other_us + cursors / cursor_rows_per_cpu_second")
    found.add(part, "unread services", max(2, math.ceil(reading / crowd.utilisation) + 1), "", "max(2, ⌈that / utilisation⌉ + 1)")


def _kafka(crowd: Crowd, sizes: WireSizes, found: Sizing) -> None:
    part = "Kafka"
    found.add(part, "record", sizes.submitted_bytes, "bytes", "one submission, encoded, with its key; not compressed")
    each_day = crowd.rate * sizes.submitted_bytes * _DAY
    found.add(part, "Kafka per day", each_day * crowd.kafka_replicas, "bytes", "rate × record × 86,400 × replicas")
    kept = each_day * crowd.kafka_replicas * crowd.kafka_hours / 24
    found.add(part, "Kafka kept", kept, "bytes", "per day × kafka_hours / 24")
    found.add(part, "partitions", 16, "", "a group lies in one; 16 serve up to 16 group services")


def _mysql(crowd: Crowd, known: Assumptions, sizes: WireSizes, found: Sizing) -> None:
    part = "MySQL"
    rows = found.add(part, "message rows per day", crowd.rate * _DAY, "", "rate × 86,400")
    in_order = (_MESSAGE_ROW + sizes.body_bytes) / known["ordered_page_fill"]
    row = found.add(
        part, "message row", in_order + _MESSAGE_INDEX / known["random_page_fill"], "bytes",
        f"({_MESSAGE_ROW} + body) / ordered fill + {_MESSAGE_INDEX} / random fill (index of ids)",
    )  # fmt: skip
    found.add(part, "messages per day", rows * row, "bytes", "rows × row")
    found.add(part, "messages kept", rows * row * crowd.history_days, "bytes", "per day × history_days")
    random = known["random_page_fill"]
    people = crowd.members * (_MEMBER_ROW + _MEMBER_INDEX + _CURSOR_ROW) / random
    found.add(
        part, "members and cursors", people, "bytes", f"members × ({_MEMBER_ROW} + {_MEMBER_INDEX} + {_CURSOR_ROW}) / random fill"
    )
    cores = crowd.rate * known["mysql_us_per_message"] / 1e6
    found.add(part, "MySQL cores for messages", cores, "", "rate × mysql_us_per_message; cursors are above")


def _redis(known: Assumptions, found: Sizing) -> None:
    total = known["redis_group_bytes"] + found["edges"] * known["redis_route_bytes"]
    found.add("Redis", "Redis", 1.5 * total, "bytes", "1.5 × (group + edges × route)")


def _warn(crowd: Crowd, known: Assumptions, found: Sizing) -> None:
    if crowd.members > known["members_measured"]:
        text = f"All parts together were measured with {known['members_measured']:,.0f} receivers in one group"
        found.warnings.append(f"{text}; what is above is arithmetic.")
    if crowd.rate > known["group_rate_limit"]:
        text = f"One group has one writer, which was shown to take {known['group_rate_limit']:,.0f} messages a second"
        found.warnings.append(f"{text}: {crowd.rate:,g} is beyond.")
    if found["edges"] > 100:
        found.warnings.append(
            "No more than a handful of edges was ever run together; routers' streams to so many were not measured."
        )
    if found["read cursors"] > 20_000:
        text = f"{found['read cursors']:,.0f} cursors a second are much for one MySQL: raise cursor_interval_ms."
        found.warnings.append(text)
    if crowd.spare_edges == 0:
        found.warnings.append("No spare edge: while one is lost the others are above the utilisation asked for.")
    if found["back after all sockets were cut"] > 60:
        found.warnings.append("More than a minute until all are back after a cut: more edges shorten it.")
    found.warnings.append(
        "Frames are reckoned as protobuf without compression, without TLS, which ends at the ingress (its CPU is not in it)."
    )
