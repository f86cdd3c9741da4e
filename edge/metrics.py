"""Metrics of an edge. Hot loops count in plain integers (`HubCounters`, `SessionCounters`), which are read when they are scraped."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from throng.domain.close_codes import CloseCode
from throng.ports.clock import Clock
from throng.runtime.rpc_metrics import RpcMetrics

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
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


class LevelCollector(Collector):
    """Exports levels and plain counters of other parts; each is one attribute read."""

    def __init__(self, levels: list[Level], by_close_code: Callable[[], Mapping[int, int]]) -> None:
        self._levels = levels
        self._by_close_code = by_close_code

    def collect(self) -> Iterator[Metric]:
        """Reads everything."""
        for level in self._levels:
            family = CounterMetricFamily if level.total else GaugeMetricFamily
            yield family(f"throng_edge_{level.name}", level.text, value=level.read())
        closes = CounterMetricFamily(
            "throng_edge_closes_total", "Connections that ended, by close code (docs/protocol.md).", labels=["code", "reason"]
        )
        for code, count in sorted(dict(self._by_close_code()).items()):
            closes.add_metric([str(code), _reason(code)], count)
        yield closes

    def describe(self) -> Iterator[Metric]:
        """Nothing is read when the collector is registered."""
        return iter(())


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
