"""Who is told how many are online: what changed, once, by the replica to which the edge reports."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from router_fakes import CatchingDelivery, ScriptedRegistry

from router_svc.core import online_counts
from router_svc.core.directory import DirectoryPolicy, RouteDirectory
from router_svc.core.online_counts import OnlineCounts
from router_svc.core.report_session import Delta, ReportPolicy, ReportSession, Snapshot
from router_svc.metrics import RouterMetrics
from router_svc.ports import EdgeChanged, EdgeGone, EdgeInfo, EdgeLoad, EdgeRecord, Route, RoutesChanged, WatchStarted
from throng.domain.errors import unavailable
from throng.domain.ids import EdgeId, GroupId
from throng.testing.fake_clock import FakeClock

pytestmark = pytest.mark.asyncio
HERE, THERE = EdgeId("here"), EdgeId("there")
G, H = GroupId("g"), GroupId("h")


class Stage:
    """`HERE` reports to this replica; `THERE`, with 5 connections in G, to another."""

    def __init__(self) -> None:
        self.registry = ScriptedRegistry()
        self.clock = FakeClock()
        self.delivery = CatchingDelivery()
        self.metrics = RouterMetrics(CollectorRegistry())
        self.directory = RouteDirectory(self.registry, self.delivery, self.clock, self.metrics, DirectoryPolicy())
        self.online = OnlineCounts(self.directory, self.delivery, self.metrics)
        self.directory.apply(WatchStarted())
        there = EdgeInfo(THERE, 1, "127.0.0.1:2", "ws://there")
        self.directory.apply(EdgeChanged(EdgeRecord(there, EdgeLoad(), 1, 0, 9.0)))
        self.registry.routes = {G: [Route(THERE, 1, 1, 5)]}
        self.session = self.report()

    def report(self) -> ReportSession:
        policy = ReportPolicy(retry_seconds=0.0)
        return ReportSession(self.registry, self.directory, self.online, self.clock, self.metrics, policy)

    async def begin(self, counts: dict[GroupId, int]) -> None:
        await self.session.identify(EdgeInfo(HERE, 7, "127.0.0.1:1", "ws://here"))
        await self.session.apply([Snapshot(counts, complete=True)])
        version, _ = self.registry.put[-1]
        for group_id, connections in counts.items():
            others = [route for route in self.registry.routes.get(group_id, []) if route.edge_id != HERE]
            self.registry.routes[group_id] = [Route(HERE, 7, version, connections), *others]

    async def told(self) -> list[dict[GroupId, int]]:
        await self.online.tell()
        return self.delivery.online.pop(HERE, [])

    def elsewhere(self, version: int, **counts: Any) -> None:
        self.directory.apply(RoutesChanged(THERE, 1, version, {GroupId(name): count for name, count in counts.items()}))


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_an_edge_is_told_the_sum_of_its_groups_in_one_event_and_then_what_changed(stage: Stage) -> None:
    await stage.begin({G: 3, H: 1})
    assert await stage.told() == [{G: 8, H: 1}]
    assert await stage.told() == []
    stage.elsewhere(2, g=6, unheld=4)
    stage.elsewhere(3, g=9)
    assert await stage.told() == [{G: 12}]
    stage.elsewhere(4, g=9)
    assert await stage.told() == []
    assert THERE not in stage.delivery.online, "its own replica tells it"


async def test_a_change_costs_nothing_where_no_edge_that_reports_here_holds_the_group(stage: Stage) -> None:
    stage.elsewhere(2, g=6)
    await stage.online.tell()
    assert "read_routes" not in stage.registry.calls


async def test_a_group_that_was_dropped_and_taken_up_again_is_told_again(stage: Stage) -> None:
    await stage.begin({G: 3})
    await stage.told()
    await stage.session.apply([Delta({G: 0})])
    stage.elsewhere(2, g=8)
    assert await stage.told() == [], "it does not hold the group"
    await stage.session.apply([Delta({G: 3})])
    stage.elsewhere(3, g=5)
    assert await stage.told() == [{G: 8}], "the same sum as before, to a room that is new"


async def test_counts_of_an_edge_that_is_gone_go_with_it(stage: Stage) -> None:
    await stage.begin({G: 3})
    await stage.told()
    stage.directory.apply(EdgeGone(THERE, 1))
    assert await stage.told() == [{G: 3}]


async def test_what_could_not_be_told_is_told_later_as_it_is_then(stage: Stage) -> None:
    await stage.begin({G: 3})
    stage.delivery.busy.add(HERE)
    assert await stage.told() == []
    stage.elsewhere(2, g=7)
    stage.delivery.busy.clear()
    assert await stage.told() == [{G: 10}]


async def test_nothing_is_said_while_the_table_may_be_old_and_all_is_compared_afterwards(stage: Stage) -> None:
    await stage.begin({G: 3, H: 1})
    await stage.told()
    stage.directory._lose(unavailable("broken"))
    stage.registry.routes[G] = [stage.registry.routes[G][0], Route(THERE, 1, 9, 1)]
    assert await stage.told() == []
    stage.directory.apply(WatchStarted())
    assert await stage.told() == [{G: 4}], "H is as it was"


async def test_a_registry_that_does_not_answer_is_asked_again(stage: Stage) -> None:
    await stage.begin({G: 3})
    stage.registry.failures = 1
    assert await stage.told() == []
    stage.clock.advance(1)
    assert await stage.told() == [{G: 8}]


async def test_an_edge_whose_stream_ended_is_told_by_the_replica_that_has_the_next_one(stage: Stage) -> None:
    await stage.begin({G: 3})
    former = stage.session
    stage.session = stage.report()
    await stage.begin({G: 3})
    former.end()
    assert await stage.told() == [{G: 8}], "the end of the former stream does not end the one that came after"
    stage.session.end()
    stage.elsewhere(2, g=6)
    assert await stage.told() == []


async def test_very_many_groups_are_told_in_turns(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_counts, "GROUPS_PER_TURN", 20)
    monkeypatch.setattr(online_counts, "GROUPS_PER_EVENT", 8)
    names = [GroupId(f"g{number}") for number in range(50)]
    await stage.begin(dict.fromkeys(names, 2))
    told: dict[GroupId, int] = {}
    for _ in range(8):
        for event in await stage.told():
            assert len(event) <= 8
            told |= event
    assert told == dict.fromkeys(names, 2)


async def test_operators_see_the_biggest_groups_and_only_these(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_counts, "BIGGEST", 2)

    def shown() -> dict[str, float]:
        (family,) = stage.metrics.biggest.collect()
        return {sample.labels["group_id"]: sample.value for sample in family.samples}

    await stage.begin({G: 30, H: 9, GroupId("i"): 20, GroupId("j"): 10})
    await stage.told()
    assert shown() == {"g": 35, "i": 20}
    await stage.session.apply([Delta({GroupId("i"): 0})])
    await stage.told()
    assert shown() == {"g": 35, "j": 10}
    await stage.session.apply([Delta({GroupId("j"): 9})])
    await stage.told()
    assert shown() == {"g": 35}
    stage.session.end()
    assert shown() == {}
