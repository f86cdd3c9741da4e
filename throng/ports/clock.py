"""Port `Clock`: time, so that tests can hold it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Purpose: tells the time of day and measures durations.

    Ordering: `monotonic` never goes back; `now_ms` may jump either way.
    Concurrency: any thread. Errors: none. Not promised: that the two advance alike.
    """

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        ...
