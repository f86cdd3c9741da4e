"""From evidence to the report: figures over all workers, and the verdict."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from throng.bench.findings import Findings
from throng.bench.judge import GroupCase, Held, Tally, judge_group
from throng.bench.latencies import Latencies, Percentiles
from throng.bench.report import Connections, Latency, LoadClient, Messages, Verdict
from throng.bench.series import Slot, merge_slots
from throng.bench.shares import Evidence, GroupEvidence, Packed

LOOP_LAG_LIMIT_MS = 100.0
SCHEDULE_LAG_LIMIT_MS = 250.0
CPU_SHARE_LIMIT = 0.9


@dataclass(slots=True)
class Circumstances:
    """What the coordinator knows beside the evidence.

    Attributes:
        entered, clients: clients that took part at once at some time before the sending, and all of them.
        unreachable: why the server could not be asked; empty when it could.
        aborted: somebody ended the run early. `cut`: even the settling, so that nobody can be blamed for what is missing.
    """

    entered: int
    clients: int
    unreachable: str = ""
    aborted: bool = False
    cut: bool = False
    sending_seconds: float = 0.0


@dataclass(slots=True)
class Judged:
    """What came of the evidence."""

    verdict: Verdict
    reason: str
    tally: Tally
    findings: Findings
    messages: Messages
    latency: Latency
    client: LoadClient
    connections: Connections
    refusals: dict[str, int]
    rejections: dict[str, int]
    slots: list[Slot] = field(default_factory=list)
    slow_lag: Percentiles = field(default_factory=Percentiles)


def judge(
    cases: Mapping[str, GroupCase],
    evidence: Sequence[Evidence],
    circumstances: Circumstances,
    *,
    run_id: str,
    catch_up_limit_seconds: float,
) -> Judged:
    """Fills the cases with the evidence and judges all of it."""
    findings, tally = Findings(), Tally()
    for one in evidence:
        findings.merge(one.counts, one.examples)
        for group_id, group in one.groups.items():
            if group_id in cases:
                _fill(cases[group_id], group, cut=circumstances.cut)
    for case in cases.values():
        judge_group(case, findings, tally, run_id=run_id, catch_up_limit_seconds=catch_up_limit_seconds)
    slots: dict[int, Slot] = {}
    for one in evidence:
        merge_slots(slots, one.slots)
    ordered = [slots[index] for index in sorted(slots)]
    messages = _messages(evidence, ordered, circumstances.sending_seconds)
    client = _client(evidence)
    verdict, reason = _decide(findings, tally, messages, client, circumstances)
    latency = Latency(
        _merged(one.ack_latency for one in evidence),
        _merged(one.lag for one in evidence),
        _last_receiver(evidence),
        _catch_up(case.held for case in cases.values()),
    )
    refusals, rejections = sums(evidence, "refusals"), sums(evidence, "rejections")
    connections = _connections(evidence, circumstances)
    slow_lag = _merged(one.slow_lag for one in evidence)
    return Judged(verdict, reason, tally, findings, messages, latency, client, connections, refusals, rejections, ordered, slow_lag)


def _fill(case: GroupCase, group: GroupEvidence, *, cut: bool) -> None:
    case.held += [held._replace(online=False) for held in group.held] if cut else group.held
    case.written += [written._replace(reachable=False) for written in group.written] if cut else group.written
    if group.base_seq >= 0:
        case.seen.append(group.seen())


def _decide(
    findings: Findings, tally: Tally, messages: Messages, client: LoadClient, circumstances: Circumstances
) -> tuple[Verdict, str]:
    faults = findings.faults
    if faults:
        named = ", ".join(f"{kind.value} ({kind.invariant}): {findings.counts[kind]}" for kind in faults)
        return Verdict.PRODUCT_FAULT, f"promises were broken: {named}"
    if circumstances.aborted:
        return Verdict.ABORTED, "ended early; nothing wrong was found until then"
    unreachable = circumstances.unreachable
    if circumstances.entered < circumstances.clients:
        unreachable = f"{circumstances.entered} of {circumstances.clients} clients could take part at once"
    elif tally.offline and not unreachable:
        unreachable = f"{tally.offline} receivers had no connection at the end; they lack {tally.unreachable} messages"
    elif messages.submitted and not messages.acked and not unreachable:
        unreachable = "no message was ever accepted"
    elif messages.unanswered and not unreachable:
        unreachable = f"{messages.unanswered} messages have no answer, and their senders had no connection at the end"
    if unreachable:
        return Verdict.SERVER_UNREACHABLE, unreachable
    if client.reasons:
        return Verdict.LOAD_CLIENT_SATURATED, "every message was delivered, but timings cannot be trusted: " + "; ".join(
            client.reasons
        )
    if not messages.submitted:
        return Verdict.PASSED, "no message was written, and no promise was broken"
    return Verdict.PASSED, "every message was delivered once, in order, to every receiver"


def _messages(evidence: Sequence[Evidence], slots: Sequence[Slot], seconds: float) -> Messages:
    totals = sums(evidence, "totals")
    submitted, acked = sum(slot.submitted for slot in slots), sum(slot.acked for slot in slots)
    refused = sum(sums(evidence, "refusals").values())
    return Messages(
        submitted=submitted,
        acked=acked,
        refused=refused,
        unanswered=submitted - acked - refused,
        skipped=totals.get("skipped", 0),
        resends=totals.get("resends", 0),
        acks_again=totals.get("acks_again", 0),
        acks_per_second=round(acked / seconds, 1) if seconds else 0.0,
        deliveries_per_second=round(sum(slot.delivered for slot in slots) / seconds, 1) if seconds else 0.0,
    )


def _client(evidence: Sequence[Evidence]) -> LoadClient:
    client = LoadClient(
        workers=len(evidence),
        cpu_shares=[round(one.cpu_share, 3) for one in evidence],
        loop_lag=_merged(one.loop_lag for one in evidence),
        schedule_lag=_merged(one.schedule_lag for one in evidence),
        own_limits=sums(evidence, "own_limits"),
    )
    if client.loop_lag.p99_ms > LOOP_LAG_LIMIT_MS:
        client.reasons.append(f"its event loops ran late (p99 {client.loop_lag.p99_ms:.0f} ms)")
    if client.schedule_lag.p99_ms > SCHEDULE_LAG_LIMIT_MS:
        client.reasons.append(f"it could not write on schedule (p99 {client.schedule_lag.p99_ms:.0f} ms late)")
    if max(client.cpu_shares, default=0.0) > CPU_SHARE_LIMIT:
        client.reasons.append(f"a worker took {max(client.cpu_shares):.0%} of a core")
    if client.own_limits:
        client.reasons.append("this machine refused connections: " + ", ".join(client.own_limits))
    return client


def _connections(evidence: Sequence[Evidence], circumstances: Circumstances) -> Connections:
    totals = sums(evidence, "totals")
    closes: Counter[str] = Counter()
    for one in evidence:
        closes.update({str(code): count for code, count in one.closes.items()})
    return Connections(
        entered=circumstances.entered,
        receiver_reconnects=totals.get("receiver_reconnects", 0),
        sender_reconnects=totals.get("sender_reconnects", 0),
        pulls=totals.get("pulls", 0),
        closes=dict(closes),
        problems=sums(evidence, "problems"),
    )


def sums(evidence: Sequence[Evidence], name: str) -> dict[str, int]:
    """Counts of all workers added up; those of 0 are left out."""
    total: Counter[str] = Counter()
    for one in evidence:
        total.update(getattr(one, name))
    return {key: count for key, count in total.items() if count}


def _merged(packed: Iterable[Packed]) -> Percentiles:
    whole = Latencies()
    for one in packed:
        whole.merge(one)
    return whole.percentiles()


def _last_receiver(evidence: Sequence[Evidence]) -> Percentiles:
    whole = Latencies()
    groups = {group_id for one in evidence for group_id in one.groups}
    for group_id in groups:
        parts = [one.groups[group_id] for one in evidence if group_id in one.groups]
        _add_last_receiver(whole, [part for part in parts if part.base_seq >= 0 and part.held])
    return whole.percentiles()


def _add_last_receiver(whole: Latencies, parts: Sequence[GroupEvidence]) -> None:
    """A message whose delivery to one process is not known is left out: it has no last receiver yet."""
    epoch = max((part.epoch for part in parts), default=0)
    parts = [part for part in parts if part.epoch == epoch]
    if not parts:
        return
    base = max(part.base_seq for part in parts)
    created = [array("q", part.created_ns)[base - part.base_seq :] for part in parts]
    shown = [array("q", part.shown_ns)[base - part.base_seq :] for part in parts]
    for written, times in zip(zip(*created, strict=False), zip(*shown, strict=False), strict=True):
        if written[0] and min(times):
            whole.add(max(times) - written[0])


def _catch_up(groups: Iterable[Sequence[Held]]) -> Percentiles:
    whole = Latencies()
    for receivers in groups:
        for held in receivers:
            if held.catch_up_ns_max:
                whole.add(held.catch_up_ns_max)
    return whole.percentiles()
