"""router_svc when Redis goes away, comes back empty, or loses a node: with real gRPC, fake edges and a Redis of its own (I10)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import grpc
import pytest
import redis
from redis_probe import emptied
from router_replicas import RouterStage
from router_stage import FakeEdge, PublishStream, ReportStream, block, until
from server_fixtures import started

from throng.api.router.v1 import router_pb2
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_status import from_rpc_error
from throng.testing.servers import RedisClusterServers, RedisServer


@pytest.fixture(scope="module")
def aio() -> Iterator[AioThread]:
    thread = AioThread("router-tests")
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture
def stage(aio: AioThread) -> Iterator[RouterStage]:
    with RouterStage(aio) as made:
        yield made


@pytest.fixture
def redis_server(stage: RouterStage, tmp_path: pathlib.Path) -> Iterator[RedisServer]:
    with started(lambda: RedisServer(tmp_path)) as server:
        stage.redis_url = server.url
        yield server


def test_redis_restarts_empty_and_routes_come_back_i10(stage: RouterStage, redis_server: RedisServer) -> None:
    router = stage.router(stale_grace_seconds=60)

    async def first() -> tuple[FakeEdge, ReportStream, PublishStream]:
        edge = await stage.edge("e1")
        reports = await stage.reports(router, edge).begin({"g": 1})
        publisher = stage.publisher(router)
        await publisher.publish(block("g", 1))
        await until(lambda: len(edge.events) == 1, "the first block")
        return edge, reports, publisher

    edge, reports, publisher = stage.aio.run(first(), 30)
    redis_server.stop()

    async def while_away() -> int:
        await until(lambda: stage.sample("throng_router_table_in_step") == 0, "the channel to break")
        await publisher.publish(block("g", 2))  # by what the table last knew
        await until(lambda: len(edge.events) == 2, "the block while Redis is away")
        return await reports.send(delta=router_pb2.RouteDelta(groups=[router_pb2.GroupCount(group_id="h", connections=1)]))

    report_id = stage.aio.run(while_away(), 30)
    assert reports.applied < report_id  # a route counts only once it is in Redis
    redis_server.start()

    async def afterwards() -> None:
        await reports.applied_up_to(report_id)
        await until(lambda: reports.snapshots_wanted == 1, "the wish for a snapshot")
        await reports.applied_up_to(await reports.snapshot({"g": 1, "h": 1}))
        await until(lambda: stage.sample("throng_router_table_in_step") == 1, "the table in step")
        await publisher.publish(block("g", 3), block("h", 1))
        await until(lambda: len(edge.events) == 4, "the blocks after the restart")
        assert edge.events[2:] == [block("g", 3).event, block("h", 1).event]

    stage.run(afterwards())


def test_without_redis_and_beyond_the_grace_a_publication_is_refused(stage: RouterStage, redis_server: RedisServer) -> None:
    router = stage.router(stale_grace_seconds=0)

    async def first() -> PublishStream:
        edge = await stage.edge("e1")
        await stage.reports(router, edge).begin({"g": 1})
        publisher = stage.publisher(router)
        await publisher.publish(block("g", 1))
        return publisher

    publisher = stage.aio.run(first(), 30)
    redis_server.stop()

    async def scenario() -> None:
        await until(lambda: stage.sample("throng_router_table_in_step") == 0, "the channel to break")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await publisher.publish(block("g", 2))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert from_rpc_error(caught.value).retry_after_ms > 0

    stage.run(scenario())


def test_flushall_is_noticed_by_the_next_heartbeat(stage: RouterStage, redis_server: RedisServer) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge = await stage.edge("e1")
        reports = await stage.reports(router, edge).begin({"g": 1})
        with redis.Redis.from_url(redis_server.url) as client:
            client.flushall()
        await reports.beat(connections=1)
        await until(lambda: reports.snapshots_wanted == 1, "the wish for a snapshot")
        await reports.applied_up_to(await reports.snapshot({"g": 1}))
        await reports.beat(connections=1)
        assert reports.snapshots_wanted == 1
        await stage.publisher(router).publish(block("g", 1))
        await until(lambda: edge.events, "the block")

    stage.run(scenario())


def test_a_node_of_a_redis_cluster_is_lost_and_comes_back_empty_i10(
    stage: RouterStage, redis_cluster_servers: RedisClusterServers
) -> None:
    servers = redis_cluster_servers
    with emptied(servers.url) as client:
        owner = client.get_node_from_key("throng:router:edge:{e1}")
        node = next(node for node in servers.nodes if node.port == owner.port)
    stage.redis_url = servers.url
    router = stage.router(stale_grace_seconds=60)

    async def first() -> tuple[FakeEdge, ReportStream, PublishStream]:
        edge = await stage.edge("e1")
        reports = await stage.reports(router, edge).begin({"g": 1, "h": 1, "i": 1})
        publisher = stage.publisher(router)
        await publisher.publish(block("g", 1), block("h", 1), block("i", 1))
        await until(lambda: len(edge.events) == 3, "the first blocks")
        return edge, reports, publisher

    edge, reports, publisher = stage.aio.run(first(), 30)
    node.kill()
    try:

        async def while_away() -> None:
            await until(lambda: stage.sample("throng_router_table_in_step") == 0, "the channel to break")
            await publisher.publish(block("g", 2), block("h", 2), block("i", 2))
            await until(lambda: len(edge.events) == 6, "the blocks while a node is away")

        stage.aio.run(while_away(), 30)
    finally:
        node.start()
        servers.wait_until_whole()

    async def afterwards() -> None:
        await until(lambda: stage.sample("throng_router_table_in_step") == 1, "the table in step")
        await reports.beat(connections=3)
        await until(lambda: reports.snapshots_wanted == 1, "the wish for a snapshot")
        await reports.applied_up_to(await reports.snapshot({"g": 1, "h": 1, "i": 1}))
        await publisher.publish(block("g", 3), block("h", 3), block("i", 3))
        await until(lambda: len(edge.events) == 9, "the blocks afterwards")

    stage.run(afterwards())
