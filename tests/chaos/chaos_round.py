"""One load under the eyes of the oracle, and faults one after another; at the end every promise is checked and every failure named."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos_stage import ChaosStage
from door_probe import DoorProbe
from faults import Fault
from memory_watch import MemoryWatch
from recovery_table import Row
from removed_member import RemovedMember
from round_verdict import HEALED_SECONDS, Applied, judge_memory, judge_probe, judge_report, make_rows
from unread_audit import UnreadAudit

from throng.api.group.v1 import message_pb2
from throng.bench import BenchPlan, BenchReport, BenchRun
from throng.bench.series import STALE_LIMIT_NS

WELL_SECONDS = 45.0
PROBES = 2
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent while things break. One worker process, so that its last slot tells how all of it stands."""

    groups: int = 4
    receivers: int = 40
    senders: int = 8
    rate: float = 40.0
    text_bytes: int = 160


class Round:
    """Use as a context manager: `apply` faults, then `finish`, which raises when a promise was broken."""

    def __init__(self, stage: ChaosStage, name: str, *, seed: int, load: Load | None = None) -> None:
        self._stage = stage
        self.name = name
        self._load = load or Load()
        self._random = random.Random(seed)
        self._seed = seed
        tag = f"{name}-{seed % 10_000}-{int(time.time()) % 100_000}"
        self._tag = tag[-40:]
        self.group_ids = [f"{self._tag}-{number}" for number in range(self._load.groups)]
        self.applied: list[Applied] = []
        self.report: BenchReport | None = None
        self._memory = MemoryWatch(self._pids)
        self._probes: list[DoorProbe] = []
        self._probe_audits: list[UnreadAudit] = []
        self._recalls: list[tuple[DoorProbe, int]] = []
        self._members: list[RemovedMember] = []
        self._audit = UnreadAudit(stage, self.group_ids[0], self._tag)
        self._run: BenchRun | None = None

    def _pids(self) -> dict[str, int]:
        cluster = self._stage.cluster
        pids = {name: process.pid for name, process in cluster.processes.items() if process.running}
        return pids | {backend.name: backend.pid for backend in cluster.backends.all()}

    # Start ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Round:
        stage, load = self._stage, self._load
        for group_id in self.group_ids:
            stage.make_group(group_id)
        self._audit.join()
        plan = BenchPlan(
            urls=tuple(url.replace("http://", "ws://") for url in stage.cluster.edge_urls()),
            group_address=",".join(stage.addresses("group")),
            jwt_secret_file=stage.cluster.key_file,
            group_ids=tuple(self.group_ids),
            receivers=load.receivers,
            senders=load.senders,
            rate=load.rate,
            seconds=3_600.0,
            text_bytes=load.text_bytes,
            workers=1,
            max_attempts=6,
            settle_seconds=40.0,
            catch_up_limit_seconds=HEALED_SECONDS,
            seed=self._seed,
        )
        self._run = BenchRun(plan).start()
        try:
            self._start_probes()
            self._memory.start()
            assert self._run.wait_sending(40.0), "the clients of the load did not all enter"
            self._wait_well(time.monotonic_ns(), 20.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_probes(self) -> None:
        for number in range(PROBES):
            user, group_id = f"{self._tag}-probe-{number}", f"{self._tag}-probe-{number}"
            self._stage.make_group(group_id, [user])
            audit = UnreadAudit(self._stage, group_id, f"{self._tag}-p{number}")
            audit.join()
            recall: Callable[[int, int], None] = lambda seq, count, place=number: self._note_recall(place, seq, count)  # noqa: E731
            probe = DoorProbe(self._stage, user, group_id, on_ack=recall, first_edge=number)
            self._probes.append(probe)
            self._probe_audits.append(audit)
            probe.start()
        for probe in self._probes:
            assert probe.entered.wait(15.0), f"{probe.user_id} cannot enter"

    def _note_recall(self, place: int, seq: int, count: int) -> None:
        if count % 5 == 2:
            self._recalls.append((self._probes[place], seq))

    def __exit__(self, *_: object) -> None:
        for chatter in [*self._probes, *self._members]:
            chatter.ending.set()
        if self._run is not None:
            self._run.cut()
            self._run.__exit__()
        self._memory.stop()
        for chatter in [*self._probes, *self._members]:
            chatter.join()

    # Faults ---------------------------------------------------------------------------------------------------------

    def apply(self, fault: Fault, *, meanwhile: Callable[[], None] | None = None) -> None:
        """Breaks it, holds it, mends it, and waits until messages flow again everywhere."""
        run = self._run
        assert run is not None
        progress = run.progress
        heads = {group_id: seq for group_id, (_, seq) in progress.heads.items()}
        member = self._bring_member(len(self.applied))
        applied = Applied(fault, run.note(f"inject {fault.name}"), time.monotonic(), heads, progress.faults, member=member)
        self.applied.append(applied)
        try:
            fault.inject(self._stage)
            began = time.monotonic()
            if fault.stores and member.entered.is_set():
                self._remove(applied)
            if meanwhile is not None:
                meanwhile()
            time.sleep(max(fault.hold_seconds - (time.monotonic() - began), 0.0))
        finally:
            fault.heal(self._stage)
        applied.healed = run.note(f"heal {fault.name}")
        applied.mended = time.monotonic()
        if not member.removed_at:
            self._remove(applied)
        member.connected_again()
        missing = self._wait_well(applied.healed.at_ns, WELL_SECONDS)
        applied.ended = time.monotonic()
        applied.faults_after = run.progress.faults
        if missing:
            applied.notes.append(f"I6: {WELL_SECONDS:g} s after it was mended: {missing}")
        run.note(f"well {fault.name}")

    def _bring_member(self, number: int) -> RemovedMember:
        group_id = self.group_ids[number % len(self.group_ids)]
        member = RemovedMember(self._stage, f"{self._tag}-gone-{number}", group_id, first_edge=number)
        self._stage.add(group_id, [member.user_id])
        self._members.append(member)
        member.start()
        if not member.entered.wait(10.0):
            raise AssertionError(f"{member.user_id} cannot enter {group_id}")
        return member

    def _remove(self, applied: Applied) -> None:
        assert applied.member is not None
        applied.member.remove()

    def _wait_well(self, since_ns: int, seconds: float) -> str:
        """Waits for a message written since then to be ACKed and shown, and for all receivers to be at the head; says what is not."""
        assert self._run is not None
        wanted = self._load.receivers + self._load.senders
        deadline = time.monotonic() + seconds
        acked = shown = False
        while True:
            progress = self._run.progress
            slot = progress.last_slot
            acked = acked or (slot is not None and slot.newest_acked_ns >= since_ns)
            shown = shown or (slot is not None and slot.newest_shown_ns >= since_ns)
            at_head = slot is not None and slot.stale_ns < STALE_LIMIT_NS
            if acked and shown and at_head and progress.online >= wanted:
                return ""
            if time.monotonic() > deadline:
                lacks = {
                    "no message is ACKed": not acked,
                    "no message is delivered": not shown,
                    f"only {progress.online} of {wanted} clients are connected": progress.online < wanted,
                    "receivers lack messages": not at_head,
                }
                return ", ".join(text for text, is_so in lacks.items() if is_so)
            time.sleep(_LOOK_SECONDS)

    # End ------------------------------------------------------------------------------------------------------------

    def finish(self) -> list[Row]:
        """Settles, checks every promise, and gives the recovery times.

        Raises:
            AssertionError: naming each fault after which a promise did not hold.
        """
        run = self._run
        assert run is not None
        self._recall_some()
        # The last removal counts only if something was written more than six seconds later.
        last = max((member.removed_at for member in self._members), default=0.0)
        time.sleep(max(last + 7.0 - time.monotonic(), 0.0) if last else 0.0)
        run.stop()
        for chatter in [*self._probes, *self._members]:
            chatter.ending.set()
        for chatter in [*self._probes, *self._members]:
            chatter.stop()
        self.report = report = run.wait(180.0)
        self._memory.stop()
        complaints = judge_report(report, self.applied)
        for probe in self._probes:
            complaints += judge_probe(self._stage, probe, self.applied)
        complaints += [text for member in self._members if (text := member.complaint())]
        complaints += judge_memory(self._stage, self._memory, self.applied)
        complaints += self._judge_unread()
        rows = make_rows(self.name, self._stage, report, self.applied, self._memory, self._probes)
        assert not complaints, self._text(complaints, report, rows)
        return rows

    def _text(self, complaints: Sequence[str], report: BenchReport, rows: Sequence[Row]) -> str:
        order = ", ".join(applied.fault.name for applied in self.applied)
        lines = [f"round {self.name}, seed {self._seed}; faults in this order: {order}", *complaints, "", report.summary(), ""]
        return "\n".join([*lines, *(row.text() for row in rows)])

    def _recall_some(self) -> None:
        """Takes back every fifth message of the probes."""
        for probe, seq in list(self._recalls):
            request = message_pb2.RecallMessageRequest(group_id=probe.group_id, user_id=probe.user_id, seq=seq)
            self._stage.call(self._stage.messages.RecallMessage, request)

    def _judge_unread(self) -> list[str]:
        senders = [f"bench-{self.report.run_id}-s0"] if self.report else []
        self._audit.read_some(self._random, *senders)
        complaints = self._audit.complaints()
        for probe, audit in zip(self._probes, self._probe_audits, strict=True):
            audit.read_some(self._random, probe.user_id)
            complaints += audit.complaints()
        return complaints
