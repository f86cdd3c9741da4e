"""Memory and CPU of the server's processes on this machine, sampled while a run lasts (Linux: /proc)."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

_EVERY_NS = 1_000_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """Of all processes together, at a moment of the machine's monotonic clock. `cpu_seconds` since each began."""

    at_ns: int
    resident_bytes: int
    cpu_seconds: float
    processes: int


class ServerProcesses:
    """Samples the named processes and those of their descendants that run the same program, once a second.

    The rule leaves out what a cluster starts beside Throng's own processes: Kafka, MariaDB and Redis.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self.samples: list[Sample] = []
        self._pids = tuple(pids)
        self._next_ns = 0

    def look(self) -> None:
        """Takes a sample when one is due; nothing when no process was named or none lives."""
        now_ns = time.monotonic_ns()
        if not self._pids or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _EVERY_NS
        self.take(now_ns)

    def take(self, now_ns: int) -> None:
        """Takes a sample now."""
        pids = {one for pid in self._pids for one in _family(pid)}
        found = [usage for usage in map(_usage, sorted(pids)) if usage is not None]
        if found:
            self.samples.append(Sample(now_ns, sum(one[0] for one in found), sum(one[1] for one in found), len(found)))


def _family(pid: int) -> list[int]:
    program = _program(pid)
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        if _program(one) == program:
            found.append(one)
        for children in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            waiting += [int(child) for child in _read(children).split()]
    return found


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _usage(pid: int) -> tuple[int, float] | None:
    """Resident bytes and CPU seconds; None: it is gone."""
    memory = _read(pathlib.Path(f"/proc/{pid}/statm")).split()
    times = _read(pathlib.Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(memory) < 2 or len(times) < 13:
        return None
    return int(memory[1]) * _PAGE, (int(times[11]) + int(times[12])) / _TICKS


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
