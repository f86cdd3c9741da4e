"""Runs `submit_client.c`, the load client in C, against a cluster: makes its groups and users, starts it, and reads what it found."""

from __future__ import annotations

import json
import pathlib
import secrets
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from c_programs import compiled

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.common.v1 import error_pb2
from throng.bench import BenchPlan, Verdict
from throng.bench.group_service import GroupServiceLink
from throng.bench.plan import host_and_port
from throng.bench.sharing import deal
from throng.bench.verdict import SCHEDULE_LAG_LIMIT_MS

SOURCE = pathlib.Path(__file__).with_suffix(".c")
_TOKEN_SECONDS = 86_400
_HEADS_SECONDS = 30.0


class ClientFailedError(Exception):
    """The client could not say anything about the server; the text is what it wrote."""


def compile_client(folder: pathlib.Path) -> pathlib.Path | None:
    """Builds the client into a folder; None without a C compiler."""
    built = compiled(folder, SOURCE)
    return built[0] if built else None


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one run.

    Attributes:
        figures: what the client measured and counted; docs at the top of its source.
        stored: by how much the heads of the groups grew, as the group service says.
    """

    figures: dict[str, Any]
    stored: int

    @property
    def faults(self) -> dict[str, int]:
        """What was wrong, by name. Beside what the client found: more was stored than was ACKed, or less.

        A submission that was refused counts neither way: not every code says that nothing was stored, and those that do are
        checked by the client.
        """
        faults = {name: count for name, count in self.figures["faults"].items() if count}
        acked, refused = self.figures["acked"], sum(self.figures["rejected"].values())
        surplus = max(acked + self.figures["others"] - self.stored, self.stored - acked - self.figures["others"] - refused)
        return faults | ({"stored_otherwise": surplus} if surplus > 0 else {})

    @property
    def verdict(self) -> Verdict:
        """Named as those of `throng bench`, with the same limit for lateness."""
        if self.faults:
            return Verdict.PRODUCT_FAULT
        return Verdict.LOAD_CLIENT_SATURATED if self.figures["late_p99_ms"] > SCHEDULE_LAG_LIMIT_MS else Verdict.PASSED

    def summary(self) -> str:
        """What a person reads."""
        of = self.figures
        rejected = {error_pb2.ErrorCode.Name(int(code))[len("ERROR_CODE_") :]: count for code, count in of["rejected"].items()}
        lines = [
            f"{self.verdict}: faults {self.faults or 'none'}",
            f"messages    submitted {of['submitted']:,}  ACKed {of['acked']:,}  stored {self.stored:,}  refused {rejected or 0}"
            f"  deliveries {of['deliveries']:,}  notices {of['notices']:,}",
            f"to ACK      p50 {of['ack_p50_ms']:.0f} ms  p90 {of['ack_p90_ms']:.0f}  p99 {of['ack_p99_ms']:.0f}"
            f"  max {of['ack_max_ms']:.0f}, counted from when each was due",
            f"to the last p50 {of['last_p50_ms']:.0f} ms  p99 {of['last_p99_ms']:.0f}  max {of['last_max_ms']:.0f}",
            f"client      late p99 {of['late_p99_ms']:.1f} ms  max {of['late_max_ms']:.1f}  CPU {of['cpu_seconds']:.2f} s",
        ]
        return "\n".join(line for line in lines if of["deliveries"] or not line.startswith("to the last"))


class SubmitRun:
    """One run. Use as a context manager; call `wait_sending`, `wait_sent` and `wait` in this order.

    The senders of the plan are the connections, each a member of one group and at the edge where `throng bench` would begin.
    The process ends by itself, whatever the server does.
    """

    def __init__(self, plan: BenchPlan, program: pathlib.Path, folder: pathlib.Path, *, delivery: str = "inline") -> None:
        """`folder` is where the list of connections is written. A plan with receivers is not for this client.

        Raises:
            ThrongError: INVALID_ARGUMENT for a plan that cannot be run.
        """
        plan.check()
        if plan.receivers or not plan.senders:
            raise ValueError("this client has senders only, which hear what they submit")
        self._plan = plan
        self._program = program
        self._file = folder / "connections"
        self._delivery = delivery
        self._deal = deal(plan, secrets.token_hex(6))
        self._link = GroupServiceLink(plan.group_address)
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._link.prepare(self._plan, self._deal.group_ids, self._deal.members)
            self._heads = self._link.heads(self._deal.group_ids, seconds=_HEADS_SECONDS)
            issuer = TokenIssuer.from_file(self._plan.jwt_secret_file)
            lines = [
                f"{issuer.issue(one.user_id, ttl_seconds=_TOKEN_SECONDS)} {one.group_id} {one.edge}\n" for one in self._deal.senders
            ]
            self._file.write_text("".join(lines))
            self._file.chmod(0o600)
            self._running = subprocess.Popen(self._command(), stdout=subprocess.PIPE, text=True)
        except BaseException:
            self._link.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._link.close()
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
        self._file.unlink(missing_ok=True)

    def wait_sending(self) -> None:
        """Waits until all connections have entered and the first message is due.

        Raises:
            ClientFailedError: not all of them could.
        """
        self._wait_for("sending")

    def wait_sent(self) -> None:
        """Waits until the seconds of sending are over.

        Raises:
            ClientFailedError: the client ended before.
        """
        self._wait_for("sent")

    def wait(self) -> Found:
        """Waits until everything is settled.

        Raises:
            ClientFailedError: the client ended without a report.
            ThrongError: the group service did not tell the heads.
        """
        document = self._line()
        if not document.startswith("{"):
            raise ClientFailedError(f"no report but {document!r}")
        heads = self._link.heads(self._deal.group_ids, seconds=_HEADS_SECONDS)
        stored = sum(heads[group_id][1] - self._heads[group_id][1] for group_id in self._deal.group_ids)
        return Found(json.loads(document), stored)

    def _command(self) -> list[str]:
        plan = self._plan
        edges = ",".join("{}:{}".format(*host_and_port(url)) for url in plan.urls)
        options = {
            "edges": edges,
            "connections": self._file,
            "rate": plan.rate,
            "seconds": plan.seconds,
            "bytes": plan.text_bytes,
            "seed": plan.seed or 1,
            "pace": plan.ramp,
            "delivery": self._delivery,
            "settle": min(60.0, plan.settle_seconds),
        }
        return [str(self._program), *(text for name, value in options.items() for text in (f"--{name}", str(value)))]

    def _wait_for(self, word: str) -> None:
        line = self._line()
        if line != word:
            raise ClientFailedError(f"the client said {line!r} where {word!r} belongs; its complaint is on standard error")

    def _line(self) -> str:
        assert self._running is not None
        output: IO[str] | None = self._running.stdout
        assert output is not None
        return output.readline().rstrip("\n")
