"""Scenarios of `throng bench` against a server that keeps the protocol and fails what the scenario demands."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import pytest
from lying_throng import LyingThrong

from throng.bench import BenchPlan, BenchReport, BenchRun, Scenario, Verdict
from throng.bench.scenarios import PRESETS

RECONNECT = {"scenario": Scenario.STORM_RECONNECT, "cut_share": 1.0, "seconds": 4.0}
RUNS: dict[str, tuple[str, dict[str, object]]] = {
    "idle": ("drops-one", {"scenario": Scenario.IDLE, "senders": 0, "rate": 0.0}),
    "fan-out": ("held-up", {"scenario": Scenario.FAN_OUT, "block_interval_ms": 100}),
    "storm-send": ("no-time", {"scenario": Scenario.STORM_SEND, "max_attempts": 1}),
    "storm-pull": ("honest", {"scenario": Scenario.STORM_PULL}),
    "churn": ("drops-one", {"scenario": Scenario.CHURN, "churn_per_second": 4.0}),
    "slow-readers": (
        "held-up",
        {"scenario": Scenario.SLOW_READERS, "slow_share": 0.25, "stall_seconds": 2.0, "seconds": 4.0, "rate": 3.0},
    ),
    "door open": ("honest", RECONNECT),
    "door shut": ("honest", RECONNECT | {"settle_seconds": 0.5}),
}
"""Group, which names the lie, and options, by name; all at the same time, with a server each."""


def plan_for(throng: LyingThrong, secret: pathlib.Path, group: str, **options: object) -> BenchPlan:
    target = {"urls": (throng.url,), "group_address": throng.group_address, "jwt_secret_file": secret, "group_ids": (group,)}
    small = {"receivers": 4, "senders": 2, "rate": 20.0, "seconds": 1.0, "settle_seconds": 3.0}
    return BenchPlan(**target | small | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("bench") / "secret"
    path.write_text("0" * 64)
    return path


@pytest.fixture(scope="module")
def reports(secret: pathlib.Path) -> Iterator[dict[str, BenchReport]]:
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, (group, options) in RUNS.items():
            throng = stack.enter_context(LyingThrong())
            throng.most_connections = 6 if name == "door shut" else 1_000
            runs[name] = stack.enter_context(BenchRun(plan_for(throng, secret, group, **options)))
        yield {name: running.wait(90) for name, running in runs.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("idle", "was lost"),
        ("fan-out", "the last receiver has it after"),
        ("storm-send", "says why and when to come back"),
        ("storm-pull", "had to pull"),
        ("churn", "nobody else lost a connection"),
        ("slow-readers", "the others are not held up"),
    ],
)
def test_a_demand_that_is_not_met_is_told(reports: dict[str, BenchReport], name: str, text: str) -> None:
    """A machine that was busy makes a demand on time no verdict, but it is told all the same."""
    report = reports[name]
    assert report.verdict in (Verdict.DEMAND_NOT_MET, Verdict.LOAD_CLIENT_SATURATED), report.summary()
    assert any(text in demand.text for demand in report.scenario.demands if not demand.met), report.summary()
    assert report.counts == {}


def test_those_cut_off_come_back(reports: dict[str, BenchReport]) -> None:
    report = reports["door open"]
    assert report.verdict in (Verdict.PASSED, Verdict.LOAD_CLIENT_SATURATED), report.summary()
    assert [demand.met for demand in report.scenario.demands] == [True, True]
    assert report.connections.receiver_reconnects == 4


def test_those_who_find_the_door_shut_are_told(reports: dict[str, BenchReport]) -> None:
    report = reports["door shut"]
    assert report.verdict is Verdict.SERVER_UNREACHABLE, report.summary()
    assert report.scenario.demands == []


def test_each_can_be_ended_early(secret: pathlib.Path) -> None:
    with LyingThrong() as throng, contextlib.ExitStack() as stack:
        runs = []
        for scenario in Scenario:
            options = PRESETS[scenario].options
            small = {"groups": 1, "workers": 1, "receivers": 4, "senders": min(2, options.get("senders", 2))}
            plan = plan_for(throng, secret, f"honest-{scenario}", **options | small | {"scenario": scenario})
            runs.append(stack.enter_context(BenchRun(plan)))
        for running in runs:
            assert running.wait_sending(60)
            running.abort()
        for running in runs:
            report = running.wait(60)
            assert report.verdict is Verdict.ABORTED, report.summary()
            assert report.scenario.demands == []
