"""What an operator can see of unread_svc; the only place where its metrics are made."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from throng.runtime.mysql_metrics import MySQLMetrics
from throng.runtime.redis_metrics import RedisMetrics
from unread_svc.core.counting import Gap
from unread_svc.ports import Observed

_SIZES = (1, 5, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class UnreadMetrics:
    """Counters, gauges and histograms in a registry of the caller's; children are made once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.mysql = MySQLMetrics("unread", registry)
        self._make_cursor_metrics(registry)
        self._make_window_metrics(registry)
        self._make_group_metrics(registry)

    def _make_cursor_metrics(self, registry: CollectorRegistry) -> None:
        reported = Counter(
            "throng_unread_cursors_total",
            "Read cursors reported (hop 8): stored, merged with a higher one of the report, dropped as of an unknown group.",
            ["outcome"],
            registry=registry,
        )
        self._cursors_stored = reported.labels("stored")
        self._cursors_merged = reported.labels("merged")
        self._cursors_dropped = reported.labels("dropped")
        self._cursor_batch = Histogram("throng_unread_cursor_batch_size", "Cursors per report.", buckets=_SIZES, registry=registry)
        self._cursor_seconds = Histogram(
            "throng_unread_cursor_store_seconds", "Time to store a report durably.", buckets=_SECONDS, registry=registry
        )

    def _make_window_metrics(self, registry: CollectorRegistry) -> None:
        counts = Counter(
            "throng_unread_counts_total",
            "Counts answered (hop 8), by source: nothing to count, the window, a rebuilt window, group_svc for one user.",
            ["source"],
            registry=registry,
        )
        self._counts_read = counts.labels("all_read")
        self._counts_window = counts.labels("window")
        self._counts_rebuilt = counts.labels("rebuilt")
        self._counts_fallback = counts.labels("group_svc")
        self._count_batch = Histogram("throng_unread_count_batch_size", "Counts per request.", buckets=_SIZES, registry=registry)
        self._count_seconds = Histogram(
            "throng_unread_count_seconds", "Time to answer a request for counts.", buckets=_SECONDS, registry=registry
        )
        rebuilds = Counter(
            "throng_unread_window_rebuilds_total", "Windows rebuilt from group_svc, by reason.", ["reason"], registry=registry
        )
        self._rebuilds = {gap: rebuilds.labels(gap.value) for gap in Gap}
        self._flights_joined = Counter(
            "throng_unread_rebuilds_joined_total", "Rebuilds that waited for one under way (single flight).", registry=registry
        )
        self._window_errors = Counter(
            "throng_unread_window_errors_total", "Calls to Redis that failed; group_svc was asked instead.", registry=registry
        )
        self.redis = RedisMetrics("unread", registry)
        observations = Counter(
            "throng_unread_observations_total",
            "Observations of groups (hop 5b), by what became of them; lost: Redis was away; malformed: not applied.",
            ["outcome"],
            registry=registry,
        )
        self._observations = {observed: observations.labels(observed.value) for observed in Observed}
        self._observations_lost = observations.labels("lost")
        self._observations_malformed = observations.labels("malformed")

    def _make_group_metrics(self, registry: CollectorRegistry) -> None:
        self._streams = Gauge("throng_unread_observe_streams", "Observation streams that are open.", registry=registry)
        self._streams_refused = Counter(
            "throng_unread_observe_streams_refused_total", "Observation streams refused over the bound.", registry=registry
        )
        self._group_calls = Gauge("throng_unread_group_calls", "Calls to group_svc under way.", registry=registry)
        self._group_calls_refused = Counter(
            "throng_unread_group_calls_refused_total", "Calls to group_svc given up for want of a slot.", registry=registry
        )

    def cursors_reported(self, *, received: int, merged: int, stored: int, seconds: float) -> None:
        """One report: how many came, how many pairs they were, how many of these were stored."""
        self._cursor_batch.observe(received)
        self._cursors_merged.inc(received - merged)
        self._cursors_dropped.inc(merged - stored)
        self._cursors_stored.inc(stored)
        self._cursor_seconds.observe(seconds)

    def counted(self, *, all_read: int, window: int, rebuilt: int, fallback: int, seconds: float) -> None:
        """One request for counts, by source."""
        self._count_batch.observe(all_read + window + rebuilt + fallback)
        self._counts_read.inc(all_read)
        self._counts_window.inc(window)
        self._counts_rebuilt.inc(rebuilt)
        self._counts_fallback.inc(fallback)
        self._count_seconds.observe(seconds)

    def rebuilding(self, gap: Gap) -> None:
        """A window is rebuilt."""
        self._rebuilds[gap].inc()

    def flight_joined(self) -> None:
        """A rebuild under way serves one more."""
        self._flights_joined.inc()

    def window_failed(self) -> None:
        """Redis could not be used."""
        self._window_errors.inc()

    def observed(self, outcomes: Iterable[Observed]) -> None:
        """Observations were applied."""
        for outcome in outcomes:
            self._observations[outcome].inc()

    def observations_lost(self, number: int) -> None:
        """Observations could not be applied."""
        self._observations_lost.inc(number)

    def observations_malformed(self, number: int) -> None:
        """Observations contradicted themselves."""
        self._observations_malformed.inc(number)

    def stream_opened(self) -> None:
        """An observation stream began."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """An observation stream ended."""
        self._streams.dec()

    def stream_refused(self) -> None:
        """An observation stream was refused."""
        self._streams_refused.inc()

    def group_call_started(self) -> None:
        """A call to group_svc takes a slot."""
        self._group_calls.inc()

    def group_call_ended(self) -> None:
        """A call to group_svc gives its slot back."""
        self._group_calls.dec()

    def group_calls_refused(self) -> None:
        """There was no slot in time."""
        self._group_calls_refused.inc()
