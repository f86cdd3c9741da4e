"""Metrics of the edge: names, close reasons, the lag that routers are told."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, generate_latest

from edge.core.hub_counters import HubCounters
from edge.core.session_counters import SessionCounters
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
