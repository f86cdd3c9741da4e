"""Rebuilding windows: one flight per group, results for all who wait, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from groups_model import GroupsModel
from prometheus_client import CollectorRegistry

from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId
from throng.domain.message import Position
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import CountablePage, CountableQuery, Observation, Observed, WindowView
from unread_svc.rebuild import WindowRebuilder

G, H = GroupId("g"), GroupId("h")


class WindowAway:
    """An `UnreadWindow` that always fails."""

    def observe(self, observations: Sequence[Observation]) -> list[Observed]:
        raise unavailable("away")

    def install(self, group_id: GroupId, view: WindowView) -> bool:
        raise unavailable("away")

    def read(self, wanted: Sequence[tuple[GroupId, int]]) -> list[WindowView | None]:
        raise unavailable("away")

    def close(self) -> None:
        pass


class HeldGroups(GroupsModel):
    """Answers only once `release` is set; tells by `asked` that a call is waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Semaphore(0)
        self.release = threading.Event()

    def countable(self, queries: Sequence[CountableQuery]) -> list[CountablePage | ThrongError]:
        pages = super().countable(queries)
        self.asked.release()
        assert self.release.wait(10)
        return pages


class Joined:
    """Waits until somebody has joined a flight."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def number(self) -> float:
        return self._registry.get_sample_value("throng_unread_rebuilds_joined_total") or 0


def rebuilder(model: GroupsModel, registry: CollectorRegistry, *, wait_seconds: float = 10) -> WindowRebuilder:
    metrics = UnreadMetrics(registry)
    return WindowRebuilder(model, BestEffortWindow(WindowAway(), metrics), metrics, wait_seconds=wait_seconds)


def test_a_rebuilt_window_serves_although_redis_is_away() -> None:
    """I10"""
    model = GroupsModel()
    model.send("g", "ann", 2)
    views = rebuilder(model, CollectorRegistry()).rebuild({G: Position(1, 2)})
    assert [entry.seq for entry in views[G].entries] == [1, 2]


def test_many_who_ask_at_once_make_one_call() -> None:
    model, registry = HeldGroups(), CollectorRegistry()
    model.send("g", "ann")
    subject = rebuilder(model, registry)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(subject.rebuild, {G: Position(1, 1)})
        assert model.asked.acquire(timeout=10)
        others = [pool.submit(subject.rebuild, {G: Position(1, 1)}) for _ in range(7)]
        joined = Joined(registry)
        deadline = threading.Event()
        while joined.number() < 7:
            assert not deadline.wait(0.005)
        model.release.set()
        assert [call.result(10)[G].head_seq for call in [first, *others]] == [1] * 8
    assert model.calls["countable"] == 1


def test_a_flight_that_left_before_the_wanted_head_is_followed_by_another() -> None:
    model, registry = HeldGroups(), CollectorRegistry()
    model.send("g", "ann")
    subject = rebuilder(model, registry)
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(subject.rebuild, {G: Position(1, 1)})
        assert model.asked.acquire(timeout=10)
        model.send("g", "ann")
        late = pool.submit(subject.rebuild, {G: Position(1, 2)})
        joined = Joined(registry)
        deadline = threading.Event()
        while joined.number() < 1:
            assert not deadline.wait(0.005)
        model.release.set()
        assert early.result(10)[G].head_seq == 1
        assert late.result(10)[G].head_seq == 2
    assert model.calls["countable"] == 2


def test_a_failure_reaches_everybody_and_the_next_one_flies_again() -> None:
    model = GroupsModel()
    model.send("g", "ann")
    subject = rebuilder(model, CollectorRegistry())
    model.away = True
    for _ in range(2):
        with pytest.raises(ThrongError) as raised:
            subject.rebuild({G: Position(1, 1)})
        assert raised.value.code is ErrorCode.UNAVAILABLE
    model.away = False
    assert subject.rebuild({G: Position(1, 1)})[G].head_seq == 1


def test_a_group_that_is_gone_is_left_out() -> None:
    model = GroupsModel()
    model.send("g", "ann")
    assert set(rebuilder(model, CollectorRegistry()).rebuild({G: Position(1, 1), H: Position(1, 1)})) == {G}


def test_whoever_waits_too_long_is_told_so() -> None:
    model = HeldGroups()
    model.send("g", "ann")
    subject = rebuilder(model, CollectorRegistry(), wait_seconds=0.01)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(subject.rebuild, {G: Position(1, 1)})
        assert model.asked.acquire(timeout=10)
        with pytest.raises(ThrongError) as raised:
            subject.rebuild({G: Position(1, 1)})
        assert raised.value.code is ErrorCode.UNAVAILABLE
        model.release.set()
        leader.result(10)
