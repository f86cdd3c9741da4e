"""Asks group_svc every second whether it serves, for the edge's readiness. Runs in the business loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 1.0
_log = structlog.get_logger("throng.edge")


class LinkWatch:
    """One health check after the other; tells every change."""

    def __init__(self, channel: grpc.aio.Channel, on_change: Callable[[bool], None]) -> None:
        self._channel = channel
        self._on_change = on_change
        self._reachable: bool | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to ask."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        while True:
            try:
                response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
                reachable = response.status == health_pb2.HealthCheckResponse.SERVING
            except grpc.RpcError:
                reachable = False
            if reachable != self._reachable:
                self._reachable = reachable
                _log.info("group_service_reachable" if reachable else "group_service_away")
                self._on_change(reachable)
            await asyncio.sleep(_EVERY_SECONDS if reachable else _EVERY_SECONDS / 4)
