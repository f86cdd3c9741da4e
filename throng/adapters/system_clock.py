"""`Clock` over the operating system."""

from __future__ import annotations

import time


class SystemClock:
    """The real time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()
