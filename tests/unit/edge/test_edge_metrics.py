"""Metrics of the edge: names, close reasons, the lag that routers are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from edge.core.hub_counters import HubCounters
from edge.core.session_counters import SessionCounters
from edge.door import HubDoor
from edge.load import CpuShare
from edge.metrics import CountedParts, EdgeMetrics, PartsCollector, Registration
from throng.testing.fake_clock import FakeClock


def parts(hub: HubCounters, sessions: SessionCounters) -> CountedParts:
    return CountedParts(
        hub=hub,
        sessions=sessions,
        calls_under_way=lambda: 3,
        calls_refused=lambda: 2,
        requests_shed=lambda: 7,
        waiting_events=lambda: 1,
        uplink_records=lambda: 4,
        answers_waiting=lambda: 6,
        router_connected=lambda: True,
        router_reconnects=lambda: 0,
        rooms_by_size=lambda: {"<=1": 5},
    )


def test_every_metric_is_named_by_the_rule_and_says_what_it_is() -> None:
    registry = CollectorRegistry()
    EdgeMetrics(registry, clock=FakeClock())
    registry.register(PartsCollector(parts(HubCounters(), SessionCounters())))
    families = list(registry.collect())
    assert len(families) > 40
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"throng_edge_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")


def test_counts_are_read_when_they_are_scraped() -> None:
    registry, hub, sessions = CollectorRegistry(), HubCounters(), SessionCounters()
    Registration(registry, PartsCollector(parts(hub, sessions)))
    hub.closed = {1006: 2, 4008: 1, 4999: 1}
    hub.sent_bytes = 77
    sessions.submissions = {"acked": 5, "RATE_LIMITED": 1}
    text = generate_latest(registry).decode()
    assert 'throng_edge_closes_total{code="1006",reason="vanished"} 2.0' in text
    assert 'throng_edge_closes_total{code="4008",reason="too_slow"} 1.0' in text
    assert 'throng_edge_closes_total{code="4999",reason="other"} 1.0' in text
    assert "throng_edge_sent_bytes_total 77.0" in text
    assert 'throng_edge_submissions_total{outcome="rate_limited"} 1.0' in text
    assert 'throng_edge_rooms{size="<=1"} 5.0' in text


def test_times_to_an_ack_are_added_up_by_bound() -> None:
    registry, sessions = CollectorRegistry(), SessionCounters()
    Registration(registry, PartsCollector(parts(HubCounters(), sessions)))
    for seconds in (0.01, 0.011, 0.2, 70.0):
        sessions.ack_seconds.observe(seconds)
    text = generate_latest(registry).decode()
    found = {
        bound: registry.get_sample_value("throng_edge_submit_to_ack_seconds_bucket", {"le": bound})
        for bound in ("0.01", "0.025", "0.25", "10.0", "+Inf")
    }
    assert found == {"0.01": 1.0, "0.025": 2.0, "0.25": 3.0, "10.0": 3.0, "+Inf": 4.0}
    assert "throng_edge_submit_to_ack_seconds_count 4.0" in text
    assert registry.get_sample_value("throng_edge_submit_to_ack_seconds_sum") == 0.01 + 0.011 + 0.2 + 70.0


def test_a_registration_ends_once() -> None:
    registry = CollectorRegistry()
    registration = Registration(registry, PartsCollector(parts(HubCounters(), SessionCounters())))
    registration.end()
    registration.end()
    assert list(registry.collect()) == []


def test_the_lag_is_a_percentile_of_the_last_seconds() -> None:
    clock = FakeClock()
    metrics = EdgeMetrics(CollectorRegistry(), clock=clock)
    assert metrics.fan_out_lag_ms() == 0
    for _ in range(200):
        metrics.fan_out_done(clock.now_ms() - 20)
    metrics.fan_out_done(clock.now_ms() - 9_000)
    assert metrics.fan_out_lag_ms() == 20
    for _ in range(3):
        metrics.fan_out_done(clock.now_ms() - 9_000)
    assert metrics.fan_out_lag_ms() == 9_000
    clock.advance(6)
    assert metrics.fan_out_lag_ms() == 0


def test_clocks_that_differ_give_no_negative_lag() -> None:
    clock = FakeClock()
    metrics = EdgeMetrics(CollectorRegistry(), clock=clock)
    metrics.fan_out_done(clock.now_ms() + 5_000)
    assert metrics.fan_out_lag_ms() == 0


def test_the_cpu_share_is_of_one_core() -> None:
    clock, used = FakeClock(), [0.0]
    share = CpuShare(clock=clock, cpu_seconds=lambda: used[0])
    clock.advance(2)
    used[0] = 0.5
    assert share.take() == 0.25
    clock.advance(1)
    used[0] = 5.0
    assert share.take() == 1.0
    assert share.take() == 0.0


def test_a_thread_that_is_held_up_shows_in_the_loop_delay() -> None:
    """What is late is what was asked for, not what the timer before it cost."""
    loop, delays = TimerLoop(), list[float]()
    door = HubDoor(lambda door: NoHub(), lambda hub: NoHub(), delayed=delays.append)  # type: ignore[arg-type,return-value]
    door.start(loop)  # type: ignore[arg-type]
    loop.ring(late_seconds=0.0)
    loop.ring(late_seconds=0.7)
    loop.ring(late_seconds=0.0)
    assert [round(delay, 6) for delay in delays] == [0.0, 0.0, 0.7, 0.0]
    registry = CollectorRegistry()
    metrics = EdgeMetrics(registry, clock=FakeClock())
    for delay in delays:
        metrics.loop_delayed(delay)
    assert registry.get_sample_value("throng_edge_loop_delay_seconds_bucket", {"le": "0.5"}) == 3
    assert registry.get_sample_value("throng_edge_loop_delay_seconds_count") == 4


class TimerLoop:
    """A loop with one timer."""

    def __init__(self) -> None:
        self.now = 5.0
        self.timer: tuple[float, Callable[..., None], tuple[Any, ...]] = (0.0, print, ())

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> None:
        self.timer = (when, callback, arguments)

    def ring(self, *, late_seconds: float) -> None:
        when, callback, arguments = self.timer
        self.now = when + late_seconds
        callback(*arguments)


class NoHub:
    """Takes what a door gives a hub and sessions."""

    def attach(self, loop: Any) -> None:
        pass

    def tick(self) -> None:
        pass

    def depart(self) -> bool:
        return False
