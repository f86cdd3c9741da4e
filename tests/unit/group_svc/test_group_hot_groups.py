"""Hot groups are recognised by their rate, and forgotten when they fall silent."""

from __future__ import annotations

from group_svc.core.hot_groups import WINDOW_SECONDS, HotGroups
from throng.domain.ids import GroupId
from throng.testing.fake_clock import FakeClock

HOT, WARM, COLD = GroupId("hot"), GroupId("warm"), GroupId("cold")


def test_hot_ones_are_told_once_when_they_become_hot() -> None:
    clock = FakeClock()
    groups = HotGroups(clock, hot_per_second=10.0)
    assert groups.note([HOT] * 100 + [WARM] * 49 + [COLD]) == []
    assert groups.rates() == []
    clock.advance(WINDOW_SECONDS)
    assert groups.note([HOT] * 60 + [WARM] * 60) == [HOT]
    assert groups.rates() == [(HOT, 20.0)]
    clock.advance(WINDOW_SECONDS)
    assert groups.note([COLD]) == [WARM]
    assert groups.rates() == [(HOT, 12.0), (WARM, 12.0)]


def test_who_falls_silent_is_forgotten_without_another_message() -> None:
    clock = FakeClock()
    groups = HotGroups(clock, hot_per_second=10.0)
    groups.note([HOT] * 100)
    clock.advance(WINDOW_SECONDS)
    assert groups.rates() == [(HOT, 20.0)]
    clock.advance(WINDOW_SECONDS)
    assert groups.rates() == []


def test_a_burst_before_a_long_silence_is_not_hot_after_it() -> None:
    clock = FakeClock()
    groups = HotGroups(clock, hot_per_second=10.0)
    groups.note([HOT] * 1_000)
    clock.advance(2 * WINDOW_SECONDS)
    assert groups.note([HOT]) == []
    assert groups.rates() == []
