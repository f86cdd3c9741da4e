"""An edge and several of each service behind it: one that stops, hangs or is away does not count for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge.adapters.link_watch import LinkWatch
from edge.adapters.router_client import RouterClient
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime import rpc_aio
from throng.runtime.aio_thread import AioThread
from throng.testing.servers import free_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Replica(health_pb2_grpc.HealthServicer, router_pb2_grpc.RouterServiceServicer):
    """A service that can be told to stop serving."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = SERVING
        self.checks = 0
        self._pool = futures.ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)
        router_pb2_grpc.add_RouterServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.checks += 1
        return health_pb2.HealthCheckResponse(status=self.status)

    def AssignEdge(self, request: Any, context: Any) -> Any:  # noqa: N802
        return router_pb2.AssignEdgeResponse(edge_id=self.name, public_url="ws://edge")

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    made = [Replica("one"), Replica("two")]
    yield made
    for replica in made:
        replica.stop()


async def watched(replicas: list[Replica]) -> tuple[Any, LinkWatch, list[bool]]:
    seen: list[bool] = []
    channel = rpc_aio.channel([replica.address for replica in replicas])
    watch = LinkWatch(channel, seen.append, replicas=len(replicas))
    watch.start()
    return channel, watch, seen


async def ended(channel: Any, watch: LinkWatch) -> None:
    await watch.stop()
    await channel.close(None)


def wait_for(condition: Any, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_group_service_that_stops_does_not_make_the_edge_unready(aio: AioThread, replicas: list[Replica]) -> None:
    channel, watch, seen = aio.run(watched(replicas), 5)
    wait_for(lambda: seen == [True])
    replicas[0].status = NOT_SERVING
    before = replicas[0].checks
    wait_for(lambda: replicas[0].checks >= before + 2)  # asked at least twice, and each time the other one was asked then
    assert seen == [True]
    replicas[0].stop()
    before = replicas[1].checks
    wait_for(lambda: replicas[1].checks >= before + 2)
    assert seen == [True]
    replicas[1].status = NOT_SERVING
    wait_for(lambda: seen == [True, False])
    replicas[1].status = SERVING
    wait_for(lambda: seen == [True, False, True])
    aio.run(ended(channel, watch), 5)


def test_a_router_that_is_away_is_passed_over(aio: AioThread, replicas: list[Replica]) -> None:
    async def make() -> tuple[list[Any], RouterClient]:
        channels = [rpc_aio.channel([address]) for address in (f"127.0.0.1:{free_port()}", replicas[1].address)]
        return channels, RouterClient(channels, asyncio.get_running_loop())

    async def ask(client: RouterClient) -> str:
        return (await client.assign("ann", ())).edge_id

    channels, client = aio.run(make(), 5)
    assert [aio.run(ask(client), 10) for _ in range(4)] == ["two"] * 4
    replicas[1].stop()
    with pytest.raises(ThrongError) as refused:
        aio.run(ask(client), 10)
    assert refused.value.code is ErrorCode.UNAVAILABLE

    async def close() -> None:
        for channel in channels:
            await channel.close(None)

    aio.run(close(), 5)
