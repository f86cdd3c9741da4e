"""Look-ups and publishing: the table, single flight, the grace while the registry is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from router_fakes import CatchingDelivery, ScriptedRegistry

from router_svc.core.directory import DirectoryPolicy, RouteDirectory
from router_svc.core.publishing import Publication, Publishing, publication
from router_svc.metrics import RouterMetrics
from router_svc.ports import EdgeChanged, EdgeGone, EdgeInfo, EdgeLoad, EdgeRecord, EventKind, Route, RoutesChanged, WatchStarted
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import EdgeId, GroupId
from throng.testing.fake_clock import FakeClock

pytestmark = pytest.mark.asyncio
E1, E2 = EdgeId("e1"), EdgeId("e2")
G = GroupId("g")


def record(edge_id: EdgeId, *, incarnation: int = 1) -> EdgeRecord:
    return EdgeRecord(EdgeInfo(edge_id, incarnation, "a:1", "ws://a"), EdgeLoad(), 1, 0, 9.0)


def to_group(group_id: str, seq: int) -> Publication:
    return publication(group_id=group_id, edge_id="", incarnation=0, epoch=1, head_seq=seq, event=f"{group_id}{seq}".encode())


class Stage:
    def __init__(self) -> None:
        self.registry = ScriptedRegistry()
        self.clock = FakeClock()
        self.delivery = CatchingDelivery()
        metrics = RouterMetrics(CollectorRegistry())
        policy = DirectoryPolicy(stale_grace_seconds=5.0, reconnect_seconds=0.0, poll_seconds=3600, sweep_seconds=3600)
        self.directory = RouteDirectory(self.registry, self.delivery, self.clock, metrics, policy)
        self.publishing = Publishing(self.directory, self.delivery, self.clock, metrics)

    async def in_step(self) -> None:
        self.registry.changes.put_nowait(WatchStarted())
        assert await self.directory.wait_in_step(5)

    async def break_channel(self) -> None:
        self.registry.changes.put_nowait(unavailable("broken"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not self.directory.in_step


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.registry.edges = [record(E1), record(E2)]
    made.registry.routes = {G: [Route(E1, 1, 1, 3), Route(E2, 1, 1, 4)]}
    made.directory.start()
    await made.in_step()
    yield made
    await made.directory.stop()


def reads(stage: Stage) -> int:
    return stage.registry.calls.count("read_routes")


async def test_a_group_is_read_once_and_then_looked_up_in_the_table(stage: Stage) -> None:
    for seq in (1, 2, 3):
        await stage.publishing.publish([to_group("g", seq)])
    assert stage.delivery.delivered == {E1: [b"g1", b"g2", b"g3"], E2: [b"g1", b"g2", b"g3"]}
    assert reads(stage) == 1


async def test_that_nobody_holds_a_group_is_remembered_until_somebody_does(stage: Stage) -> None:
    for _ in range(3):
        await stage.publishing.publish([to_group("empty", 1)])
    assert reads(stage) == 1
    stage.directory.apply(RoutesChanged(E2, 1, 5, {GroupId("empty"): 1}))
    await stage.publishing.publish([to_group("empty", 2)])
    assert stage.delivery.delivered == {E2: [b"empty2"]}


async def test_many_that_wait_for_one_group_make_one_read(stage: Stage) -> None:
    stage.registry.reading.clear()
    waiting = [asyncio.ensure_future(stage.directory.resolve([G])) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stage.registry.reading.set()
    answers = await asyncio.gather(*waiting)
    assert reads(stage) == 1
    assert all(sum(route.connections for route in answer[G]) == 7 for answer in answers)


async def test_one_waiter_that_gives_up_does_not_end_the_read_of_the_others(stage: Stage) -> None:
    stage.registry.reading.clear()
    first, second = (asyncio.ensure_future(stage.directory.resolve([G])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    stage.registry.reading.set()
    assert len((await second)[G]) == 2


async def test_a_batch_keeps_its_order_though_one_group_has_to_be_read(stage: Stage) -> None:
    await stage.publishing.publish([to_group("g", 1)])
    stage.directory.apply(RoutesChanged(E1, 1, 5, {GroupId("late"): 1}))
    stage.registry.routes[GroupId("late")] = [Route(E1, 1, 5, 1)]
    await stage.publishing.publish([to_group("g", 2), to_group("late", 1), to_group("g", 3)])
    assert stage.delivery.delivered[E1] == [b"g1", b"g2", b"late1", b"g3"]


async def test_answers_need_no_routes(stage: Stage) -> None:
    answer = publication(group_id="", edge_id="e1", incarnation=1, epoch=0, head_seq=0, event=b"a")
    stale = publication(group_id="", edge_id="e1", incarnation=9, epoch=0, head_seq=0, event=b"b")
    await stage.publishing.publish([answer, stale])
    assert stage.delivery.delivered == {E1: [b"a"]}
    assert reads(stage) == 0


async def test_kinds_follow_from_the_fields() -> None:
    assert to_group("g", 4).item.kind is EventKind.BLOCK
    assert to_group("g", 0).item.kind is EventKind.CONTROL
    assert publication(group_id="", edge_id="e", incarnation=1, epoch=0, head_seq=0, event=b"a").item.kind is EventKind.ANSWER


async def test_after_a_break_nothing_remembered_is_trusted(stage: Stage) -> None:
    await stage.publishing.publish([to_group("g", 1)])
    await stage.break_channel()
    stage.registry.routes[G] = [Route(E2, 1, 2, 4)]  # a change that was missed
    await stage.publishing.publish([to_group("g", 2)])
    assert stage.delivery.delivered == {E1: [b"g1"], E2: [b"g1", b"g2"]}
    await stage.in_step()
    await stage.publishing.publish([to_group("g", 3)])
    assert stage.delivery.delivered[E2][-1] == b"g3"


async def test_while_the_registry_is_away_the_table_serves_for_a_grace_i10(stage: Stage) -> None:
    await stage.publishing.publish([to_group("g", 1)])
    stage.registry.failures = 1_000
    await stage.break_channel()
    stage.clock.advance(4.9)
    await stage.publishing.publish([to_group("g", 2)])
    assert stage.delivery.delivered[E1][-1] == b"g2"
    with pytest.raises(ThrongError) as caught:
        await stage.publishing.publish([to_group("never-seen", 1)])
    assert caught.value.code is ErrorCode.UNAVAILABLE
    stage.clock.advance(0.2)
    with pytest.raises(ThrongError):
        await stage.publishing.publish([to_group("g", 3)])


async def test_a_registry_that_just_failed_is_not_asked_for_every_publication(stage: Stage) -> None:
    stage.registry.failures = 1_000
    await stage.break_channel()
    for _ in range(5):
        with pytest.raises(ThrongError):
            await stage.publishing.publish([to_group("g", 1)])
    assert reads(stage) == 1
    stage.clock.advance(1)
    with pytest.raises(ThrongError):
        await stage.publishing.publish([to_group("g", 1)])
    assert reads(stage) == 2


async def test_edges_expire_after_the_time_to_live_and_links_end_with_them(stage: Stage) -> None:
    stage.clock.advance(8.9)
    stage.directory.apply(EdgeChanged(record(E2)))
    stage.clock.advance(0.2)
    stage.directory.expire()
    assert stage.delivery.links.keys() == {E2}


async def test_after_an_outage_edges_have_time_to_be_seen_again_i10(stage: Stage) -> None:
    await stage.break_channel()
    stage.registry.edges = []  # it came back empty
    stage.clock.advance(20)
    await stage.directory.refresh_edges()
    stage.directory.expire()
    assert stage.delivery.links.keys() == {E1, E2}
    stage.clock.advance(9)
    stage.directory.expire()
    assert stage.delivery.links == {}


async def test_good_bye_of_a_former_life_is_ignored(stage: Stage) -> None:
    stage.directory.apply(EdgeChanged(record(E1, incarnation=2)))
    stage.directory.apply(EdgeGone(E1, 1))
    assert stage.delivery.links[E1].incarnation == 2


async def test_routes_of_dead_edges_are_swept_but_not_those_of_edges_that_were_only_new(stage: Stage) -> None:
    dead, new = Route(EdgeId("dead"), 1, 1, 1), Route(EdgeId("new"), 1, 1, 1)
    stage.registry.routes[G] = [dead, new]
    await stage.publishing.publish([to_group("g", 1)])
    stage.directory.apply(EdgeChanged(record(EdgeId("new"))))
    await stage.directory.sweep()
    assert stage.registry.dropped == [(G, dead)]


async def test_a_registry_that_answers_again_is_asked_at_once(stage: Stage) -> None:
    """Else the first publication to a group that is not in the table would be refused although everything is well."""
    stage.registry.failures = 1
    with pytest.raises(ThrongError):
        await stage.directory.resolve([G])
    await stage.directory.refresh_edges()
    assert await stage.directory.resolve([G]) == {G: stage.registry.routes[G]}
