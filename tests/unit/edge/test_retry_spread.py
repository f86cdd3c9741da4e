"""Clients that were refused together do not come back together."""

from __future__ import annotations

import random

from edge.core.retry_spread import LONGEST_SPREAD_MS, SPREAD_MS_EACH, RetrySpread
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.testing.fake_clock import FakeClock


def spread() -> tuple[RetrySpread, FakeClock]:
    clock = FakeClock()
    return RetrySpread(clock, random.Random(7)), clock


def test_a_lone_refusal_keeps_its_time() -> None:
    retries, clock = spread()
    for _ in range(5):
        assert retries.retry_after_ms(unavailable("away")) == 1_000
        clock.advance(2.5)


def test_of_many_each_gets_a_time_of_its_own_and_none_a_shorter_one() -> None:
    retries, _ = spread()
    told = [retries.retry_after_ms(unavailable("full")) for _ in range(5_000)]
    assert min(told) >= 1_000
    assert max(told) <= 1_000 + 5_000 * SPREAD_MS_EACH
    busiest = max(sum(1 for one in told if start <= one < start + 1_000) for start in range(1_000, 11_000, 1_000))
    assert busiest < 2_000
    assert max(told) > 8_000


def test_the_next_second_remembers_the_one_before_and_no_more() -> None:
    retries, clock = spread()
    for _ in range(1_000):
        retries.retry_after_ms(unavailable("full"))
    clock.advance(1.1)
    assert max(retries.retry_after_ms(unavailable("full")) for _ in range(50)) > 1_500
    clock.advance(2.1)
    assert retries.retry_after_ms(unavailable("full")) == 1_000


def test_the_spread_has_an_end() -> None:
    retries, _ = spread()
    assert max(retries.retry_after_ms(unavailable("full")) for _ in range(40_000)) <= 1_000 + LONGEST_SPREAD_MS


def test_refusals_for_another_reason_stay_as_they_are() -> None:
    retries, _ = spread()
    limited = ThrongError(ErrorCode.RATE_LIMITED, "too fast", retry_after_ms=70)
    assert [retries.retry_after_ms(limited) for _ in range(100)] == [70] * 100
    assert retries.retry_after_ms(unavailable("away")) == 1_000
