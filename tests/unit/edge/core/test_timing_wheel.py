"""The heartbeat wheel: every slot once per turn, however late the tick."""

from __future__ import annotations

from edge.core.timing_wheel import TimingWheel


def test_each_slot_comes_once_per_interval():
    wheel = TimingWheel(interval_seconds=30.0, tick_seconds=0.25, now=100.0)
    assert wheel.slots == 120
    visited = [slot for step in range(1, 121) for slot in wheel.due(100.0 + step * 0.25)]
    assert sorted(visited) == list(range(120))
    assert wheel.due(130.1) == []


def test_a_late_tick_catches_up_but_visits_nobody_twice():
    wheel = TimingWheel(interval_seconds=3.0, tick_seconds=1.0, now=0.0)
    assert wheel.due(2.0) == [0, 1]
    assert sorted(wheel.due(1_000.0)) == [0, 1, 2]
    assert wheel.due(1_000.5) == []
    assert len(wheel.due(1_001.0)) == 1


def test_an_interval_below_the_tick_still_turns():
    assert TimingWheel(interval_seconds=0.1, tick_seconds=1.0, now=0.0).due(0.1) == [0]
