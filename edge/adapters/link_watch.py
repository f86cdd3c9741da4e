"""Asks every second whether a group_svc serves, for the edge's readiness. Runs in the business loop."""

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
    """One health check after the other; tells every change.

    The channel takes replicas in turn, so one that stops or hangs must not count for all: only when as many checks as there are
    replicas have failed one after the other is the service away.
    """

    def __init__(self, channel: grpc.aio.Channel, on_change: Callable[[bool], None], *, replicas: int = 1) -> None:
        """`replicas`: as many as are known, at least two checks are made anyway."""
        self._channel = channel
        self._on_change = on_change
        self._attempts = max(replicas, 2)
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
        while True:
            reachable = await self._any_serves()
            if reachable != self._reachable:
                self._reachable = reachable
                _log.info("group_service_reachable" if reachable else "group_service_away")
                self._on_change(reachable)
            await asyncio.sleep(_EVERY_SECONDS if reachable else _EVERY_SECONDS / 4)

    async def _any_serves(self) -> bool:
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        for _ in range(self._attempts):
            try:
                response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError:
                continue
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                return True
        return False
