"""The result of a run: verdict, figures, findings and how things went over time; as JSON (version 1, docs/bench.md)."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from throng.bench.findings import Finding, Kind
from throng.bench.judge import Tally
from throng.bench.latencies import Percentiles
from throng.bench.series import SLOT_NS, Recovery, Slot, recovery
from throng.bench.server_processes import Sample

SCHEMA_VERSION = 1


class Verdict(enum.StrEnum):
    """How a run ended."""

    PASSED = "PASSED"
    PRODUCT_FAULT = "PRODUCT_FAULT"
    LOAD_CLIENT_SATURATED = "LOAD_CLIENT_SATURATED"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    ABORTED = "ABORTED"
    DEMAND_NOT_MET = "DEMAND_NOT_MET"

    @property
    def exit_code(self) -> int:
        """Of `throng bench`; 2 is a wrong call."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Verdict.PASSED: 0,
    Verdict.PRODUCT_FAULT: 1,
    Verdict.LOAD_CLIENT_SATURATED: 3,
    Verdict.SERVER_UNREACHABLE: 4,
    Verdict.ABORTED: 5,
    Verdict.DEMAND_NOT_MET: 6,
}


@dataclass(frozen=True, slots=True)
class BenchEvent:
    """Something that happened at a moment.

    Attributes:
        seconds: after the run's beginning.
        at_ns: the machine's monotonic clock.
        name: phases of the run (`connected`, `sending`, `stopped`, `settled`, `judged`), or what the caller noted.
    """

    seconds: float
    at_ns: int
    name: str


@dataclass(slots=True)
class Messages:
    """Counts of messages. `unanswered` at the end; `skipped`: due while 1,000 of the same sender had no answer."""

    submitted: int = 0
    acked: int = 0
    refused: int = 0
    unanswered: int = 0
    skipped: int = 0
    resends: int = 0
    acks_again: int = 0
    acks_per_second: float = 0.0
    deliveries_per_second: float = 0.0


@dataclass(slots=True)
class Latency:
    """Percentiles: writing to ACK, writing to each receiver, writing to the last receiver, and holding what was missed."""

    ack: Percentiles = field(default_factory=Percentiles)
    delivery: Percentiles = field(default_factory=Percentiles)
    last_receiver: Percentiles = field(default_factory=Percentiles)
    catch_up: Percentiles = field(default_factory=Percentiles)


@dataclass(slots=True)
class LoadClient:
    """How the load client itself was. `reasons`: why its figures are not to be trusted; empty when they are."""

    workers: int = 0
    cpu_shares: list[float] = field(default_factory=list)
    loop_lag: Percentiles = field(default_factory=Percentiles)
    schedule_lag: Percentiles = field(default_factory=Percentiles)
    own_limits: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Connections:
    """Connections and what clients had to live with, by reason."""

    entered: int = 0
    receiver_reconnects: int = 0
    sender_reconnects: int = 0
    pulls: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that a scenario demands.

    Attributes:
        met: whether it was so.
        text: what is demanded and what was measured, in one sentence.
        absolute: it counts even when the load client was too slow itself.
    """

    met: bool
    text: str
    absolute: bool


@dataclass(slots=True)
class ScenarioResult:
    """What came of a scenario: its demands, empty when nothing could be judged, and figures for people by name."""

    name: str
    demands: list[Demand] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def demand(self, met: bool, text: str, *, absolute: bool = False) -> None:
        """Notes a demand."""
        self.demands.append(Demand(met, text, absolute))

    def verdict(self, verdict: Verdict, reason: str) -> tuple[Verdict, str]:
        """The verdict on deliveries, or that a demand was not met where that says more."""
        broken = [demand for demand in self.demands if not demand.met]
        if verdict is Verdict.LOAD_CLIENT_SATURATED:
            broken = [demand for demand in broken if demand.absolute]
        elif verdict is not Verdict.PASSED:
            return verdict, reason
        return (Verdict.DEMAND_NOT_MET, f"{self.name}: {broken[0].text}") if broken else (verdict, reason)

    def lines(self) -> list[str]:
        """For the summary; none when there is nothing to say."""
        found = [f"  {'met    ' if demand.met else 'NOT MET'}   {demand.text}" for demand in self.demands]
        if self.figures:
            found.append("  figures   " + "; ".join(f"{name}: {value}" for name, value in self.figures.items()))
        return [f"scenario    {self.name}", *found] if found else []


@dataclass(slots=True)
class BenchReport:
    """Everything that is known at the end of a run.

    Attributes:
        reason: one sentence for the verdict.
        plan: the options, secrets left out.
        group_ids: groups of the run.
        deliveries: one per message and receiver; `unreachable` are those missing at receivers that had no connection at the end.
        refusals: messages given up, by code. `rejections`: every refusal that came, by code.
        counts, findings: what is wrong: all counted by kind, the first ten of each kind in full.
        origin_ns: time of slot 0 on the monotonic clock.
        scenario: its demands and figures. samples: memory and CPU of the server's processes, once a second.
    """

    run_id: str
    verdict: Verdict
    reason: str
    plan: dict[str, Any]
    group_ids: list[str]
    deliveries: Tally
    messages: Messages
    latency: Latency
    client: LoadClient
    connections: Connections
    refusals: dict[str, int]
    rejections: dict[str, int]
    counts: dict[Kind, int]
    findings: list[Finding]
    events: list[BenchEvent]
    origin_ns: int
    slots: list[Slot]
    scenario: ScenarioResult = field(default_factory=lambda: ScenarioResult("delivery"))
    samples: list[Sample] = field(default_factory=list)

    @property
    def duplicated(self) -> int:
        """Messages that stand at two seqs, so that everybody is shown them twice."""
        return self.counts.get(Kind.DUPLICATED, 0)

    @property
    def misordered(self) -> int:
        """Messages out of order in a frame, in the history or within a session."""
        return self.counts.get(Kind.MISORDERED, 0) + self.counts.get(Kind.SESSION_MISORDERED, 0)

    @property
    def foreign(self) -> int:
        """Frames, messages or ACKs of other people's groups."""
        return self.counts.get(Kind.FOREIGN, 0) + self.counts.get(Kind.ACK_FOREIGN, 0)

    def recovery_after(self, event: BenchEvent, *, until: BenchEvent | None = None) -> Recovery:
        """How long things took to be well again after an event; looks no further than `until`."""
        return recovery(
            self.slots,
            start_ns=self.origin_ns,
            at_ns=event.at_ns,
            receivers=int(self.plan["receivers"]),
            until_ns=until.at_ns if until else None,
        )

    def to_json(self) -> str:
        """The report as JSON; docs/bench.md describes it."""
        document: dict[str, Any] = {"schema": "throng-bench", "version": SCHEMA_VERSION, **asdict(self)}
        deliveries = document["deliveries"]
        deliveries |= {"duplicated": self.duplicated, "misordered": self.misordered, "foreign": self.foreign}
        document["findings"] = [{**asdict(f), "invariant": f.kind.invariant, "fault": f.kind.is_fault} for f in self.findings]
        document["slot_seconds"] = SLOT_NS / 1e9
        names = list(asdict(Slot()))
        document["slots"] = {"columns": names, "rows": [[getattr(slot, name) for name in names] for slot in self.slots]}
        return json.dumps(document, indent=1) + "\n"

    def summary(self) -> str:
        """What a person reads at the end."""
        deliveries, messages, latency = self.deliveries, self.messages, self.latency
        lines = [
            f"{self.verdict}: {self.reason}",
            "",
            f"deliveries  expected {deliveries.expected:,}  received {deliveries.received:,}  missing {deliveries.missing:,}"
            f"  duplicated {self.duplicated:,}  misordered {self.misordered:,}  foreign {self.foreign:,}",
            f"messages    written {messages.submitted:,}  ACKed {messages.acked:,}  refused {messages.refused:,}"
            f"  unanswered {messages.unanswered:,}  skipped {messages.skipped:,}  sent again {messages.resends:,}",
            f"rates       {messages.acks_per_second:,.1f} ACKs/s  {messages.deliveries_per_second:,.0f} deliveries/s",
            _line("to ACK", latency.ack),
            _line("to each", latency.delivery),
            _line("to last", latency.last_receiver),
        ]
        if latency.catch_up.count:
            lines.append(_line("catch up", latency.catch_up))
        client = self.client
        shares = ", ".join(f"{share:.0%}" for share in client.cpu_shares)
        lines.append(f"load client {client.workers} workers, CPU {shares}; loop lag p99 {client.loop_lag.p99_ms:g} ms")
        for title, counts in (
            ("refused", self.refusals),
            ("problems", self.connections.problems),
            ("closes", self.connections.closes),
        ):
            if counts:
                lines.append(f"{title:<11} " + ", ".join(f"{name}: {count:,}" for name, count in counts.items()))
        lines += self.scenario.lines()
        for finding in self.findings:
            mark = "" if finding.kind.is_fault else " (no fault by itself)"
            where = f"group {finding.group_id} seq {finding.seq} {finding.who}"
            lines.append(f"  {finding.kind.invariant} {finding.kind.value}{mark}: {where}: {finding.text}")
        return "\n".join(lines)


def _line(title: str, values: Percentiles) -> str:
    return (
        f"{title:<11} p50 {values.p50_ms:,.0f} ms  p90 {values.p90_ms:,.0f} ms  p99 {values.p99_ms:,.0f} ms"
        f"  max {values.max_ms:,.0f} ms"
    )
