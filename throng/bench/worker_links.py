"""The worker processes as the coordinator sees them: started, told what to do, read, and ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from throng.bench.series import Slot, merge_slots
from throng.bench.shares import Evidence, Share, Tick

_END_SECONDS = 5.0


class WorkersLostError(Exception):
    """A worker process ended or fell silent; without its evidence nothing can be judged."""


@dataclass(slots=True)
class Progress:
    """How a run stands, over all workers. `acked`, `submitted`, `refused`, `delivered` since the beginning."""

    entered: int = 0
    online: int = 0
    unanswered: int = 0
    behind: int = 0
    heads_round: int = 0
    faults: int = 0
    submitted: int = 0
    acked: int = 0
    refused: int = 0
    delivered: int = 0
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    last_slot: Slot | None = None


class WorkerLinks:
    """Not safe for several threads, but for `progress`, which any thread may read."""

    def __init__(self) -> None:
        self.progress = Progress()
        self._links: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ticks: dict[Connection, Tick] = {}
        self._evidence: dict[Connection, Evidence] = {}
        self._slots: dict[int, Slot] = {}

    def start(self, shares: Sequence[Share]) -> None:
        """Starts a process per share."""
        for share in shares:
            ours, theirs = Pipe()
            with theirs:
                command = [sys.executable, "-m", "throng.bench.worker", str(theirs.fileno())]
                # A group of their own: Ctrl-C on a terminal is for the coordinator, which ends them in good order.
                process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, process_group=0)
                self._processes.append(process)
            self._links.append(ours)
            ours.send(share)

    def tell(self, command: object) -> None:
        """Sends a command to all.

        Raises:
            WorkersLostError: one is gone.
        """
        for link in self._links:
            try:
                link.send(command)
            except OSError as error:
                raise WorkersLostError("a worker process of the load client ended") from error

    def read(self, seconds: float) -> None:
        """Takes what workers say within a time.

        Raises:
            WorkersLostError: one is gone.
        """
        deadline = time.monotonic() + seconds
        while True:
            waiting = [link for link in self._links if link not in self._evidence]
            left = deadline - time.monotonic()
            found = wait(waiting, max(0.0, left)) if waiting else []
            for link in found:
                assert isinstance(link, Connection)
                self._take(link)
            if not found or left <= 0:
                return

    def finish(self, command: object, seconds: float) -> list[Evidence]:
        """Asks for the evidence and waits for it.

        Raises:
            WorkersLostError: not from all in time.
        """
        self.tell(command)
        deadline = time.monotonic() + seconds
        while len(self._evidence) < len(self._links):
            if time.monotonic() > deadline:
                raise WorkersLostError("a worker process of the load client fell silent")
            self.read(0.1)
        slots = [self._slots[index] for index in sorted(self._slots)]
        evidence = [self._evidence[link] for link in self._links]
        evidence[0].slots = [*slots, *evidence[0].slots]
        return evidence

    def close(self) -> None:
        """Ends the processes; by force when they do not end by themselves."""
        for link in self._links:
            link.close()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
        self._links.clear()
        self._processes.clear()

    def _take(self, link: Connection) -> None:
        try:
            said = link.recv()
        except (EOFError, OSError) as error:
            raise WorkersLostError("a worker process of the load client ended") from error
        if isinstance(said, Evidence):
            self._evidence[link] = said
        elif isinstance(said, Tick):
            self._ticks[link] = said
            merge_slots(self._slots, said.slots)
            self._refresh(said)

    def _refresh(self, tick: Tick) -> None:
        before, ticks = self.progress, self._ticks.values()
        heads = dict(before.heads)
        for group_id, head in tick.heads.items():
            heads[group_id] = max(heads.get(group_id, head), head)
        whole = len(ticks) == len(self._links)
        self.progress = Progress(
            entered=sum(one.entered for one in ticks),
            online=sum(one.online for one in ticks),
            unanswered=sum(one.unanswered for one in ticks),
            behind=sum(one.behind for one in ticks),
            heads_round=min(one.heads_round for one in ticks) if whole else 0,
            faults=sum(one.faults for one in ticks),
            submitted=before.submitted + sum(slot.submitted for slot in tick.slots),
            acked=before.acked + sum(slot.acked for slot in tick.slots),
            refused=before.refused + sum(slot.refused for slot in tick.slots),
            delivered=before.delivered + sum(slot.delivered for slot in tick.slots),
            heads=heads,
            last_slot=tick.slots[-1] if tick.slots else before.last_slot,
        )
