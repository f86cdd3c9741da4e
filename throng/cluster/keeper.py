"""Ends what is left of a cluster when its supervisor is gone, even by kill -9. This file is run as a process of its own.

It reads lines from its standard input, a pipe from the supervisor: `+ RANK PID` notes a process, `- PID` forgets one. When the
pipe is closed, those of rank 0 (services, which see the end of their own pipes) get time to end in good order, then those
of rank 1 (Kafka, MariaDB, Redis), and whatever is left is killed. A process is known by its pid and the time of its start.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

_SERVICE_SECONDS = 12.0
_BACKEND_SECONDS = 10.0
_LOOK_SECONDS = 0.05


def started_at(pid: int) -> str:
    """When a process was started, in the kernel's own count; empty: it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


class Keeper:
    """The supervisor's end of the pipe. Any thread."""

    def __init__(self, *, lock_descriptor: int | None = None) -> None:
        """`lock_descriptor` is kept open by the keeper, so that the folder stays taken until everything has ended."""
        self._lock = threading.Lock()
        self._lock_descriptor = lock_descriptor
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],  # alone: nothing of Throng is imported there
            stdin=subprocess.PIPE,
            pass_fds=() if self._lock_descriptor is None else (self._lock_descriptor,),
            start_new_session=True,
        )

    def note(self, pid: int, *, backend: bool = False) -> None:
        """Notes a process."""
        self._say(f"+ {int(backend)} {pid}")

    def forget(self, pid: int) -> None:
        """Forgets a process that has ended."""
        self._say(f"- {pid}")

    def _say(self, line: str) -> None:
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def stop(self) -> None:
        """Closes the pipe: what was noted and not forgotten is ended. Idempotent."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(_SERVICE_SECONDS + _BACKEND_SECONDS + 5.0)


def _read(lines: list[tuple[int, int, str]]) -> None:
    for line in sys.stdin:
        words = line.split()
        if words[0] == "+":
            lines.append((int(words[1]), int(words[2]), started_at(int(words[2]))))
        else:
            lines[:] = [entry for entry in lines if entry[1] != int(words[1])]


def _alive(processes: list[tuple[int, str]]) -> list[int]:
    return [pid for pid, start in processes if start and started_at(pid) == start]


def _end(processes: list[tuple[int, str]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for pid in _alive(processes):
        _signal(pid, signal.SIGTERM)
        _signal(pid, signal.SIGCONT)
    while _alive(processes) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    for pid in _alive(processes):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    """Waits for the end of the pipe, then ends what is left."""
    lines: list[tuple[int, int, str]] = []
    _read(lines)
    for rank, seconds in ((0, _SERVICE_SECONDS), (1, _BACKEND_SECONDS)):
        _end([(pid, start) for at, pid, start in lines if at == rank], seconds)


if __name__ == "__main__":
    main()
