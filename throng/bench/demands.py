"""What each scenario demands beyond a right delivery: pure, from the facts of a run. docs/bench.md names each demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from throng.bench.disturbances import LONGEST_AWAY_SECONDS
from throng.bench.facts import Facts
from throng.bench.report import ScenarioResult
from throng.bench.scenarios import Scenario
from throng.bench.script import CUT, RESUMED, STALLED, STEP

LAST_RECEIVER_MARGIN_MS = 1_000.0
"""What the last of many receivers may take beyond the time for which a block is formed."""

CAUGHT_UP_SECONDS = 5.0
"""I6: within this a client that can be reached holds everything."""

BACK_SECONDS = 30.0
LEVEL_LEAST, LEVEL_MOST = 0.7, 1.5
CHURN_LEAST = 0.8
OTHERS_FACTOR, OTHERS_MARGIN_MS = 2.0, 500.0
CREEP_FACTOR, CREEP_MARGIN_MS = 2.0, 250.0
MEMORY_FACTOR, MEMORY_MARGIN_BYTES = 1.1, 16 * 2**20
_DEFAULT_INTERVAL_MS = 1_000


def judge_scenario(facts: Facts) -> ScenarioResult:
    """Looks at every demand of the plan's scenario."""
    result = ScenarioResult(facts.plan.scenario.value)
    judge = _JUDGES.get(facts.plan.scenario)
    if judge is not None:
        judge(facts, result)
    cpu = facts.cpu_seconds
    if cpu is not None and facts.sending_seconds:
        result.figures["server CPU"] = f"{cpu / facts.sending_seconds:.0%} of a core"
        delivered = sum(slot.delivered for slot in facts.slots_between(*facts.sending_ns))
        if delivered and cpu:
            result.figures["deliveries per CPU second"] = f"{delivered / cpu:,.0f}"
    return result


def _idle(facts: Facts, result: ScenarioResult) -> None:
    plan, connections = facts.plan, facts.connections
    dropped = sum(connections.closes.values()) + connections.receiver_reconnects + connections.sender_reconnects
    clients = plan.receivers + plan.senders
    result.demand(dropped == 0, f"none of {clients:,} connections was lost in {facts.sending_seconds:.0f} s: {dropped:,} were")
    owed = int(facts.sending_seconds * 1_000 // facts.heartbeat_ms) - 1 if facts.heartbeat_ms else 0
    pings = facts.totals.get("pings", 0)
    if owed > 0:
        text = f"a heartbeat each {facts.heartbeat_ms / 1000:g} s: {pings:,} came, {owed * clients:,} were owed at least"
        result.demand(pings >= owed * clients, text)
    else:
        result.figures["heartbeats"] = f"{pings:,}; none is owed in less than two intervals"
    before, held = facts.samples[:1], facts.samples_between(*facts.sending_ns)
    if before and held:
        grown = max(0, held[-1].resident_bytes - before[0].resident_bytes)
        result.figures["server memory per connection"] = f"{grown / clients / 1024:.1f} KB"


def _fan_out(facts: Facts, result: ScenarioResult) -> None:
    _prompt(facts, result)
    _group_figures(facts, result)


def _storm_send(facts: Facts, result: ScenarioResult) -> None:
    plan = facts.plan
    marks = [*[event.at_ns for event in facts.named(STEP)], facts.sending_ns[1]]
    for factor, from_ns, to_ns in zip(plan.rate_steps, marks, marks[1:], strict=False):
        slots = facts.slots_between(from_ns, to_ns)
        seconds = max(0.1, len(slots) / 10)
        acked, written = sum(slot.acked for slot in slots) / seconds, sum(slot.submitted for slot in slots) / seconds
        level = min(plan.rate * factor, plan.budget_per_second or plan.rate * factor)
        text = f"offered x{factor:g} ({written:,.0f}/s): {acked:,.1f} ACKs/s, level is {level:,.0f}/s"
        result.demand(LEVEL_LEAST * level <= acked <= LEVEL_MOST * level, text)
    timeless, defects = facts.totals.get("refused_without_time", 0), facts.rejections.get("INTERNAL", 0)
    count = sum(facts.rejections.values())
    text = f"each of {count:,} refusals says why and when to come back: {timeless:,} without a time, {defects:,} INTERNAL"
    result.demand(timeless + defects == 0, text, absolute=True)


def _storm_pull(facts: Facts, result: ScenarioResult) -> None:
    pulls, receivers = facts.connections.pulls, facts.plan.receivers
    result.demand(pulls >= receivers, f"{receivers:,} receivers had to pull, and {pulls:,} pulls were made", absolute=True)
    p99 = facts.latency.last_receiver.p99_ms
    result.demand(p99 <= CAUGHT_UP_SECONDS * 1_000, f"the last receiver has it after {p99:,.0f} ms (p99), at most 5,000 ms")
    failed = sum(count for name, count in facts.connections.problems.items() if name.startswith("pull failed"))
    result.figures["pulls"] = f"{pulls:,}, of which {failed:,} were put off"


def _storm_reconnect(facts: Facts, result: ScenarioResult) -> None:
    cut = facts.totals.get("cut", 0)
    events = facts.named(CUT)
    result.demand(bool(events) and cut > 0, f"{cut:,} sockets were cut", absolute=True)
    for event in events:
        complete = facts.recovery_after(event).all_at_head_seconds
        told = f"{complete:.1f} s" if complete is not None else "not before the end"
        met = complete is not None and complete <= BACK_SECONDS
        result.demand(met, f"everybody is back and lacks nothing: {told} after the cut, at most {BACK_SECONDS:g} s")
        for part in (0.5, 0.9, 1.0):
            seconds = facts.back_seconds(event, part)
            result.figures[f"{part:.0%} of clients back"] = "not before the end" if seconds is None else f"{seconds:g} s"


def _churn(facts: Facts, result: ScenarioResult) -> None:
    left, wanted = facts.totals.get("left", 0), facts.plan.churn_per_second * facts.sending_seconds
    result.demand(left >= CHURN_LEAST * wanted > 0, f"{left:,} receivers left and came back, {wanted:,.0f} were to")
    closed = sum(facts.connections.closes.values())
    result.demand(closed == 0, f"nobody else lost a connection: {closed:,} did")
    _prompt(facts, result, away_ms=1_000 * LONGEST_AWAY_SECONDS)


def _slow_readers(facts: Facts, result: ScenarioResult) -> None:
    stalled = facts.totals.get("stalled", 0)
    stops, starts = facts.named(STALLED), facts.named(RESUMED)
    happened = bool(stops) and bool(starts) and stalled > 0
    result.demand(happened, f"{stalled:,} receivers stopped reading", absolute=True)
    if not happened:
        return
    before = facts.lag_p99_ms(facts.sending_ns[0], stops[0].at_ns)
    during = facts.lag_p99_ms(stops[0].at_ns, starts[0].at_ns)
    limit = OTHERS_FACTOR * before + OTHERS_MARGIN_MS
    text = f"the others are not held up: {before:,.0f} ms (p99) before, {during:,.0f} ms meanwhile, at most {limit:,.0f} ms"
    result.demand(0 < during <= limit, text)
    complete = facts.recovery_after(starts[0]).all_at_head_seconds
    told = f"{complete:.1f} s" if complete is not None else "not before the end"
    met = complete is not None and complete <= CAUGHT_UP_SECONDS
    result.demand(met, f"the slow ones have caught up: {told} after they read again, at most {CAUGHT_UP_SECONDS:g} s")
    closed = facts.connections.closes.get("4008", 0)
    result.figures["what the slow ones met"] = f"{facts.totals.get('slow_gaps', 0):,} gaps pulled, {closed:,} closed as too slow"


def _soak(facts: Facts, result: ScenarioResult) -> None:
    start_ns, stop_ns = facts.sending_ns
    quarter = (stop_ns - start_ns) // 4
    second, last = (start_ns + quarter, start_ns + 2 * quarter), (start_ns + 3 * quarter, stop_ns)
    early, late = (_median_lag_ms(facts, *part) for part in (second, last))
    limit = CREEP_FACTOR * early + CREEP_MARGIN_MS
    text = f"latency does not creep up: {early:,.0f} ms (median of maxima) in the second quarter, {late:,.0f} ms in the last"
    result.demand(0 < late <= limit, f"{text}, at most {limit:,.0f} ms")
    sizes = [[sample.resident_bytes for sample in facts.samples_between(*part)] for part in (second, last)]
    if all(sizes):
        grown_from, grown_to = (median(part) for part in sizes)
        most = MEMORY_FACTOR * grown_from + MEMORY_MARGIN_BYTES
        early_mib, late_mib, most_mib = (round(size / 2**20) for size in (grown_from, grown_to, most))
        text = (
            f"memory does not creep up: {early_mib} MiB in the second quarter, {late_mib} MiB in the last, at most {most_mib} MiB"
        )
        result.demand(grown_to <= most, text)
    totals = facts.totals
    result.figures["disturbances"] = (
        f"{totals.get('left', 0):,} left, {totals.get('cut', 0):,} cut, {totals.get('stalled', 0):,} stopped reading"
    )


def _prompt(facts: Facts, result: ScenarioResult, *, away_ms: float = 0.0) -> None:
    """Blocks are formed for a while, and then everybody has them soon; where receivers are away, soon after they are back."""
    interval = facts.plan.block_interval_ms
    limit = (_DEFAULT_INTERVAL_MS if interval is None else interval) + LAST_RECEIVER_MARGIN_MS + away_ms
    p99 = (facts.latency.delivery if away_ms else facts.latency.last_receiver).p99_ms
    who = "a receiver" if away_ms else "the last receiver"
    result.demand(p99 <= limit, f"{who} has it after {p99:,.0f} ms (p99), at most {limit:,.0f} ms")


def _group_figures(facts: Facts, result: ScenarioResult) -> None:
    result.figures["deliveries"] = f"{facts.messages.deliveries_per_second:,.0f}/s to {facts.plan.receivers:,} receivers"


def _median_lag_ms(facts: Facts, from_ns: int, to_ns: int) -> float:
    found: Sequence[int] = [slot.lag_ns_max for slot in facts.slots_between(from_ns, to_ns) if slot.delivered]
    return median(found) / 1e6 if found else 0.0


_JUDGES: dict[Scenario, Callable[[Facts, ScenarioResult], None]] = {
    Scenario.IDLE: _idle,
    Scenario.FAN_OUT: _fan_out,
    Scenario.STORM_SEND: _storm_send,
    Scenario.STORM_PULL: _storm_pull,
    Scenario.STORM_RECONNECT: _storm_reconnect,
    Scenario.CHURN: _churn,
    Scenario.SLOW_READERS: _slow_readers,
    Scenario.SOAK: _soak,
}
