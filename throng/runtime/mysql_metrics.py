"""The pool of MySQL connections of one service, as operators see it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

FAILURES = ("lost", "read_only", "unknown_commit", "away", "refused")
RETRIES = ("lost", "read_only", "deadlock", "lock_timeout", "duplicate")
"""Those of `throng.adapters.mysql_errors`, which pure code must not import; their series are there from the start."""


class MySQLMetrics:
    """`PoolEvents` as `throng_<service>_mysql_…`. Any thread."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._waits = Histogram(
            f"throng_{service}_mysql_wait_seconds",
            "Time that calls waited for a free connection to MySQL; calls that did not wait are not counted.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_use = Gauge(f"throng_{service}_mysql_connections_in_use", "Connections to MySQL that are lent.", registry=registry)
        self._connects = Counter(f"throng_{service}_mysql_connects_total", "Connections to MySQL opened.", registry=registry)
        self._lost = Counter(
            f"throng_{service}_mysql_failures_total",
            "Connections to MySQL that broke or could not be opened, by reason: lost, read_only, unknown_commit, away, refused.",
            ["reason"],
            registry=registry,
        )
        self._retries = Counter(
            f"throng_{service}_mysql_retries_total",
            "Reads and transactions repeated, by reason: lost, read_only, deadlock, lock_timeout, duplicate.",
            ["reason"],
            registry=registry,
        )

        for reason in FAILURES:
            self._lost.labels(reason)
        for reason in RETRIES:
            self._retries.labels(reason)

    def watch(self, in_use: Callable[[], int]) -> None:
        """Reads the number of lent connections whenever metrics are collected."""
        self._in_use.set_function(in_use)

    def mysql_waited(self, seconds: float) -> None:
        """A thread waited for a free connection."""
        self._waits.observe(seconds)

    def mysql_connected(self) -> None:
        """A connection was opened."""
        self._connects.inc()

    def mysql_lost(self, reason: str) -> None:
        """A connection or a try to connect failed."""
        self._lost.labels(reason).inc()

    def mysql_retried(self, reason: str) -> None:
        """A transaction or a read is repeated."""
        self._retries.labels(reason).inc()
