"""What one service sees of Redis."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

KINDS = ("timeout", "connection", "credentials", "cluster", "full", "command")
"""Those of `throng.adapters.redis_errors`, which pure code must not import."""


class RedisMetrics:
    """Counts failures. Any thread."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        errors = Counter(
            f"throng_{service}_redis_errors_total",
            "Redis commands that failed, by kind: timeout, connection, credentials, cluster (a part is away), full, command.",
            ["kind"],
            registry=registry,
        )
        self._errors = {kind: errors.labels(kind) for kind in KINDS}

    def failed(self, kind: str) -> None:
        """Counts one command that failed."""
        self._errors[kind].inc()
