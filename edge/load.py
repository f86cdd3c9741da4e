"""How busy this edge is, as its heartbeat tells routers once a second (design 7)."""

from __future__ import annotations

import time
from collections.abc import Callable

from throng.ports.clock import Clock


class CpuShare:
    """Share of one core that this process used since the last look, 0 to 1."""

    def __init__(self, *, clock: Clock, cpu_seconds: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._looked_at = clock.monotonic()
        self._used = cpu_seconds()

    def take(self) -> float:
        """Looks and begins a new interval."""
        now, used = self._clock.monotonic(), self._cpu_seconds()
        elapsed = now - self._looked_at
        share = (used - self._used) / elapsed if elapsed > 0 else 0.0
        self._looked_at, self._used = now, used
        return min(1.0, max(0.0, share))
