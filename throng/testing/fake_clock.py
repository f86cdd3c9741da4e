"""A clock that tests turn by hand."""

from __future__ import annotations

import threading


class FakeClock:
    """`Clock` that stands still until `advance`."""

    def __init__(self, *, now_ms: int = 1_700_000_000_000) -> None:
        self._lock = threading.Lock()
        self._now_ms = now_ms
        self._monotonic = 1_000.0

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self._now_ms

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks on."""
        with self._lock:
            self._monotonic += seconds
            self._now_ms += round(seconds * 1000)

    def jump_wall_clock(self, milliseconds: int) -> None:
        """Moves the time of day alone, forward or back."""
        with self._lock:
            self._now_ms += milliseconds
