"""`RouteRegistry` over the embedded Redis and a real one: every promise of the port, and what happens when Redis forgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio
from redis_probe import emptied

from router_svc.adapters.redis_format import edge_key
from router_svc.adapters.redis_route_registry import RedisRouteRegistry
from router_svc.ports import (
    Change,
    EdgeChanged,
    EdgeGone,
    EdgeInfo,
    EdgeLoad,
    EdgeOrders,
    EdgeRecord,
    Route,
    RoutesChanged,
    RoutesPruned,
    Session,
    Standing,
    WatchStarted,
)
from throng.adapters.redis_access import RedisAccess
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.testing.servers import RedisServer

pytestmark = pytest.mark.asyncio
TTL_SECONDS = 60.0
G, H = GroupId("g"), GroupId("h")
E1, E2 = EdgeId("e1"), EdgeId("e2")


def info(edge_id: EdgeId = E1, *, incarnation: int = 1_000, weight: int = 0) -> EdgeInfo:
    return EdgeInfo(edge_id, incarnation, "127.0.0.1:1", f"ws://{edge_id}", weight)


class Stage:
    """Registries over one Redis, and Redis itself."""

    def __init__(self, url: str, client: Any) -> None:
        self.url = url
        self.client = client
        self._made: list[RedisRouteRegistry] = []

    def registry(self, *, ttl_seconds: float = TTL_SECONDS, timeout_seconds: float = 5.0) -> RedisRouteRegistry:
        access = RedisAccess(self.url, timeout_seconds=timeout_seconds)
        made = RedisRouteRegistry(access, ttl_seconds=ttl_seconds, tick_seconds=0.1)
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.close()


@pytest_asyncio.fixture
async def stage(redis_place: tuple[str, Any]) -> AsyncIterator[Stage]:
    made = Stage(*redis_place)
    yield made
    await made.close()


@pytest.fixture
def registry(stage: Stage) -> RedisRouteRegistry:
    return stage.registry()


async def routes(registry: RedisRouteRegistry, group_id: GroupId = G) -> dict[EdgeId, int]:
    [found] = await registry.read_routes([group_id])
    return {route.edge_id: route.connections for route in found}


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 10
    while not await condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


async def test_a_registered_edge_is_listed_with_its_load(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info(weight=7))
    await registry.register(info(E2))
    load = EdgeLoad(connections=12, cpu_share=0.25, fanout_lag_ms=40, draining=True)
    assert await registry.heartbeat(session, load) == (Standing.CURRENT, 0)
    first, second = await registry.list_edges()
    assert (first.info, first.load, first.session) == (info(weight=7), load, session.number)
    assert (second.info, second.load) == (info(E2), EdgeLoad())
    assert abs(first.reported_at_ms - time.time() * 1000) < 60_000
    assert 0 < first.expires_in_seconds <= TTL_SECONDS


async def test_routes_are_read_per_group_in_order(registry: RedisRouteRegistry) -> None:
    one, two = await registry.register(info()), await registry.register(info(E2))
    await registry.put_routes(one, one.number + 1, {G: 3, H: 1})
    await registry.put_routes(two, two.number + 1, {G: 4})
    found = await registry.read_routes([GroupId("nobody"), G, H])
    assert [sorted((route.edge_id, route.connections) for route in row) for row in found] == [[], [(E1, 3), (E2, 4)], [(E1, 1)]]
    assert found[2] == [Route(E1, 1_000, one.number + 1, 1)]
    assert await registry.heartbeat(one, EdgeLoad()) == (Standing.CURRENT, 2)


async def test_zero_removes_and_writing_again_changes_nothing(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    for _ in range(2):
        await registry.put_routes(session, session.number + 1, {G: 3, H: 1})
    for _ in range(2):
        await registry.put_routes(session, session.number + 2, {G: 0})
    assert (await routes(registry), await routes(registry, H)) == ({}, {E1: 1})
    assert await registry.heartbeat(session, EdgeLoad()) == (Standing.CURRENT, 1)


async def test_many_groups_in_one_report(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    many = {GroupId(f"g{number}"): number + 1 for number in range(700)}
    await registry.put_routes(session, session.number + 1, many)
    rows = await registry.read_routes(list(many))
    assert [row[0].connections for row in rows] == list(many.values())


async def test_an_older_write_that_arrives_late_does_not_undo_a_newer_one(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    await registry.put_routes(session, session.number + 5, {G: 5})
    await registry.put_routes(session, session.number + 4, {G: 4})
    assert await routes(registry) == {E1: 5}
    await registry.put_routes(session, session.number + 4, {G: 0})
    assert await routes(registry) == {E1: 5}


async def test_a_newer_session_supersedes_the_older(registry: RedisRouteRegistry) -> None:
    older = await registry.register(info())
    newer = await registry.register(info())
    assert newer.number > older.number
    await registry.put_routes(newer, newer.number + 1, {G: 2})
    assert await registry.put_routes(older, older.number + 9, {G: 7, H: 7}) is Standing.SUPERSEDED
    assert (await registry.heartbeat(older, EdgeLoad()))[0] is Standing.SUPERSEDED
    assert await registry.deregister(older) is Standing.SUPERSEDED
    assert await routes(registry) == {E1: 2}
    assert len(await registry.list_edges()) == 1


async def test_a_newer_incarnation_replaces_and_an_older_one_is_refused(registry: RedisRouteRegistry) -> None:
    old = await registry.register(info(incarnation=1_000))
    await registry.heartbeat(old, EdgeLoad(connections=9, draining=True))
    await registry.put_routes(old, old.number + 1, {G: 9})
    new = await registry.register(info(incarnation=2_000))
    [listed] = await registry.list_edges()
    assert (listed.info.incarnation, listed.load) == (2_000, EdgeLoad())
    with pytest.raises(ThrongError) as caught:
        await registry.register(info(incarnation=1_500))
    assert caught.value.code is ErrorCode.CONFLICT
    assert await registry.put_routes(old, old.number + 2, {G: 10}) is Standing.SUPERSEDED
    await registry.put_routes(new, new.number + 1, {G: 1})
    assert await routes(registry) == {E1: 1}


async def test_prune_removes_what_a_snapshot_did_not_name(registry: RedisRouteRegistry) -> None:
    session, other = await registry.register(info()), await registry.register(info(E2))
    await registry.put_routes(other, other.number + 1, {G: 1})
    await registry.put_routes(session, session.number + 1, {G: 1, H: 1} | {GroupId(f"x{n}"): 1 for n in range(450)})
    await registry.put_routes(session, session.number + 2, {H: 2})
    assert await registry.prune(E1, below_version=session.number + 2) == 451
    assert (await routes(registry), await routes(registry, H)) == ({E2: 1}, {E1: 2})
    assert await registry.heartbeat(session, EdgeLoad()) == (Standing.CURRENT, 1)


async def test_deregister_takes_the_edge_and_its_routes(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    await registry.put_routes(session, session.number + 1, {G: 1})
    assert await registry.deregister(session) is Standing.CURRENT
    assert (await registry.list_edges(), await routes(registry)) == ([], {})
    assert await registry.deregister(session) is Standing.MISSING


async def test_an_edge_without_a_report_expires_and_is_swept(stage: Stage) -> None:
    short, observer = stage.registry(ttl_seconds=0.3), stage.registry()
    session = await short.register(info())
    staying = await observer.register(info(E2))
    await short.put_routes(session, session.number + 1, {G: 1, H: 1})
    await observer.put_routes(staying, staying.number + 1, {G: 1})

    async def gone() -> bool:
        listed = [record.info.edge_id for record in await observer.list_edges()]
        # In its last millisecond the record is not listed any more, and a heartbeat would still find it.
        return listed == [E2] and not stage.client.exists(edge_key(E1))

    await until(gone, "the edge to expire")
    assert (await short.heartbeat(session, EdgeLoad()))[0] is Standing.MISSING
    assert await short.put_routes(session, session.number + 2, {H: 2}) is Standing.MISSING
    assert await observer.sweep() == 1
    assert await observer.sweep() == 0
    assert await routes(observer) == {E2: 1}
    keys = {key.decode() for key in stage.client.scan_iter("throng:router:*")}
    assert "throng:router:edge-groups:{e1}" not in keys


async def test_reports_keep_an_edge_alive(stage: Stage) -> None:
    short = stage.registry(ttl_seconds=0.5)
    session = await short.register(info())
    started = time.monotonic()
    version = session.number
    while time.monotonic() - started < 1.0:
        version += 1
        assert await short.put_routes(session, version, {G: 1}) is Standing.CURRENT
        await asyncio.sleep(0.05)
    assert len(await short.list_edges()) == 1


async def test_a_sweep_spares_an_edge_that_came_back(stage: Stage) -> None:
    registry = stage.registry()
    first = await registry.register(info())
    await registry.put_routes(first, first.number + 1, {G: 1, H: 1})
    stage.client.delete("throng:router:edge:{e1}")  # as if it had expired
    again = await registry.register(info())
    await registry.put_routes(again, again.number + 1, {G: 2})
    assert await registry.sweep() == 0
    assert await routes(registry) == {E1: 2}


async def test_drop_routes_spares_what_was_written_since(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    await registry.put_routes(session, session.number + 1, {G: 1, H: 1})
    [[seen_g], [seen_h]] = await registry.read_routes([G, H])
    await registry.put_routes(session, session.number + 2, {G: 2})
    await registry.drop_routes([(G, seen_g), (H, seen_h)])
    assert (await routes(registry), await routes(registry, H)) == ({E1: 2}, {})


async def test_flushall_is_noticed_and_everything_can_be_reported_again_i10(stage: Stage) -> None:
    registry = stage.registry()
    session = await registry.register(info())
    await registry.put_routes(session, session.number + 1, {G: 1})
    stage.client.flushall()
    assert (await registry.heartbeat(session, EdgeLoad()))[0] is Standing.MISSING
    assert await registry.list_edges() == []
    again = await registry.register(info())
    assert again.number > session.number + 1  # so that it outranks writes of the lost session that are still under way
    await registry.put_routes(again, again.number + 1, {G: 3})
    assert await routes(registry) == {E1: 3}


async def test_lost_routes_show_in_the_count(stage: Stage) -> None:
    registry = stage.registry()
    session = await registry.register(info())
    await registry.put_routes(session, session.number + 1, {G: 1})
    stage.client.delete("throng:router:edge-groups:{e1}")
    assert await registry.heartbeat(session, EdgeLoad()) == (Standing.CURRENT, 0)


async def test_script_flush_disturbs_nobody(stage: Stage) -> None:
    registry = stage.registry()
    session = await registry.register(info())
    stage.client.script_flush()
    assert await registry.put_routes(session, session.number + 1, {G: 1, H: 1}) is Standing.CURRENT
    stage.client.script_flush()
    assert await registry.heartbeat(session, EdgeLoad()) == (Standing.CURRENT, 2)
    stage.client.script_flush()
    assert await registry.prune(E1, below_version=session.number + 2) == 2
    stage.client.script_flush()
    assert await registry.deregister(session) is Standing.CURRENT


async def test_every_script_keeps_to_one_hash_tag(stage: Stage) -> None:
    session = await stage.registry().register(info())
    await stage.registry().put_routes(session, session.number + 1, {G: 1})
    keys = sorted(key.decode() for key in stage.client.scan_iter("*"))
    assert keys == [
        "throng:router:edge-groups:{e1}",
        "throng:router:edge:{e1}",
        "throng:router:edges",
        "throng:router:group:{g}",
    ]


async def take(changes: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(10):
        return [await anext(changes) for _ in range(count)]


async def test_the_channel_tells_every_change_in_order_to_every_replica(stage: Stage) -> None:
    here, there = stage.registry(), stage.registry()
    async with aclosing(here.watch()) as own, aclosing(there.watch()) as other:
        assert await take(own, 1) == await take(other, 1) == [WatchStarted()]
        session = await here.register(info())
        version = session.number + 1
        await here.put_routes(session, version, {G: 3, H: 0})
        await here.heartbeat(session, EdgeLoad(connections=5, cpu_share=0.5, fanout_lag_ms=3, draining=True))
        await here.prune(E1, below_version=version)
        await here.deregister(session)
        for changes in (own, other):
            registered, put, beat, pruned, gone = await take(changes, 5)
            assert isinstance(registered, EdgeChanged)
            assert (registered.record.info, registered.record.session) == (info(), session.number)
            assert put == RoutesChanged(E1, 1_000, version, {G: 3, H: 0})
            assert isinstance(beat, EdgeChanged)
            assert beat.record.load == EdgeLoad(connections=5, cpu_share=0.5, fanout_lag_ms=3, draining=True)
            assert beat.record.expires_in_seconds == TTL_SECONDS
            assert (pruned, gone) == (RoutesPruned(E1, version), EdgeGone(E1, 1_000))


async def test_rubbish_on_the_channel_is_passed_over(stage: Stage) -> None:
    registry = stage.registry()
    async with aclosing(registry.watch()) as changes:
        await take(changes, 1)
        for rubbish in (b"", b"[]", b"{", b'{"kind":"edge"}', b'{"kind":"of a later version"}', b"\xff"):
            stage.client.publish("throng:router:changes", rubbish)
        await registry.register(info())
        [change] = await take(changes, 1)
        assert isinstance(change, EdgeChanged)


async def test_a_channel_that_breaks_says_so(redis_server: RedisServer) -> None:
    """Of a real server only: the embedded one has no connection that could break."""
    with emptied(redis_server.url) as client:
        stage = Stage(redis_server.url, client)
        await kill_subscriptions(stage)
        await stage.close()


async def kill_subscriptions(stage: Stage) -> None:
    async with aclosing(stage.registry().watch()) as changes:
        await take(changes, 1)
        stage.client.client_kill_filter(_type="pubsub")
        with pytest.raises(ThrongError) as caught:
            await take(changes, 1)
        assert caught.value.code is ErrorCode.UNAVAILABLE


async def test_a_server_that_hangs_breaks_the_channel_within_seconds(redis_server: RedisServer) -> None:
    with emptied(redis_server.url) as client:
        stage = Stage(redis_server.url, client)
        async with aclosing(stage.registry(timeout_seconds=0.5).watch()) as changes:
            await take(changes, 1)
            client.client_pause(1_500)  # milliseconds; connections stay open
            with pytest.raises(ThrongError) as caught:
                await take(changes, 1)
            assert caught.value.code is ErrorCode.UNAVAILABLE
        client.client_unpause()
        await stage.close()


async def test_a_redis_that_is_away_is_unavailable_at_once() -> None:
    registry = RedisRouteRegistry(RedisAccess("redis://127.0.0.1:1", timeout_seconds=1), ttl_seconds=1)
    session = Session(E1, 1, 1)
    started = time.monotonic()
    for call in (registry.register(info()), registry.heartbeat(session, EdgeLoad()), registry.read_routes([G])):
        with pytest.raises(ThrongError) as caught:
            await call
        assert caught.value.code is ErrorCode.UNAVAILABLE
    async with aclosing(registry.watch()) as changes:
        with pytest.raises(ThrongError):
            await anext(changes)
    assert time.monotonic() - started < 5
    await registry.close()


# Orders -------------------------------------------------------------------------------------------------------------


async def only(registry: RedisRouteRegistry) -> EdgeRecord:
    [record] = await registry.list_edges()
    return record


async def test_orders_are_listed_and_replace_each_other(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info(weight=7))
    assert (await only(registry)).orders == EdgeOrders()
    assert await registry.order_weight(E1, 300)
    assert await registry.order_drain(E1, drain=True, window_ms=2_000)
    orders = (await only(registry)).orders
    assert orders is not None
    assert (orders.weight, orders.drain, orders.window_ms) == (300, True, 2_000)
    assert await registry.order_drain(E1, drain=True, window_ms=2_000)
    assert (await only(registry)).orders == orders  # a repeated order is no new one
    assert await registry.order_drain(E1, drain=False)
    back = (await only(registry)).orders
    assert back is not None
    assert not back.drain
    assert back.drain_id > orders.drain_id
    assert await registry.order_weight(E1, 0)
    await registry.heartbeat(session, EdgeLoad())
    assert await registry.order_drain(E1, drain=False)
    assert (await only(registry)).orders == EdgeOrders(0, back.drain_id)
    await registry.heartbeat(session, EdgeLoad(draining=True))  # somebody told the edge itself
    assert await registry.order_drain(E1, drain=False)
    again = (await only(registry)).orders
    assert again is not None
    assert again.drain_id > back.drain_id
    assert (await only(registry)).info.weight == 7


async def test_an_edge_that_is_not_alive_cannot_be_ordered_anything(registry: RedisRouteRegistry) -> None:
    assert not await registry.order_weight(E1, 5)
    assert not await registry.order_drain(E1, drain=True)
    session = await registry.register(info())
    await registry.deregister(session)
    assert not await registry.order_weight(E1, 5)


async def test_a_weight_outlives_the_process_and_a_drain_does_not(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    await registry.order_weight(E1, 5)
    await registry.order_drain(E1, drain=True)
    again = await registry.register(info())
    drained = (await only(registry)).orders
    assert drained is not None
    assert drained.drain  # the same life on a new stream
    await registry.deregister(again)
    await registry.register(info(incarnation=2_000))
    assert (await only(registry)).orders == EdgeOrders(weight=5)
    assert session.number < again.number


async def test_an_order_is_told_to_every_replica(stage: Stage) -> None:
    here, there = stage.registry(), stage.registry()
    session = await here.register(info())
    async with aclosing(there.watch()) as changes:
        assert await anext(changes) == WatchStarted()
        await here.order_weight(E1, 9)
        await here.heartbeat(session, EdgeLoad(connections=1, max_connections=50))
        told: list[EdgeRecord] = []
        async for change in changes:
            if isinstance(change, EdgeChanged) and change.record.orders == EdgeOrders(weight=9):
                told.append(change.record)
            if len(told) == 2:
                break
    assert [record.load for record in told] == [EdgeLoad(), EdgeLoad(connections=1, max_connections=50)]


async def test_serving_begins_with_the_life_and_with_the_end_of_a_drain(registry: RedisRouteRegistry) -> None:
    session = await registry.register(info())
    began = await only(registry)
    assert began.serving_since_ms == began.reported_at_ms
    await asyncio.sleep(0.005)
    await registry.heartbeat(session, EdgeLoad(draining=True))
    await registry.register(info())
    session = await registry.register(info())
    assert (await only(registry)).serving_since_ms == began.serving_since_ms
    await registry.heartbeat(session, EdgeLoad())
    back = await only(registry)
    assert back.serving_since_ms == back.reported_at_ms > began.serving_since_ms
