"""Metrics of an edge; hot loops count in plain integers (`HubCounters`, `SessionCounters`), read when they are scraped."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.core.hub_counters import HubCounters
from edge.core.session_counters import SessionCounters
from throng.domain.close_codes import CloseCode
from throng.ports.clock import Clock
from throng.runtime.kafka_metrics import KafkaMetrics
from throng.runtime.rpc_metrics import RpcMetrics

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DELAY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_HANDSHAKE_OUTCOMES = (
    "accepted",
    "lost",
    "no_upgrade",
    "bad_version",
    "foreign_origin",
    "no_token",
    "token_expired",
    "token_invalid",
    "bad_subprotocol",
    "bad_arguments",
    "not_ready",
    "full",
    "too_many_handshakes",
)
_LAG_SAMPLES = 512
_LAG_WINDOW_SECONDS = 5.0


class EdgeMetrics:
    """What happens too seldom to hurt: handshakes, calls to other services, events that came, fan-outs that ended."""

    def __init__(self, registry: CollectorRegistry, *, clock: Clock) -> None:
        self._clock = clock
        self.rpc = RpcMetrics("edge", registry)
        self.kafka = KafkaMetrics("edge", registry, consumes=False)
        handshakes = Counter(
            "throng_edge_handshakes_total", "Upgrades to WebSocket, by outcome (hop 1).", ["outcome"], registry=registry
        )
        self._handshakes = {outcome: handshakes.labels(outcome) for outcome in _HANDSHAKE_OUTCOMES}
        self._calls = Counter(
            "throng_edge_upstream_calls_total",
            "Calls to group_svc and unread_svc that ended, by method and code.",
            ["method", "code"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "throng_edge_upstream_call_seconds",
            "Time that calls to group_svc and unread_svc took.",
            ["method"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._call_children: dict[str, Histogram] = {}
        self._code_children: dict[tuple[str, str], Counter] = {}
        events = Counter(
            "throng_edge_events_total",
            "Events that routers delivered (hop 6), by outcome: read, or unreadable and left out.",
            ["outcome"],
            registry=registry,
        )
        self._events_read = events.labels("read")
        self._events_unreadable = events.labels("unreadable")
        self._lag = Histogram(
            "throng_edge_publish_to_last_send_seconds",
            "From the publishing of a block to its last send on this edge (hops 5 to 7).",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._loop_delay = Histogram(
            "throng_edge_loop_delay_seconds",
            "How late the hub thread's timer of 100 ms ran: what holds up this thread holds up every client of the edge.",
            buckets=_DELAY_BUCKETS,
            registry=registry,
        )
        self._lags: collections.deque[tuple[float, float]] = collections.deque(maxlen=_LAG_SAMPLES)

    def handshake(self, outcome: str) -> None:
        """Counts an upgrade."""
        self._handshakes[outcome].inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """Counts a call to another service."""
        counter = self._code_children.get((method, code))
        if counter is None:
            counter = self._code_children[method, code] = self._calls.labels(method, code)
        counter.inc()
        histogram = self._call_children.get(method)
        if histogram is None:
            histogram = self._call_children[method] = self._call_seconds.labels(method)
        histogram.observe(seconds)

    def events_received(self, read: int, unreadable: int) -> None:
        """Counts events of a Deliver stream."""
        self._events_read.inc(read)
        if unreadable:
            self._events_unreadable.inc(unreadable)

    def loop_delayed(self, seconds: float) -> None:
        """Notes how late a timer of the hub thread ran."""
        self._loop_delay.observe(seconds)

    def fan_out_done(self, published_at_ms: int) -> None:
        """Notes the end of a block's fan-out. Hub thread."""
        lag_seconds = max(0.0, (self._clock.now_ms() - published_at_ms) / 1000)
        self._lag.observe(lag_seconds)
        self._lags.append((self._clock.monotonic(), lag_seconds))

    def fan_out_lag_ms(self) -> int:
        """99th percentile of publish-to-last-send over the last seconds, milliseconds; 0: nothing was sent. Any thread."""
        oldest = self._clock.monotonic() - _LAG_WINDOW_SECONDS
        recent = sorted(lag for at, lag in self._lags.copy() if at >= oldest)
        return int(recent[min(len(recent) - 1, len(recent) * 99 // 100)] * 1000) if recent else 0


@dataclass(frozen=True, slots=True)
class Level:
    """A value that is read when it is scraped; `total`: it only grows."""

    name: str
    text: str
    read: Callable[[], float]
    total: bool = False


@dataclass(frozen=True, slots=True)
class CountedParts:
    """The parts that count for themselves."""

    hub: HubCounters
    sessions: SessionCounters
    calls_under_way: Callable[[], int]
    calls_refused: Callable[[], int]
    requests_shed: Callable[[], int]
    waiting_events: Callable[[], int]
    uplink_records: Callable[[], int]
    answers_waiting: Callable[[], int]
    router_connected: Callable[[], bool]
    router_reconnects: Callable[[], int]
    rooms_by_size: Callable[[], Mapping[str, int]]


_HUB_LEVELS = {
    "connections": "Client connections that are open.",
    "blocked_connections": "Connections whose client takes nothing at the moment.",
    "outbox_bytes": "Bytes that wait for slow clients; bounded, blocks shrink to one head notice, then 4008 (I8).",
    "pending_frames": "Frames that wait for a fan-out pass; bounded, they shrink to one head notice (I8).",
}
_HUB_TOTALS = {
    "accepted": ("accepted_connections", "Connections taken over after their upgrade."),
    "accept_pauses": ("accept_pauses", "Times that accepting stopped for a moment because no descriptor was left for it (I8)."),
    "received_bytes": ("received_bytes", "Bytes that clients sent."),
    "received_messages": ("received_frames", "Messages that clients sent (hop 1)."),
    "read_pauses": ("read_pauses", "Times that a connection was not read for the rest of a second because it sent too much."),
    "sends": ("sends", "Frames or joined buffers handed to one connection."),
    "sent_bytes": ("sent_bytes", "Bytes that the kernel took for clients."),
    "would_block": ("blocked_sends", "Sends that the kernel did not take whole."),
    "outboxes_made": ("outboxes", "Outboxes made for slow clients."),
    "outbox_overflows": ("outbox_overflows", "Times that blocks in an outbox shrank to a head notice (I8)."),
    "array_overflows": ("fan_out_overflows", "Times that frames waiting for a pass shrank to a head notice (I8)."),
    "fan_out_frames": ("fan_out_frames", "Frames queued for fan-out (hop 7)."),
    "fan_out_passes": ("fan_out_passes", "Passes over the sockets of a group; a pass may join many frames."),
    "fan_out_slices": ("fan_out_slices", "Slices of about 2 ms in which passes ran."),
    "fan_out_sends": ("fan_out_sends", "Sends of fan-out passes."),
    "pings": ("pings", "Protocol pings sent."),
    "handler_failures": ("handler_failures", "Defects met while a connection was served; each ends one connection."),
}
_SESSION_TOTALS = {
    "blocks": ("blocks", "Blocks taken over (hop 6)."),
    "duplicate_blocks": ("duplicate_blocks", "Blocks that brought nothing new."),
    "gaps": ("gaps", "Blocks that did not follow the head known here."),
    "heals": ("heals", "Groups that were behind and were brought up to the head (I6)."),
    "heal_failures": ("heal_failures", "Attempts to do so that failed and are repeated."),
    "member_checks": ("member_checks", "Groups whose members were asked for because a change was missed (I9)."),
    "resets": ("epoch_resets", "Groups whose epoch changed."),
    "enters": ("enters", "Groups entered."),
    "resumes": ("resumes", "Enters for which a resume token stood in for a membership look-up."),
    "pulls": ("pulls", "Pulls of clients (hop 8)."),
    "histories": ("histories", "Pages of older messages asked for."),
    "cache_hits": ("cache_hits", "Reads answered from the edge's cache."),
    "cache_misses": ("cache_misses", "Reads that needed group_svc."),
    "single_flight_waits": ("single_flight_waits", "Reads that waited for the same read under way."),
    "malformed": ("malformed_frames", "Frames that are no ClientFrame."),
    "parked_overflows": ("parked_overflows", "Blocks behind a gap that were given up and fetched instead (I8)."),
    "cursor_overflows": ("cursor_overflows", "Read cursors dropped because too many waited (I8)."),
    "count_sends": ("count_sends", "Sends of online counts, and of heads to hidden pages, that went with no block; bounded (I8)."),
    "cursors_reported": ("cursors_reported", "Read cursors reported to unread_svc."),
    "events_failed": ("event_failures", "Delivered events that met a defect."),
}


def _reading(part: object, attribute: str) -> Callable[[], float]:
    return lambda: float(getattr(part, attribute))


def _levels(parts: CountedParts) -> list[Level]:
    hub, sessions = parts.hub, parts.sessions
    levels = [Level(name, text, _reading(hub, name)) for name, text in _HUB_LEVELS.items()]
    levels += [Level(name, text, _reading(hub, attribute), total=True) for attribute, (name, text) in _HUB_TOTALS.items()]
    levels += [Level(name, text, _reading(sessions, attribute), total=True) for attribute, (name, text) in _SESSION_TOTALS.items()]
    return [
        *levels,
        Level("sessions", "Sessions of clients.", _reading(sessions, "sessions")),
        Level("cache_bytes", "Bytes of messages that are cached here.", _reading(sessions, "cache_bytes")),
        Level("upstream_calls_under_way", "Calls without a result; bounded, new ones fail (I8).", parts.calls_under_way),
        Level("upstream_calls_refused", "Calls refused because of that bound (I8).", parts.calls_refused, total=True),
        Level(
            "upstream_requests_shed",
            "Requests refused because they waited for a place in a batched call until their callers gave up (I8).",
            parts.requests_shed,
            total=True,
        ),
        Level("waiting_events", "Events not taken over; bounded, streams are not read then (I8).", parts.waiting_events),
        Level("uplink_records", "Submissions on their way to the uplink; bounded, new ones fail (hop 2).", parts.uplink_records),
        Level("answers_waiting", "Submissions without an answer; bounded, new ones fail (I8).", parts.answers_waiting),
        Level("router_connected", "1: routes stand in the registry.", parts.router_connected),
        Level("router_reconnects", "Times that the stream of route reports ended.", parts.router_reconnects, total=True),
    ]


class PartsCollector(Collector):
    """Exports what the parts counted; each value is one attribute read."""

    def __init__(self, parts: CountedParts) -> None:
        self._parts = parts
        self._levels = _levels(parts)

    def collect(self) -> Iterator[Metric]:
        """Reads everything."""
        for level in self._levels:
            family = CounterMetricFamily if level.total else GaugeMetricFamily
            yield family(f"throng_edge_{level.name}", level.text, value=float(level.read()))
        sessions = self._parts.sessions
        yield _table("submissions", "Submissions of clients by outcome (hop 1).", "outcome", sessions.submissions)
        yield _table(
            "door_refusals",
            "Submissions refused at the door for their pace (hop 1): within the user's interval, over this edge's share of the "
            "group's budget, of the HIGH lane and over its reserve too, or not chosen where the group takes samples.",
            "reason",
            sessions.door_refusals,
        )
        acks = HistogramMetricFamily("throng_edge_submit_to_ack_seconds", "From taking a submission in to its ACK (hops 1 to 7).")
        acks.add_metric([], sessions.ack_seconds.buckets(), sessions.ack_seconds.seconds)
        yield acks
        yield _table("refused_requests", "Refused requests that were no submissions, by code.", "code", sessions.failures)
        yield _table("session_closes", "Connections that sessions closed, by close code.", "reason", sessions.closed)
        closes = CounterMetricFamily(
            "throng_edge_closes", "Connections that ended, by close code (docs/protocol.md).", labels=["code", "reason"]
        )
        for code, count in sorted(dict(self._parts.hub.closed).items()):
            closes.add_metric([str(code), _reason(code)], count)
        yield closes
        rooms = GaugeMetricFamily("throng_edge_rooms", "Groups held here, by size class (connections).", labels=["size"])
        for size, count in self._parts.rooms_by_size().items():
            rooms.add_metric([size], count)
        yield rooms

    def describe(self) -> Iterator[Metric]:
        """Nothing is read when the collector is registered."""
        return iter(())


def _table(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"throng_edge_{name}", text, labels=[label])
    for key, count in sorted(dict(counts).items()):
        family.add_metric([key.lower()], count)
    return family


def _reason(code: int) -> str:
    try:
        return CloseCode(code).name.lower()
    except ValueError:
        return {1005: "none_given", 1006: "vanished"}.get(code, "other")


class Registration:
    """Takes a collector out of the registry again, so that an edge can be started twice in one process (tests)."""

    def __init__(self, registry: CollectorRegistry, collector: Collector) -> None:
        self._registry = registry
        self._collector = collector
        self._lock = threading.Lock()
        self._active = True
        registry.register(collector)

    def end(self) -> None:
        """Unregisters. Idempotent."""
        with self._lock:
            if self._active:
                self._active = False
                self._registry.unregister(self._collector)
