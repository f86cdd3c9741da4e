"""Replicas of a router under test, over gRPC, and the neighbours that each of them is given."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry
from router_stage import FakeEdge, PublishStream, ReportStream

from router_svc.app import RouterApp
from router_svc.settings import RouterSettings
from throng.api.router.v1.router_pb2_grpc import RouterServiceStub
from throng.runtime import rpc_aio
from throng.runtime.aio_thread import AioThread


class RouterStage:
    """Routers and what is around them; cleaned up at the end of the `with`."""

    def __init__(self, aio: AioThread) -> None:
        self.aio = aio
        self.redis_url = f"embedded://{uuid.uuid4()}"
        self.registries: list[CollectorRegistry] = []
        self._apps: list[RouterApp] = []
        self._closing: list[Callable[[], Awaitable[Any]]] = []

    def router(self, **settings: Any) -> RouterApp:
        """Starts a replica."""
        values = {
            "port": 0,
            "redis_url": self.redis_url,
            "heartbeat_seconds": 60,
            "channel_tick_seconds": 0.1,
            "drain_seconds": 0.5,
        }
        registry = CollectorRegistry()
        app = RouterApp(RouterSettings(**(values | settings)), self.aio, registry=registry)
        self.registries.append(registry)
        self._apps.append(app)
        app.start()
        return app

    async def edge(self, edge_id: str, **options: Any) -> FakeEdge:
        """Starts a fake edge."""
        edge = await FakeEdge(edge_id, **options).start()
        self._closing.append(edge.stop)
        return edge

    def reports(self, router: RouterApp, edge: FakeEdge) -> ReportStream:
        """Opens a report stream."""
        stream = ReportStream(router.grpc_address, edge)
        self._closing.append(stream.break_off)
        return stream

    def publisher(self, router: RouterApp) -> PublishStream:
        """Opens a publish stream."""
        stream = PublishStream(router.grpc_address)
        self._closing.append(stream.close)
        return stream

    def stub(self, router: RouterApp) -> RouterServiceStub:
        """For unary calls."""
        channel = rpc_aio.channel([router.grpc_address])
        self._closing.append(channel.close)
        return RouterServiceStub(channel)

    def sample(self, name: str, labels: dict[str, str] | None = None) -> float:
        """A metric of the first replica."""
        return self.registries[0].get_sample_value(name, labels or {}) or 0.0

    def run(self, scenario: Awaitable[None]) -> None:
        """Runs a scenario in the shared loop."""
        self.aio.run(scenario, 60)  # type: ignore[arg-type]

    def __enter__(self) -> RouterStage:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends everything."""

        async def close_all() -> None:
            for close in reversed(self._closing):
                await close()

        self.aio.run(close_all(), 30)
        for app in self._apps:
            app.stop()
