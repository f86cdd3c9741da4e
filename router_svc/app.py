"""Composition root of router_svc: makes the parts, starts and stops them in order."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import CollectorRegistry

from router_svc.adapters.edge_link import LinkPolicy
from router_svc.adapters.edge_links import EdgeLinks
from router_svc.adapters.redis_route_registry import RedisRouteRegistry
from router_svc.core.directory import DirectoryPolicy, RouteDirectory
from router_svc.core.online_counts import OnlineCounts
from router_svc.core.report_session import ReportPolicy
from router_svc.core.task_end import end_tasks
from router_svc.metrics import RouterMetrics
from router_svc.servicer import RouterServicer
from router_svc.settings import RouterSettings
from throng.adapters.system_clock import SystemClock
from throng.api.router.v1.router_pb2_grpc import add_RouterServiceServicer_to_server
from throng.ports.clock import Clock
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_aio import AioServer
from throng.runtime.rpc_metrics import RpcMetrics

_log = structlog.get_logger("throng.router.app")
_START_SECONDS = 15.0
_IN_STEP_SECONDS = 3.0
_GRACE_SECONDS = 1.0
_MEASURE_SECONDS = 1.0
_ONLINE_SECONDS = 1.0


class RouterApp:
    """One router replica. `grpc_address` holds what was bound, once `start` has returned."""

    name = "router"

    def __init__(
        self, settings: RouterSettings, aio: AioThread, *, registry: CollectorRegistry, clock: Clock | None = None
    ) -> None:
        """Does nothing yet; `aio` must run before `start` and until `stop` has returned."""
        self.grpc_address = ""
        self._settings = settings
        self._aio = aio
        self._clock: Clock = clock or SystemClock()
        self._metrics = RouterMetrics(registry)
        self._rpc_metrics = RpcMetrics("router", registry)
        self._routes: RedisRouteRegistry | None = None
        self._links: EdgeLinks | None = None
        self._directory: RouteDirectory | None = None
        self._servicer: RouterServicer | None = None
        self._server: AioServer | None = None
        self._every_second: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Returns when it serves; also while Redis is away, since it heals by itself.

        Raises:
            ThrongError: UNAVAILABLE when the address is taken.
        """
        self._aio.run(self._start(), _START_SECONDS)

    def stop(self) -> None:
        """Not ready, streams ended, queues drained, connections closed. Idempotent; an edge's record stays in the registry."""
        self._aio.run(self._stop(), self._settings.drain_seconds + _START_SECONDS)

    async def _start(self) -> None:
        settings = self._settings
        security = settings.rpc_security()
        self._routes = RedisRouteRegistry(
            settings.redis_access(),
            ttl_seconds=settings.ttl_seconds,
            tick_seconds=settings.channel_tick_seconds,
            on_error=self._metrics.redis.failed,
        )
        self._links = EdgeLinks(_link_policy(settings), self._clock, self._metrics, security=security)
        self._directory = RouteDirectory(self._routes, self._links, self._clock, self._metrics, _directory_policy(settings))
        online = OnlineCounts(self._directory, self._links, self._metrics)
        self._servicer = RouterServicer(
            self._routes,
            self._directory,
            self._links,
            online,
            self._clock,
            self._metrics,
            ReportPolicy(ttl_seconds=settings.ttl_seconds, ask_again_seconds=3 * settings.heartbeat_seconds),
        )
        self._directory.start()
        self._every_second = [
            asyncio.create_task(self._measure(self._links), name="router-measure"),
            asyncio.create_task(self._count(online), name="router-online"),
        ]
        if not await self._directory.wait_in_step(_IN_STEP_SECONDS):
            _log.warning("route_registry_away_at_start")
        self._server = AioServer(self._rpc_metrics, security=security)
        self._server.add(add_RouterServiceServicer_to_server, self._servicer, "throng.router.v1.RouterService")
        port = await self._server.start(f"{settings.host}:{settings.port}")
        self.grpc_address = f"{settings.host}:{port}"

    async def _measure(self, links: EdgeLinks) -> None:
        while True:
            links.measure()
            await asyncio.sleep(_MEASURE_SECONDS)

    async def _count(self, online: OnlineCounts) -> None:
        while True:
            await asyncio.sleep(_ONLINE_SECONDS)
            try:
                await online.tell()
            except Exception as error:
                _log.error("online_counts_failed", exc_info=error)

    async def _stop(self) -> None:
        if self._servicer is not None:
            self._servicer.end_streams()
        if self._server is not None:
            await self._server.stop(_GRACE_SECONDS)
        if self._links is not None:
            await self._links.close(self._settings.drain_seconds)
        await end_tasks(*self._every_second)
        self._every_second = []
        if self._directory is not None:
            await self._directory.stop()
        if self._routes is not None:
            await self._routes.close()
        self._servicer = self._server = self._links = self._directory = self._routes = None


def _link_policy(settings: RouterSettings) -> LinkPolicy:
    return LinkPolicy(
        queue_events=settings.queue_events,
        queue_bytes=settings.queue_bytes,
        batch_events=settings.batch_events,
        batch_bytes=settings.batch_bytes,
        window_bytes=settings.window_bytes,
        write_seconds=settings.write_seconds,
    )


def _directory_policy(settings: RouterSettings) -> DirectoryPolicy:
    return DirectoryPolicy(
        ttl_seconds=settings.ttl_seconds,
        poll_seconds=settings.heartbeat_seconds,
        sweep_seconds=settings.ttl_seconds,
        stale_grace_seconds=settings.stale_grace_seconds,
        max_groups=settings.table_groups,
    )
