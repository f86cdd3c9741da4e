"""Interval and budget: what is refused costs nothing."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from group_fakes import GROUP, submission

from group_svc.core.budgets import Budgets
from group_svc.core.rate_limits import RateLimits
from group_svc.core.send_intervals import SendIntervals
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import GroupSettings, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind
from throng.testing.fake_clock import FakeClock

SLOW = GroupSettings(send_interval_ms=1_000, budget_per_second=0)


def at(clock: FakeClock, user: str, **fields):
    return submission(user, received_at_ms=clock.now_ms(), **fields)


def test_second_message_within_the_interval_is_refused_with_the_time_left() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    assert rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)
    clock.advance(0.4)
    with pytest.raises(ThrongError) as refused:
        rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retry_after_ms == 600
    assert rates.admit(at(clock, "bob"), SLOW, Role.MEMBER)


def test_a_refused_attempt_does_not_use_up_the_interval() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)
    for _ in range(9):
        clock.advance(0.1)
        with pytest.raises(ThrongError):
            rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)
    clock.advance(0.1)
    assert rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)


def test_a_repeat_of_the_last_message_is_free() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    first = at(clock, "ann")
    assert rates.admit(first, SLOW, Role.MEMBER)
    clock.advance(2)
    assert not rates.admit(first, SLOW, Role.MEMBER)
    assert rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)


def test_what_waited_in_the_uplink_keeps_its_distances() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    backlog = []
    for _ in range(5):
        backlog.append(at(clock, "ann"))
        clock.advance(1)
    assert all(rates.admit(one, SLOW, Role.MEMBER) for one in backlog)


def test_an_edge_whose_clock_is_behind_or_ahead_neither_locks_out_nor_lets_through() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    rates.admit(at(clock, "ann"), SLOW, Role.MEMBER)
    clock.advance(1)
    behind = dataclasses.replace(at(clock, "ann"), received_at_ms=clock.now_ms() - 60_000)
    assert rates.admit(behind, SLOW, Role.MEMBER)
    ahead = dataclasses.replace(at(clock, "ann"), received_at_ms=clock.now_ms() + 60_000)
    with pytest.raises(ThrongError):
        rates.admit(ahead, SLOW, Role.MEMBER)


def test_release_gives_interval_and_budget_back() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    settings = GroupSettings(send_interval_ms=1_000, budget_per_second=1)
    first = at(clock, "ann")
    rates.admit(first, settings, Role.MEMBER)
    rates.release(first, Role.MEMBER)
    assert rates.admit(at(clock, "ann"), settings, Role.MEMBER)


def test_budget_refuses_members_and_spares_moderators_and_the_unlimited() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    settings = GroupSettings(send_interval_ms=1_000, budget_per_second=2)
    rates.admit(at(clock, "a"), settings, Role.MEMBER)
    rates.admit(at(clock, "b"), settings, Role.MEMBER)
    with pytest.raises(ThrongError) as refused:
        rates.admit(at(clock, "c"), settings, Role.MEMBER)
    assert refused.value.code is ErrorCode.GROUP_BUSY
    assert refused.value.retry_after_ms == 500
    assert rates.admit(at(clock, "boss"), settings, Role.ADMINISTRATOR)
    with pytest.raises(ThrongError) as limited:
        rates.admit(at(clock, "boss"), settings, Role.ADMINISTRATOR)
    assert limited.value.code is ErrorCode.RATE_LIMITED
    assert not rates.admit(at(clock, "c", unlimited=True), settings, Role.MEMBER)
    assert not rates.admit(at(clock, "c", kind=MessageKind.RECALL), settings, Role.MEMBER)
    clock.advance(0.5)
    assert rates.admit(at(clock, "c"), settings, Role.MEMBER)


def test_the_high_lane_has_a_reserve_on_top_of_the_budget() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    settings = GroupSettings(send_interval_ms=0, budget_per_second=20)

    def admitted(lane: Lane) -> int:
        count = 0
        with contextlib.suppress(ThrongError):
            while rates.admit(at(clock, "ann"), settings, Role.MEMBER, lane):
                count += 1
        return count

    assert (admitted(Lane.NORMAL), admitted(Lane.HIGH), admitted(Lane.HIGH), admitted(Lane.NORMAL)) == (20, 5, 0, 0)
    clock.advance(1)
    assert (admitted(Lane.HIGH), admitted(Lane.NORMAL)) == (25, 0), "beyond the reserve they use what is there for all"


def test_a_backlog_that_came_in_within_the_budget_is_not_refused() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    settings = GroupSettings(send_interval_ms=0, budget_per_second=10)
    backlog = []
    for number in range(80):
        backlog.append(at(clock, f"u{number}"))
        clock.advance(0.1)
    assert all(rates.admit(one, settings, Role.MEMBER) for one in backlog)
    late = [at(clock, f"v{number}") for number in range(30)]
    refused = 0
    for one in late:
        try:
            rates.admit(one, settings, Role.MEMBER)
        except ThrongError:
            refused += 1
    assert refused >= 19, "and what comes now has no more than a second's worth"


def test_a_clock_that_is_far_behind_gets_a_bounded_burst() -> None:
    clock = FakeClock()
    budgets = Budgets()
    admitted = 0
    while not budgets.take(GROUP, per_second=10, now_seconds=clock.monotonic(), lag_seconds=3_600.0):
        admitted += 1
    assert admitted == 160


def test_slow_mode_does_not_slow_those_who_moderate() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    slow = GroupSettings(send_interval_ms=60_000, budget_per_second=0)
    for role in (Role.OWNER, Role.ADMINISTRATOR):
        assert rates.admit(at(clock, role.name), slow, role)
    assert rates.admit(at(clock, "ann"), slow, Role.MEMBER)
    clock.advance(1)
    for role in (Role.OWNER, Role.ADMINISTRATOR):
        assert rates.admit(at(clock, role.name), slow, role)
    with pytest.raises(ThrongError) as refused:
        rates.admit(at(clock, "ann"), slow, Role.MEMBER)
    assert refused.value.retry_after_ms == 59_000


def test_zero_means_no_limit() -> None:
    clock = FakeClock()
    rates = RateLimits(clock)
    free = GroupSettings(send_interval_ms=0, budget_per_second=0)
    assert all(rates.admit(at(clock, "ann"), free, Role.MEMBER) for _ in range(1_000))


def test_memory_is_bounded_i8() -> None:
    intervals = SendIntervals(max_entries=10)
    budgets = Budgets(max_groups=10)
    for number in range(100):
        user = UserId(f"u{number}")
        intervals.accept(GROUP, user, "id", interval_ms=1, received_at_ms=number, checked_at_ms=number)
        budgets.take(GroupId(f"g{number}"), per_second=5, now_seconds=float(number))
    assert len(intervals) == 10
    assert len(budgets) == 10
