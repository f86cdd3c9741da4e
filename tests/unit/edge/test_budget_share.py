"""A share of a group's budget: used up in a storm and never exceeded, by whom comes first or by lot, with a reserve for HIGH."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.budget_share import LEAST_TOKENS, BudgetShare


def accepted_of_share(share: float, times: float, *, by_lot: bool) -> float:
    """Messages let in, as a part of the share, while it is offered so many times over at random moments."""
    source, budget = random.Random(5), BudgetShare(0.0)
    warm, seconds = max(20.0, 60 / share), max(60.0, 600 / share)
    now, admitted = 0.0, 0
    while now < warm + seconds:
        now += source.expovariate(share * times)
        let_in = budget.sample(share, now, source) if by_lot else budget.take(share, now)
        admitted += let_in and now > warm
    return admitted / seconds / share


@pytest.mark.parametrize("by_lot", [False, True])
@pytest.mark.parametrize("share", [0.2, 5.0, 40.0])
@pytest.mark.parametrize("times", [2.0, 10.0, 100.0])
def test_a_storm_uses_the_share_up_whatever_is_offered(share: float, times: float, *, by_lot: bool) -> None:
    assert accepted_of_share(share, times, by_lot=by_lot) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("by_lot", [False, True])
def test_below_the_share_nearly_all_is_let_in(*, by_lot: bool) -> None:
    assert accepted_of_share(40.0, 0.5, by_lot=by_lot) == pytest.approx(0.5, abs=0.06)


def test_the_lot_gives_late_ones_of_a_burst_their_chance_and_first_come_does_not() -> None:
    def late_winners(*, by_lot: bool) -> float:
        source, budget = random.Random(3), BudgetShare(0.0)
        early = late = 0
        for second in range(1, 61):
            for place in range(1_000):
                let_in = budget.sample(20.0, float(second), source) if by_lot else budget.take(20.0, float(second))
                if second > 10:
                    early += let_in and place < 500
                    late += let_in and place >= 500
        return late / (early + late)

    assert late_winners(by_lot=False) == 0.0
    assert late_winners(by_lot=True) > 0.1


steps = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.sampled_from(["take", "sample", "high"]), st.floats(0.01, 50.0)), min_size=1, max_size=200
)


@given(steps=steps)
def test_no_schedule_and_no_change_of_shares_lets_more_in_than_was_given_out(steps: list[tuple[float, str, float]]) -> None:
    source, budget = random.Random(1), BudgetShare(0.0)
    now, allowed, largest, admitted = 0.0, 0.0, 0.0, 0
    for wait, how, share in steps:
        now += wait
        allowed += wait * share * 1.25
        largest = max(largest, share)
        if how == "high":
            admitted += budget.take_high(share, now)
        elif how == "sample":
            admitted += budget.sample(share, now, source)
        else:
            admitted += budget.take(share, now)
    assert admitted <= allowed + 2 * max(LEAST_TOKENS, largest) + 1e-6


def test_high_has_a_reserve_when_the_share_is_used_up_and_then_what_is_left_for_all() -> None:
    budget = BudgetShare(0.0)
    assert sum(budget.take(40.0, 1.0) for _ in range(1_000)) == 40
    assert sum(budget.take_high(40.0, 1.0) for _ in range(100)) == 10
    fresh = BudgetShare(0.0)
    assert sum(fresh.take_high(40.0, 1.0) for _ in range(100)) == 50
    assert not fresh.take(40.0, 1.0)


def test_the_overload_is_what_is_offered_over_the_share_and_is_soon_forgotten() -> None:
    budget = BudgetShare(0.0)
    for step in range(20_000):
        budget.take(20.0, step / 2_000)
    assert budget.overload(20.0, 10.0) == pytest.approx(100.0, rel=0.05)
    assert budget.overload(20.0, 16.0) == 1.0


def test_a_clock_that_stands_still_or_steps_back_fills_nothing() -> None:
    budget = BudgetShare(10.0)
    assert sum(budget.take(5.0, 10.0) for _ in range(100)) == 5
    assert not budget.take(5.0, 9.0)
    assert budget.take(5.0, 10.25)
