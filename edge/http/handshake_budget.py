"""How many upgrades per second an edge admits, so that a storm of reconnecting clients cannot starve those who are in."""

from __future__ import annotations

from throng.ports.clock import Clock


class HandshakeBudget:
    """A token bucket that holds one second's worth; 0 per second: no limit."""

    def __init__(self, per_second: int, *, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = float(per_second)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Takes one upgrade's worth; False: there is none now."""
        if self._per_second == 0:
            return True
        now = self._clock.monotonic()
        self._tokens = min(self._per_second, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
