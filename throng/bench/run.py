"""A run with its phases connect, send, settle and judge; in a thread of its own, so that faults can be made meanwhile."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from throng.bench.demands import judge_scenario
from throng.bench.facts import Facts
from throng.bench.group_service import GroupServiceLink
from throng.bench.judge import GroupCase
from throng.bench.plan import BenchPlan
from throng.bench.report import BenchEvent, BenchReport, ScenarioResult, Verdict
from throng.bench.script import script
from throng.bench.server_processes import ServerProcesses
from throng.bench.shares import Begin, Evidence, Finish, Halt, Heads, Resume
from throng.bench.sharing import Deal, deal
from throng.bench.verdict import Circumstances, Judged, judge, sums
from throng.bench.worker_links import Progress, WorkerLinks, WorkersLostError
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_POLL_SECONDS = 0.05
_HEADS_SECONDS = 0.5
_CATCH_UP_SECONDS = 5.0
"""What I6 allows receivers after the last head was read."""

_FINISH_SECONDS = 60.0


class BenchRun:
    """One run in the background. `note` events while it runs.

    `stop` ends the sending early; `abort` does, too, and says so in the verdict; `cut` ends even the settling.
    Use as a context manager, or call `wait` until it returns: nothing of it lives on afterwards.
    """

    def __init__(self, plan: BenchPlan, security: RpcSecurity = PLAIN) -> None:
        """`security` is what the group service is shown and must show; edges are met as clients meet them.

        Raises:
            ThrongError: INVALID_ARGUMENT for a plan that cannot be run.
        """
        plan.check()
        self.plan = plan
        self.run_id = secrets.token_hex(4) if plan.seed is None else f"{plan.seed:08x}-{secrets.token_hex(2)}"
        self.origin_ns = 0
        self._deal: Deal = deal(plan, self.run_id)
        self._events: list[BenchEvent] = []
        self._link = GroupServiceLink(plan.group_address, security)
        self._workers = WorkerLinks()
        self._server = ServerProcesses(plan.server_pids)
        self._thread = threading.Thread(target=self._guarded, name="bench-run")
        self._stopping = threading.Event()
        self._aborting = threading.Event()
        self._cutting = threading.Event()
        self._sending = threading.Event()
        self._report: BenchReport | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        if self._thread.is_alive():
            self.cut()
            self._thread.join()

    # What callers see -----------------------------------------------------------------------------------------------

    def give_up_preparing_when(self, ended: Callable[[], bool]) -> None:
        """`start` looks at this ten times a second; later it is `abort` and `cut` that end a run."""
        self._link.ended = ended

    def start(self) -> Self:
        """Makes groups and members, and starts to connect.

        Raises:
            ThrongError: the group service refused, or did not answer in the time that clients have to connect.
            EndedEarlyError: `give_up_preparing_when` said so; nothing was sent.
        """
        try:
            self._link.prepare(self.plan, self._deal.group_ids, self._deal.members)
            self._bases = self._link.heads(self._deal.group_ids, seconds=10.0)
            self._link.ended = None
            self._server.look()
            self.origin_ns = time.monotonic_ns()
            self._workers.start(self._deal.shares(self.plan, self.run_id, self.origin_ns))
        except BaseException:
            self._workers.close()
            self._link.close()
            raise
        self._thread.start()
        return self

    def note(self, name: str) -> BenchEvent:
        """Stamps an event, such as the moment of a fault."""
        now_ns = time.monotonic_ns()
        event = BenchEvent(round((now_ns - self.origin_ns) / 1e9, 3), now_ns, name)
        self._events.append(event)
        return event

    def wait_sending(self, timeout_seconds: float) -> bool:
        """Waits until all clients take part and messages are sent; False: not in time."""
        return self._sending.wait(timeout_seconds)

    @property
    def progress(self) -> Progress:
        """How it stands now."""
        return self._workers.progress

    @property
    def done(self) -> bool:
        """The report is there, or the run failed."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends the sending before its time, as if the plan had said so."""
        self._stopping.set()

    def abort(self) -> None:
        """Ends the sending because somebody does not want to wait; what was sent is still settled and judged."""
        self._aborting.set()
        self._stopping.set()

    def cut(self) -> None:
        """Ends the sending and the settling; nobody is blamed for what is missing."""
        self._cutting.set()
        self.abort()

    def wait(self, timeout_seconds: float | None = None) -> BenchReport:
        """Waits for the report. Bounded in time by the plan.

        Raises:
            TimeoutError: not within `timeout_seconds`.
            ThrongError: a worker process died.
        """
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise TimeoutError("the run is not over yet")
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    # Phases ---------------------------------------------------------------------------------------------------------

    def _guarded(self) -> None:
        try:
            self._report = self._run()
        except WorkersLostError as error:
            self._error = ThrongError(ErrorCode.INTERNAL, str(error))
        except BaseException as error:
            self._error = error
        finally:
            self._workers.close()
            self._link.close()

    def _run(self) -> BenchReport:
        circumstances = Circumstances(0, self.plan.receivers + self.plan.senders)
        circumstances.entered = self._connect()
        if circumstances.entered == circumstances.clients and not self._stopping.is_set():
            circumstances.sending_seconds = self._send()
        self._workers.tell(Halt())
        self._workers.tell(Resume())
        self.note("stopped")
        heads = self._settle() if circumstances.entered else {}
        circumstances.aborted = self._aborting.is_set()
        circumstances.cut = self._cutting.is_set()
        evidence = self._workers.finish(Finish(), _FINISH_SECONDS)
        if not heads and circumstances.entered:
            circumstances.unreachable = "the group service did not tell the heads of groups"
        cases = self._cases(heads, circumstances)
        return self._judge(cases, evidence, circumstances)

    def _connect(self) -> int:
        """Waits until all clients take part at once; returns how many did."""
        wanted = self.plan.receivers + self.plan.senders
        deadline = time.monotonic() + self.plan.connect_limit_seconds
        most = 0
        while time.monotonic() < deadline and most < wanted and not self._stopping.is_set():
            self._read()
            most = max(most, self.progress.online)
        self.note("connected" if most >= wanted else "not_connected")
        return most

    def _send(self) -> float:
        start_ns = time.monotonic_ns() + 200_000_000
        stop_ns = start_ns + int(self.plan.seconds * 1e9)
        self._workers.tell(Begin(start_ns, stop_ns))
        self.note("sending")
        self._sending.set()
        told = 0.0
        acts = script(self.plan)
        while time.monotonic_ns() < stop_ns and not self._stopping.wait(0):
            while acts and time.monotonic_ns() >= start_ns + int(acts[0].at_seconds * 1e9):
                act = acts.pop(0)
                self.note(act.name)
                if act.command is not None:
                    self._workers.tell(act.command)
            self._read()
            if time.monotonic() - told > _HEADS_SECONDS:
                told = time.monotonic()
                # What one worker heard of, the others cannot know: without it a receiver that gets nothing seems to be at head.
                self._workers.tell(Heads(0, self.progress.heads))
        return max(0.001, (min(stop_ns, time.monotonic_ns()) - start_ns) / 1e9)

    def _settle(self) -> dict[str, tuple[int, int]]:
        """Waits until all is answered and everyone is at the heads; returns the heads by which receivers are judged."""
        deadline = time.monotonic() + self.plan.settle_seconds
        heads: dict[str, tuple[int, int]] = {}
        # What workers said before they heard of the halt says nothing: a last message may have been written after it.
        number = 1
        self._workers.tell(Heads(number, {}))
        while not self._cutting.is_set():
            self._read()
            is_late = time.monotonic() >= deadline
            if (self.progress.unanswered or self.progress.heads_round < 1) and not is_late:
                continue
            heads = self._read_heads() or heads
            number += 1
            self._workers.tell(Heads(number, heads))
            grace = _CATCH_UP_SECONDS if is_late else 2 * _HEADS_SECONDS
            if self._wait_at_heads(number, grace):
                self.note("settled")
                return heads
            if is_late:
                self.note("not_settled")
                return heads
        return heads or self._read_heads()

    def _wait_at_heads(self, number: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._cutting.is_set():
            self._read()
            progress = self.progress
            if progress.heads_round >= number and not progress.behind and not progress.unanswered:
                return progress.online >= self.plan.receivers + self.plan.senders
        return False

    def _read_heads(self) -> dict[str, tuple[int, int]]:
        try:
            return self._link.heads(self._deal.group_ids, seconds=2.0)
        except ThrongError:
            return {}

    def _cases(self, heads: dict[str, tuple[int, int]], circumstances: Circumstances) -> dict[str, GroupCase]:
        """Reads the history of every group."""
        deadline = time.monotonic() + self.plan.audit_seconds
        cases: dict[str, GroupCase] = {}
        if not heads:
            return cases
        try:
            final = self._link.heads(self._deal.group_ids, seconds=self.plan.audit_seconds)
            for group_id in self._deal.group_ids:
                epoch, head_seq = final[group_id]
                base_epoch, base_seq = self._bases[group_id]
                base = base_seq if epoch == base_epoch else 0
                judged = heads[group_id][1] if heads[group_id][0] == epoch else 0
                history = list(self._link.history(group_id, epoch, base, head_seq, self.run_id, deadline))
                cases[group_id] = GroupCase(group_id, epoch, base, head_seq, judged, history)
        except ThrongError as error:
            circumstances.unreachable = f"the history could not be read: {error.text}"
            cases.clear()
        return cases

    def _judge(self, cases: dict[str, GroupCase], evidence: list[Evidence], circumstances: Circumstances) -> BenchReport:
        limit = self.plan.catch_up_limit_seconds
        judged = judge(cases, evidence, circumstances, run_id=self.run_id, catch_up_limit_seconds=limit)
        self.note("judged")
        scenario = self._judge_scenario(judged, evidence)
        verdict, reason = scenario.verdict(judged.verdict, judged.reason)
        plan: dict[str, Any] = dataclasses.asdict(self.plan)
        plan["jwt_secret_file"] = str(self.plan.jwt_secret_file)
        return BenchReport(
            run_id=self.run_id,
            verdict=verdict,
            reason=reason,
            plan=plan,
            group_ids=self._deal.group_ids,
            deliveries=judged.tally,
            messages=judged.messages,
            latency=judged.latency,
            client=judged.client,
            connections=judged.connections,
            refusals=judged.refusals,
            rejections=judged.rejections,
            counts=judged.findings.counts,
            findings=judged.findings.examples,
            events=sorted(self._events, key=lambda event: event.at_ns),
            origin_ns=self.origin_ns,
            slots=judged.slots,
            scenario=scenario,
            samples=self._server.samples,
        )

    def _judge_scenario(self, judged: Judged, evidence: list[Evidence]) -> ScenarioResult:
        """Its demands, where the run came so far that they can be judged."""
        if judged.verdict not in (Verdict.PASSED, Verdict.LOAD_CLIENT_SATURATED, Verdict.PRODUCT_FAULT):
            return ScenarioResult(self.plan.scenario.value)
        return judge_scenario(
            Facts(
                plan=self.plan,
                messages=judged.messages,
                latency=judged.latency,
                connections=judged.connections,
                slow_lag=judged.slow_lag,
                totals=sums(evidence, "totals"),
                heartbeat_ms=max(one.totals.get("heartbeat_ms", 0) for one in evidence),
                rejections=judged.rejections,
                events=sorted(self._events, key=lambda event: event.at_ns),
                origin_ns=self.origin_ns,
                slots=judged.slots,
                samples=self._server.samples,
            )
        )

    def _read(self) -> None:
        """Takes what workers say, and a sample of the server's processes when one is due."""
        self._workers.read(_POLL_SECONDS)
        self._server.look()


def run(plan: BenchPlan, security: RpcSecurity = PLAIN) -> BenchReport:
    """Runs a plan to its end.

    Raises:
        ThrongError: INVALID_ARGUMENT for a plan that cannot be run; whatever the group service refused.
    """
    with BenchRun(plan, security) as running:
        return running.wait()
