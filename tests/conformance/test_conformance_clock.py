"""`Clock`: what stands in its docstring, on every adapter."""

from __future__ import annotations


def test_the_time_of_day_is_whole_milliseconds_of_this_century(clock):
    now_ms = clock.now_ms()
    assert isinstance(now_ms, int)
    assert 946_684_800_000 < now_ms < 4_102_444_800_000


def test_monotonic_never_goes_back(clock):
    readings = [clock.monotonic() for _ in range(1_000)]
    assert readings == sorted(readings)
    assert isinstance(readings[0], float)
