"""`/healthz`, `/readyz` and `/metrics`: for whoever operates the edge."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST

from edge.http.json_handler import JsonHandler


class HealthHandler(JsonHandler):
    """`/healthz`: the hub's loop turns; otherwise nobody would answer."""

    def get(self) -> None:
        """Answers 200."""
        self.write_json({"healthy": True, "edge_id": self.services.edge_id})


class ReadyHandler(JsonHandler):
    """`/readyz`: 200 when new clients shall come here, otherwise 503; the body says why."""

    def get(self) -> None:
        """Answers with the readiness."""
        readiness = self.services.readiness
        self.write_json(readiness.report(), status=200 if readiness.ready else 503)


class MetricsHandler(JsonHandler):
    """`/metrics` in Prometheus' text format, made in another thread so that no fan-out waits for it."""

    async def get(self) -> None:
        """Answers with all metrics of the registry."""
        text = await self.services.render_metrics()
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(text)
