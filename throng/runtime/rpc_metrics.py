"""gRPC requests by method and code, for servers of either colour."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RpcMetrics:
    """`throng_<service>_grpc_requests_total{method,code}` and `throng_<service>_grpc_request_seconds{method}`."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            f"throng_{service}_grpc_requests_total",
            "gRPC calls that ended, by method and code.",
            ["method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"throng_{service}_grpc_request_seconds",
            "Time that unary gRPC calls took.",
            ["method"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def ended(self, method: str, code: str, seconds: float | None) -> None:
        """Counts one call; `seconds` is None for streams, whose length says nothing."""
        self._requests.labels(method, code).inc()
        if seconds is not None:
            self._seconds.labels(method).observe(seconds)
