"""One edge's reports: what is written, what is acknowledged, and when a snapshot is wanted."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from router_fakes import CatchingDelivery, ScriptedRegistry

from router_svc.core.directory import DirectoryPolicy, RouteDirectory
from router_svc.core.online_counts import OnlineCounts
from router_svc.core.report_session import Delta, Digest, ReportPolicy, ReportSession, Snapshot
from router_svc.core.route_digest import HeldGroups, group_hash
from router_svc.metrics import RouterMetrics
from router_svc.ports import NO_ORDERS, EdgeChanged, EdgeInfo, EdgeLoad, EdgeOrders, EdgeRecord, Standing, WatchStarted
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.testing.fake_clock import FakeClock

pytestmark = pytest.mark.asyncio
INFO = EdgeInfo(EdgeId("e"), 7, "127.0.0.1:1", "ws://e")
G, H, K = GroupId("g"), GroupId("h"), GroupId("k")


class Stage:
    def __init__(self) -> None:
        self.registry = ScriptedRegistry()
        self.clock = FakeClock()
        self.delivery = CatchingDelivery()
        metrics = RouterMetrics(CollectorRegistry())
        self.directory = RouteDirectory(self.registry, self.delivery, self.clock, metrics, DirectoryPolicy())
        self.directory.apply(WatchStarted())
        policy = ReportPolicy(retry_seconds=0.0)
        self.online = OnlineCounts(self.directory, self.delivery, metrics)
        self.session = ReportSession(self.registry, self.directory, self.online, self.clock, metrics, policy)

    async def begin(self, counts: dict[GroupId, int]) -> None:
        await self.session.identify(INFO)
        assert not await self.session.apply([Snapshot(counts, complete=True)])


async def test_an_identified_edge_is_alive_here_at_once() -> None:
    stage = Stage()
    await stage.session.identify(INFO)
    assert stage.delivery.links == {INFO.edge_id: INFO}
    assert [record.info for record in stage.directory.edges()] == [INFO]


async def test_adjacent_deltas_are_one_write_in_which_the_last_word_holds() -> None:
    stage = Stage()
    await stage.begin({})
    stage.registry.put.clear()
    await stage.session.apply([Delta({G: 1}), Delta({H: 2}), EdgeLoad(connections=1), Delta({G: 0}), EdgeLoad(connections=3)])
    assert [counts for _, counts in stage.registry.put] == [{G: 0, H: 2}]
    assert stage.registry.loads == [EdgeLoad(connections=3)]


async def test_versions_rise_and_a_snapshot_prunes_what_it_does_not_name() -> None:
    stage = Stage()
    await stage.begin({G: 1, H: 1})
    stage.clock.advance(60)
    first = Snapshot({G: 2}, complete=False)
    await stage.session.apply([first, Delta({K: 5}), Snapshot({}, complete=True)])
    versions = [version for version, _ in stage.registry.put]
    assert versions == sorted(set(versions))
    assert stage.registry.pruned_below[-1] == versions[1]
    expected = HeldGroups([(G, 2), (K, 5)])
    assert not await stage.session.apply([Digest(2, expected.xor_hash), EdgeLoad()])
    assert await stage.session.apply([Digest(3, expected.xor_hash ^ group_hash(H))])


async def test_a_wrong_digest_is_asked_about_once_in_a_while() -> None:
    stage = Stage()
    await stage.begin({G: 1})
    assert not await stage.session.apply([Digest(1, 1)])  # asked at the start, so to say: the snapshot just came
    stage.clock.advance(10)
    assert await stage.session.apply([Digest(1, 1)])
    assert not await stage.session.apply([Digest(1, 1)])
    stage.clock.advance(10)
    assert await stage.session.apply([Digest(1, 1)])


async def test_an_emptied_registry_is_registered_with_again_and_wants_a_snapshot_at_once() -> None:
    stage = Stage()
    await stage.begin({G: 1})
    await stage.session.apply([EdgeLoad(connections=4, draining=True)])
    stage.registry.standing = Standing.MISSING
    assert await stage.session.apply([EdgeLoad(connections=4, draining=True)])
    assert stage.registry.sessions == 2
    assert stage.registry.loads[-1].draining  # else clients would be sent to an edge that drains
    [record] = stage.directory.edges()
    assert record.load.draining


async def test_a_registry_that_counts_other_groups_wants_a_snapshot() -> None:
    stage = Stage()
    await stage.begin({G: 1})
    stage.clock.advance(60)
    stage.registry.groups_held = 0
    assert await stage.session.apply([EdgeLoad()])


async def test_counts_are_not_compared_before_the_first_snapshot() -> None:
    stage = Stage()
    await stage.session.identify(INFO)
    stage.registry.groups_held = 5  # of the stream before
    assert not await stage.session.apply([EdgeLoad(), Digest(9, 9)])


async def test_a_superseded_stream_ends() -> None:
    stage = Stage()
    await stage.begin({})
    stage.registry.standing = Standing.SUPERSEDED
    with pytest.raises(ThrongError) as caught:
        await stage.session.apply([Delta({G: 1})])
    assert caught.value.code is ErrorCode.CONFLICT


async def test_writes_wait_for_the_registry_and_are_not_lost_i10() -> None:
    stage = Stage()
    await stage.begin({})
    stage.registry.failures = 3
    await stage.session.apply([Delta({G: 1})])
    assert stage.registry.put[-1][1] == {G: 1}
    assert stage.registry.calls.count("put_routes") == 4


async def test_good_bye_takes_the_edge_out() -> None:
    stage = Stage()
    await stage.begin({G: 1})
    await stage.session.good_bye()
    assert stage.directory.edges() == []
    assert stage.delivery.links == {}
    assert stage.registry.calls[-1] == "deregister"


async def test_good_bye_of_a_superseded_stream_changes_nothing() -> None:
    stage = Stage()
    await stage.begin({G: 1})
    stage.registry.standing = Standing.SUPERSEDED
    await stage.session.good_bye()
    assert len(stage.directory.edges()) == 1


async def test_orders_are_those_of_this_life_and_outlast_a_new_stream() -> None:
    stage = Stage()
    await stage.begin({})
    assert stage.session.orders() == NO_ORDERS
    orders = EdgeOrders(weight=5, drain_id=9, drain=True)
    stage.directory.apply(EdgeChanged(EdgeRecord(INFO, EdgeLoad(), 1, 0, 9.0, orders)))
    assert stage.session.orders() == orders
    await stage.session.identify(INFO)  # its own record says nothing of orders
    assert stage.session.orders() == orders
    await stage.session.identify(EdgeInfo(INFO.edge_id, INFO.incarnation + 1, INFO.address, INFO.public_url))
    assert stage.session.orders() == NO_ORDERS
