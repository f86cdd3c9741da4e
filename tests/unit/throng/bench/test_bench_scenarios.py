"""Scenarios: their options can be run, what they do to clients follows from the plan, and every demand can fail."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import pytest

from throng.bench.demands import judge_scenario
from throng.bench.disturbances import Disturbances
from throng.bench.facts import Facts
from throng.bench.latencies import Percentiles
from throng.bench.plan import BenchPlan, DeliveryMode
from throng.bench.report import BenchEvent, Connections, Latency, Messages, ScenarioResult, Verdict
from throng.bench.scenarios import PRESETS, Scenario
from throng.bench.schedule import Schedule
from throng.bench.script import script
from throng.bench.series import Slot
from throng.bench.server_processes import Sample, ServerProcesses
from throng.bench.shares import Cut, Resume, Stall
from throng.domain.errors import ThrongError

S = 1_000_000_000
MS = 1_000_000


def plan_of(scenario: Scenario, **options: object) -> BenchPlan:
    preset = PRESETS[scenario].options
    delivery = {"delivery": DeliveryMode(preset["delivery"])} if "delivery" in preset else {}
    target = {"urls": ("ws://127.0.0.1:1",), "group_address": "127.0.0.1:2", "jwt_secret_file": pathlib.Path("key")}
    return BenchPlan(**target | preset | delivery | {"scenario": scenario} | options)


@pytest.mark.parametrize("scenario", list(Scenario))
def test_every_preset_is_a_plan_that_can_be_run(scenario: Scenario) -> None:
    plan = plan_of(scenario)
    plan.check()
    assert all(0 <= act.at_seconds < plan.seconds for act in script(plan))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cut_share": 1.1},
        {"slow_share": -0.1},
        {"slow_share": 0.1, "stall_seconds": 8.0},
        {"repeat_seconds": 11.0},
        {"rate_steps": (1.0, -1.0)},
        {"rate": 200_000.0, "rate_steps": (1.0, 3.0)},
        {"churn_per_second": -1.0},
        {"budget_per_second": 2_000_000},
    ],
)
def test_what_cannot_be_run_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ThrongError):
        plan_of(Scenario.DELIVERY, **wrong).check()


def test_a_schedule_of_one_rate() -> None:
    schedule = Schedule(10 * S, 12 * S, 2.0)
    assert [schedule.due_ns(number) for number in range(5)] == [10 * S, 10 * S + S // 2, 11 * S, 11 * S + S // 2, None]


def test_a_schedule_that_grows_in_steps() -> None:
    schedule = Schedule(0, 4 * S, 1.0, (1.0, 0.0, 2.0, 4.0))
    times = [schedule.due_ns(number) for number in range(8)]
    assert times == [0, 2 * S, 2 * S + S // 2, 3 * S, 3 * S + S // 4, 3 * S + S // 2, 3 * S + 3 * S // 4, None]


def test_cuts_and_stalls_come_again_in_each_period() -> None:
    plan = plan_of(Scenario.DELIVERY, seconds=45.0, repeat_seconds=20.0, cut_share=0.5, slow_share=0.1, stall_seconds=2.0)
    assert [(act.at_seconds, act.command) for act in script(plan)] == [
        (5.0, Stall()),
        (7.0, Resume()),
        (10.0, Cut(0.5)),
        (25.0, Stall()),
        (27.0, Resume()),
        (30.0, Cut(0.5)),
    ]


class Client:
    """A receiver that notes what is done to it."""

    def __init__(self, *, slow: bool = False, online: bool = True) -> None:
        self.receiver = self
        self.slow, self.online, self.stalled = slow, online, False
        self.wire: object | None = object() if online else None
        self.did: list[str] = []

    def cut(self) -> None:
        self.did.append("cut")

    def stall(self) -> bool:
        self.stalled = True
        return True

    def resume(self) -> None:
        self.stalled = False

    def leave(self, away_seconds: float) -> None:
        self.did.append("left")
        self.online = False


def disturbances(clients: Sequence[Client], churn: float = 0.0) -> Disturbances:
    return Disturbances(clients, clients, churn_per_second=churn)  # type: ignore[arg-type]


def test_only_slow_receivers_stop_reading() -> None:
    clients = [Client(slow=number == 1) for number in range(3)]
    done = disturbances(clients)
    done.act(Stall())
    assert [client.stalled for client in clients] == [False, True, False]
    done.act(Resume())
    assert not any(client.stalled for client in clients)
    assert done.stalled == 1


def test_a_share_of_those_connected_is_cut() -> None:
    clients = [Client(online=number < 6) for number in range(8)]
    done = disturbances(clients)
    done.act(Cut(0.5))
    assert done.cut == sum(client.did == ["cut"] for client in clients) == 3
    assert not clients[6].did


def test_churn_owes_who_cannot_leave_yet() -> None:
    clients = [Client(), Client(online=False)]
    done = disturbances(clients, churn=40.0)
    done.churn(0.05)
    assert done.left == 1
    clients[1].online = True
    done.churn(0.0)
    assert done.left == 2


# Demands ----------------------------------------------------------------------------------------------------------------------------


def facts_of(scenario: Scenario, plan: dict[str, object] | None = None, **changes: object) -> Facts:
    """A run of 10 s from second 1 on, in which nothing happened; times of events in seconds."""
    options: dict[str, object] = {"receivers": 8, "senders": 2, "seconds": 10.0} | (plan or {})
    values: dict[str, object] = {
        "plan": plan_of(scenario, **options),
        "messages": Messages(),
        "latency": Latency(),
        "connections": Connections(),
        "slow_lag": Percentiles(),
        "totals": {},
        "heartbeat_ms": 0,
        "rejections": {},
        "origin_ns": 0,
        "samples": [],
        "slots": slots(),
    }
    events = {"sending": 1.0, "stopped": 11.0} | changes.pop("events", {})  # type: ignore[operator, call-overload]
    found = [BenchEvent(seconds, int(seconds * S), name) for name, seconds in sorted(events.items(), key=lambda event: event[1])]
    return Facts(events=found, **values | changes)  # type: ignore[arg-type]


def slots(**changes: object) -> list[Slot]:
    """12 s in which all 10 clients are there and each slot has a delivery after 50 ms."""
    made = [Slot(index, delivered=8, lag_ns_max=50 * MS, receivers_online=8, senders_online=2) for index in range(120)]
    for slot in made:
        for name, value in changes.items():
            setattr(slot, name, value(slot.index / 10) if callable(value) else value)
    return made


def unmet(facts: Facts) -> list[str]:
    return [demand.text for demand in judge_scenario(facts).demands if not demand.met]


def after(p99_ms: float) -> Latency:
    found = Percentiles(1, p99_ms, p99_ms, p99_ms, p99_ms)
    return Latency(found, found, found, found)


def test_idle_holds_every_connection_and_its_heartbeats() -> None:
    well = facts_of(Scenario.IDLE, heartbeat_ms=2_000, totals={"pings": 40})
    assert unmet(well) == []
    assert unmet(facts_of(Scenario.IDLE, connections=Connections(closes={"1006": 1}, receiver_reconnects=1)))
    assert unmet(facts_of(Scenario.IDLE, heartbeat_ms=2_000, totals={"pings": 39}))


def test_idle_tells_what_a_connection_costs() -> None:
    samples = [Sample(0, 1_000_000, 1.0, 1), Sample(2 * S, 1_010_240, 1.5, 1), Sample(10 * S, 1_102_400, 2.5, 1)]
    figures = judge_scenario(facts_of(Scenario.IDLE, samples=samples)).figures
    assert figures["server memory per connection"] == "10.0 KB"
    assert figures["server CPU"] == "10% of a core"


def test_fan_out_reaches_the_last_one_in_time() -> None:
    assert unmet(facts_of(Scenario.FAN_OUT, {"block_interval_ms": 100}, latency=after(1_100.0))) == []
    assert unmet(facts_of(Scenario.FAN_OUT, {"block_interval_ms": 100}, latency=after(1_101.0)))
    assert unmet(facts_of(Scenario.FAN_OUT, latency=after(2_000.0))) == []


STEPS = {"offered x1": 1.0, "offered x10": 4.0, "offered x100": 7.0, "stopped": 10.0}


@pytest.mark.parametrize(("level", "well"), [(2, True), (1, False), (4, False)])
def test_storm_send_stays_level(level: int, well: bool) -> None:
    storm = slots(acked=lambda seconds: 2 if seconds < 4 else level, submitted=lambda seconds: 2 if seconds < 4 else 20)
    assert (unmet(facts_of(Scenario.STORM_SEND, events=STEPS, slots=storm)) == []) is well


@pytest.mark.parametrize("changes", [{"totals": {"refused_without_time": 1}}, {"rejections": {"GROUP_BUSY": 5, "INTERNAL": 1}}])
def test_storm_send_wants_a_reason_and_a_time(changes: dict[str, object]) -> None:
    storm = facts_of(Scenario.STORM_SEND, events=STEPS, slots=slots(acked=2), **changes)
    result = judge_scenario(storm)
    assert [demand.absolute for demand in result.demands if not demand.met] == [True]
    assert result.verdict(Verdict.LOAD_CLIENT_SATURATED, "")[0] is Verdict.DEMAND_NOT_MET


def test_storm_pull_makes_everybody_pull_and_holds_the_time() -> None:
    pulled = Connections(pulls=8)
    assert unmet(facts_of(Scenario.STORM_PULL, connections=pulled, latency=after(5_000.0))) == []
    assert unmet(facts_of(Scenario.STORM_PULL, connections=pulled, latency=after(5_001.0)))
    assert unmet(facts_of(Scenario.STORM_PULL, connections=Connections(pulls=7)))


def gone(from_seconds: float, to_seconds: float) -> list[Slot]:
    return slots(receivers_online=lambda seconds: 0 if from_seconds <= seconds < to_seconds else 8)


def test_storm_reconnect_has_everybody_back() -> None:
    well = facts_of(Scenario.STORM_RECONNECT, totals={"cut": 10}, events={"cut 100%": 3.0}, slots=gone(3.1, 5.0))
    assert unmet(well) == []
    assert judge_scenario(well).figures["100% of clients back"] == "2.1 s"
    assert unmet(facts_of(Scenario.STORM_RECONNECT, totals={"cut": 10}, events={"cut 100%": 3.0}, slots=gone(3.1, 13.0)))
    assert unmet(facts_of(Scenario.STORM_RECONNECT))


def test_churn_happens_and_costs_nobody_else_anything() -> None:
    rate = {"churn_per_second": 5.0}
    assert unmet(facts_of(Scenario.CHURN, rate, totals={"left": 40})) == []
    assert unmet(facts_of(Scenario.CHURN, rate, totals={"left": 39}))
    assert unmet(facts_of(Scenario.CHURN, rate, totals={"left": 50}, connections=Connections(closes={"1006": 1})))
    assert unmet(facts_of(Scenario.CHURN, rate, totals={"left": 50}, latency=after(4_000.0)))


STALL = {"readers stop": 3.0, "reading again": 6.0}


def test_slow_readers_hold_up_nobody_and_catch_up() -> None:
    def slow(late_ms: int, behind_until: float) -> Facts:
        found = slots(
            lag_ns_max=lambda seconds: (late_ms if 3 <= seconds < 6 else 50) * MS,
            stale_ns=lambda seconds: 3 * S if 5 <= seconds < behind_until else 0,
        )
        plan = {"slow_share": 0.25, "stall_seconds": 3.0}
        return facts_of(Scenario.SLOW_READERS, plan, totals={"stalled": 2}, events=STALL, slots=found)

    assert unmet(slow(600, 7.0)) == []
    assert "not held up" in unmet(slow(601, 7.0))[0]
    assert "caught up" in unmet(slow(50, 11.5))[0]
    assert unmet(facts_of(Scenario.SLOW_READERS, {"stall_seconds": 3.0}))


def test_soak_tells_what_creeps_up() -> None:
    def soak(late_ms: int, grown_mib: int) -> Facts:
        found = slots(lag_ns_max=lambda seconds: (late_ms if seconds > 8 else 100) * MS)
        samples = [Sample(second * S, (100 + (grown_mib if second > 8 else 0)) * 2**20, 0.0, 1) for second in range(12)]
        return facts_of(Scenario.SOAK, {"repeat_seconds": 10.0, "stall_seconds": 1.0}, slots=found, samples=samples)

    assert unmet(soak(450, 26)) == []
    assert "latency" in unmet(soak(451, 26))[0]
    assert "memory" in unmet(soak(100, 27))[0]


@pytest.mark.parametrize(
    "verdict", [Verdict.PRODUCT_FAULT, Verdict.ABORTED, Verdict.SERVER_UNREACHABLE, Verdict.LOAD_CLIENT_SATURATED]
)
def test_a_demand_does_not_hide_what_is_worse(verdict: Verdict) -> None:
    result = ScenarioResult("churn")
    result.demand(False, "text")
    assert result.verdict(verdict, "reason") == (verdict, "reason")
    assert result.verdict(Verdict.PASSED, "") == (Verdict.DEMAND_NOT_MET, "churn: text")


def test_own_memory_and_cpu_are_sampled() -> None:
    import os

    server = ServerProcesses([os.getpid()])
    server.look()
    server.look()
    assert len(server.samples) == 1
    assert server.samples[0].resident_bytes > 1_000_000
    assert server.samples[0].cpu_seconds > 0


def test_a_process_that_is_gone_is_left_out() -> None:
    server = ServerProcesses([2**22 + 1])
    server.look()
    assert server.samples == []
