"""What was wrong in a round, each with the fault after which it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos_stage import ChaosStage
from door_probe import DoorProbe
from faults import Fault
from memory_watch import SERVICE_GROWTH_MEBIBYTES, SERVICE_MEBIBYTES, MemoryWatch
from recovery_table import Row, healed_seconds, silence_seconds
from removed_member import RemovedMember

from throng.bench import BenchEvent, BenchReport, Verdict

HEALED_SECONDS = 5.0
"""I6: receivers hold everything up to the head so soon after connectivity is back."""

SLACK_SECONDS = 1.5
"""The series has slots of 100 ms, and the machine has two cores for everything."""

LONG_SECONDS = 10.0
"""An outage from which on senders must have been refused: an edge gives up 5 s after the last answer."""


@dataclass(slots=True)
class Applied:
    """A fault and its course; times are monotonic seconds, `heads` the groups' heads before it, `faults` what the oracle had found."""

    fault: Fault
    injected: BenchEvent
    began: float
    heads: dict[str, int]
    faults_before: int
    faults_after: int = 0
    healed: BenchEvent | None = None
    mended: float = 0.0
    ended: float = 0.0
    member: RemovedMember | None = None
    notes: list[str] = field(default_factory=list)


def until_ns(report: BenchReport, applied: Sequence[Applied], place: int) -> int:
    """The next fault, or the end of the sending: clients are closed one after another behind it."""
    if place + 1 < len(applied):
        return applied[place + 1].injected.at_ns
    return next(event.at_ns for event in report.events if event.name == "stopped")


def judge_report(report: BenchReport, applied: Sequence[Applied]) -> list[str]:
    """What the oracle found, who lacks something, and who was healed too late."""
    complaints = []
    for finding in report.findings:
        if finding.kind.is_fault:
            blamed = _blame(applied, finding.group_id, finding.seq) if finding.seq else "some fault of this round"
            complaints.append(f"{blamed}: {finding.kind.invariant} {finding.kind.value}: {finding.who}: {finding.text}")
    complaints += [
        f"{one.fault.name}: {one.faults_after - one.faults_before} findings while it lasted"
        for one in applied
        if one.faults_after > one.faults_before
    ]
    deliveries, messages = report.deliveries, report.messages
    if report.verdict not in (Verdict.PASSED, Verdict.LOAD_CLIENT_SATURATED) and not complaints:
        complaints.append(f"the oracle's verdict is {report.verdict}: {report.reason}")
    if deliveries.missing or deliveries.offline or messages.unanswered:
        complaints.append(
            f"at the end {deliveries.missing} deliveries are missing, {deliveries.offline} receivers are not connected, "
            f"{messages.unanswered} messages have no answer"
        )
    if not messages.acked:
        complaints.append("nothing was ever ACKed")
    for place, one in enumerate(applied):
        complaints += [f"{one.fault.name}: {note}" for note in one.notes]
        complaints += _judge_recovery(report, applied, place, one)
    return complaints


def _blame(applied: Sequence[Applied], group_id: str, seq: int) -> str:
    """The fault during or after which a message was numbered."""
    name = "before the first fault"
    for one in applied:
        if seq > one.heads.get(group_id, 0):
            name = one.fault.name
    return name


def _judge_recovery(report: BenchReport, applied: Sequence[Applied], place: int, one: Applied) -> list[str]:
    if one.healed is None:
        return []
    found = healed_seconds(report, one.healed.at_ns, until_ns(report, applied, place))
    limit = HEALED_SECONDS + SLACK_SECONDS
    if found is None or found > limit:
        return [f"{one.fault.name}: I6: receivers were at the head {found} s after it was mended; {limit:g} s are allowed"]
    return []


def judge_probe(stage: ChaosStage, probe: DoorProbe, applied: Sequence[Applied]) -> list[str]:
    """Every submission was answered in time and truly; in a long outage it was refused, with a time for the next try."""
    complaints = []
    if probe.silent:
        complaints.append(f"{len(probe.silent)} submissions of {probe.user_id} were neither ACKed nor refused in time (I8)")
    stored = {message.client_msg_id: message.seq for message in stage.history(probe.group_id)}
    complaints += [
        f"I3: {client_msg_id} of {probe.user_id} was ACKed as {seq} and stands at {stored.get(client_msg_id)}"
        for client_msg_id, seq in probe.acked.items()
        if stored.get(client_msg_id) != seq
    ]
    complaints += _judge_forgotten(probe, applied, set(stored))
    for one in applied:
        outage_seconds = one.fault.outage_seconds(one.mended - one.began)
        if outage_seconds >= LONG_SECONDS:
            refusals = probe.refusals(one.began, one.mended + 1.0)
            if not refusals:
                complaints.append(f"{one.fault.name}: I8: {probe.user_id} was refused nothing in {outage_seconds:.1f} s")
            elif not any(answer.retry_after_ms for answer in refusals):
                complaints.append(f"{one.fault.name}: I8: no refusal told {probe.user_id} when to try again")
    return complaints


def _judge_forgotten(probe: DoorProbe, applied: Sequence[Applied], stored: set[str]) -> list[str]:
    """What came into the log is stored in the end, whoever dies; only its ACK may be lost with who carried it.

    An edge says DEADLINE_EXCEEDED of what it has appended and heard nothing of; what it could not append is UNAVAILABLE.
    """
    complaints = []
    for answer in probe.answers:
        if answer.code == "ERROR_CODE_DEADLINE_EXCEEDED" and answer.client_msg_id not in stored:
            meanwhile = [one.fault.name for one in applied if one.began < answer.at and one.ended > answer.at - answer.seconds]
            names = ", ".join(meanwhile) or "no fault"
            complaints.append(f"{names}: {answer.client_msg_id} of {probe.user_id} stood in the log and was forgotten")
    return complaints


def judge_memory(stage: ChaosStage, memory: MemoryWatch, applied: Sequence[Applied]) -> list[str]:
    """No service grows without bound (I8)."""
    complaints = []
    for one in applied:
        for name, (grown, largest) in memory.growth(one.began, one.ended).items():
            # A process that was started in this time grows to its ordinary size first.
            is_new = grown > 0.5 * largest
            too_much = largest > SERVICE_MEBIBYTES or (grown > SERVICE_GROWTH_MEBIBYTES and not is_new)
            if name in stage.cluster.processes and too_much:
                complaints.append(f"{one.fault.name}: I8: {name} grew by {grown:.0f} MiB to {largest:.0f} MiB")
    return complaints


def make_rows(
    name: str, stage: ChaosStage, report: BenchReport, applied: Sequence[Applied], memory: MemoryWatch, probes: Sequence[DoorProbe]
) -> list[Row]:
    """The recovery times of a round."""
    rows = []
    for place, one in enumerate(applied):
        if one.healed is None:
            continue
        end_ns = until_ns(report, applied, place)
        until = applied[place + 1].injected if place + 1 < len(applied) else None
        sizes = [
            largest for process, (_, largest) in memory.growth(one.began, one.ended).items() if process in stage.cluster.processes
        ]
        rows.append(
            Row(
                round=name,
                fault=one.fault.name,
                held_seconds=one.mended - one.began,
                from_fault=report.recovery_after(one.injected, until=until),
                from_heal=report.recovery_after(one.healed, until=until),
                all_at_head_seconds=healed_seconds(report, one.injected.at_ns, end_ns),
                healed_seconds=healed_seconds(report, one.healed.at_ns, end_ns),
                silence_seconds=silence_seconds(report, one.injected.at_ns, end_ns),
                most_mebibytes=max(sizes, default=0.0),
                refusals=sum(len(probe.refusals(one.began, one.ended)) for probe in probes),
            )
        )
    return rows
