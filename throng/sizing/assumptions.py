"""What a thing costs, each with its source: measured here, read from a report, from docs/experiments, or only assumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SEND_BYTES = 208
"""Size of the frames with which sends were measured."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """`source` says who measured it, or that nobody did."""

    name: str
    value: float
    unit: str
    source: str


_CLUSTER = "experiments/0003, one group at 1,000/s (dearer than at higher rates)"
_KNOWN = (
    Assumption("sends_per_cpu_second", 94_000, "sends of 208 bytes per CPU second of an edge", "experiments/0001, 1 in flight"),
    Assumption("send_us_per_kb", 0.2, "µs more for each kB of a frame", "self-test on such a machine: 0.13 to 0.19"),
    Assumption("handshakes_per_cpu_second", 2_298, "upgrade, enter and first page per CPU second", "experiments/0010"),
    Assumption("pulls_per_cpu_second", 42_857, "pulls from an edge's cache per CPU second", "experiments/0009"),
    Assumption("edge_bytes_per_connection", 1_331, "bytes of an edge process per idle connection", "experiments/0010: 1.30 KB"),
    Assumption("kernel_bytes_per_connection", 5_120, "bytes of the kernel per idle connection", "experiments/0010: about 5 KB"),
    Assumption("edge_base_bytes", 101e6, "resident bytes of an edge process without many clients", "experiments/0010"),
    Assumption("edge_cache_bytes", 1_048_576, "bytes of messages of a group that an edge keeps", "its setting cache_bytes"),
    Assumption("slow_bytes", 262_144, "bytes that may wait for a slow connection", "the hub's outbox_shared_bytes"),
    Assumption("heartbeat_seconds", 30, "seconds between two pings to a client", "the edge's heartbeat_interval_ms"),
    Assumption("cursor_seconds", 5, "seconds between two reports of how far one has read", "the edge's cursor_interval_ms"),
    Assumption("first_wait_seconds", 0.5, "seconds within which a client that lost its edge tries again", "reconnect_base_ms"),
    Assumption("retry_factor", 1.8, "times as long as the pace says, for refused ones wait", "experiments/0009: 8.7 s for 5.0"),
    Assumption("edge_us_per_message", 488, "µs of edges per message taken, fan-out to 400 included", _CLUSTER),
    Assumption("group_us_per_message", 311, "µs of group services per message", _CLUSTER),
    Assumption("kafka_us_per_message", 89, "µs of Kafka per message", _CLUSTER),
    Assumption("mysql_us_per_message", 78, "µs of MySQL per message", _CLUSTER),
    Assumption("redis_us_per_message", 33, "µs of Redis per message", _CLUSTER),
    Assumption("other_us_per_message", 111, "µs of routers and unread services per message", _CLUSTER),
    Assumption("refused_us", 150, "µs of an edge per message refused at its door", "not measured"),
    Assumption("router_us_per_block", 60, "µs of a router per block and edge", "not measured"),
    Assumption(
        "cursor_rows_per_cpu_second", 41_213, "cursors per CPU second of unread service and MySQL", "experiments/0004: joins"
    ),
    Assumption("group_rate_limit", 2_000, "messages/s that one group was shown to take", "experiments/0003"),
    Assumption(
        "members_measured", 20_000, "receivers in one group with which all of it was measured", "tests/load/bench_one_group.py"
    ),
    Assumption("segment_bytes", 90, "bytes of IP, TCP with timestamps and Ethernet per packet", "headers 20 + 32 + 38"),
    Assumption("segment_payload", 1_448, "payload bytes of a full packet", "Ethernet's 1,500 less headers"),
    Assumption("random_page_fill", 0.69, "part of an index page in use when keys come at random", "B-trees: ln 2"),
    Assumption("ordered_page_fill", 0.94, "part of a page in use when keys come in order", "InnoDB: 15/16"),
    Assumption("redis_group_bytes", 310_000, "bytes in Redis of a busy group: recent messages and unread window", "redis.md"),
    Assumption("redis_route_bytes", 670, "bytes in Redis per edge: record, route, list of groups", "redis.md"),
)


class Assumptions:
    """All by name; `with_measured` replaces some."""

    def __init__(self, known: Iterable[Assumption] = _KNOWN) -> None:
        self._known = {one.name: one for one in known}

    def __getitem__(self, name: str) -> float:
        return self._known[name].value

    def __iter__(self) -> Iterable[Assumption]:
        return iter(self._known.values())

    def all(self) -> list[Assumption]:
        """In the order of the documentation."""
        return list(self._known.values())

    def with_measured(self, measured: Iterable[Assumption]) -> Assumptions:
        """The same with other values for some names.

        Raises:
            KeyError: there is no such name.
        """
        known = dict(self._known)
        for one in measured:
            known[one.name] = Assumption(one.name, one.value, known[one.name].unit, one.source)
        return Assumptions(known.values())

    def sends_per_second(self, frame_bytes: float) -> float:
        """Sends of a frame of this size that a core of an edge makes in a second."""
        base_us = 1e6 / self["sends_per_cpu_second"]
        return 1e6 / (base_us + self["send_us_per_kb"] * max(0.0, frame_bytes - SEND_BYTES) / 1_000)

    def wire_bytes(self, payload: float) -> float:
        """Bytes on the wire of one send, headers included."""
        packets = max(1, -(-int(payload) // int(self["segment_payload"])))
        return payload + packets * self["segment_bytes"]
