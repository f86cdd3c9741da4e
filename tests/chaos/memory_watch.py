"""Samples the memory of all processes of a cluster (I8)."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Mapping

_PACE_SECONDS = 0.25
SERVICE_GROWTH_MEBIBYTES = 96.0
"""What a service may grow during a fault: its queues are bounded well below that at the load of these tests."""

SERVICE_MEBIBYTES = 320.0


def resident_mebibytes(pid: int) -> float:
    """RSS of a process; 0: it is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


class MemoryWatch:
    """Samples in a thread until `stop`. `pids` is asked anew each time, for processes are killed and started."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch")
        self.samples: list[tuple[float, str, int, float]] = []

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it. Idempotent."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._ending.wait(_PACE_SECONDS):
            now = time.monotonic()
            for name, pid in self._pids().items():
                size = resident_mebibytes(pid) if pid else 0.0
                if size:
                    self.samples.append((now, name, pid, size))

    def growth(self, since: float, until: float) -> dict[str, tuple[float, float]]:
        """Per process name: (growth, largest size), mebibytes, between two monotonic times; each life of a process by itself."""
        lives: dict[tuple[str, int], list[float]] = {}
        for at, name, pid, size in self.samples:
            if since <= at <= until:
                lives.setdefault((name, pid), []).append(size)
        found: dict[str, tuple[float, float]] = {}
        for (name, _), sizes in lives.items():
            grown, largest = found.get(name, (0.0, 0.0))
            found[name] = (max(grown, max(sizes) - sizes[0]), max(largest, max(sizes)))
        return found
