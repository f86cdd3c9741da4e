"""How many upgrades per second an edge admits, so that a storm of reconnecting clients cannot starve those who are in."""

from __future__ import annotations

import random
from collections.abc import Callable

from throng.ports.clock import Clock

LONGEST_RETRY_SECONDS = 30
LATE_SECONDS = 0.1
"""The hub's loop is this late: less is admitted. Below half of it, more again."""

LEAST_SHARE = 0.25
_LOOK_SECONDS = 0.1
_SHRINK, _GROW = 0.85, 0.1


class HandshakeBudget:
    """A token bucket that holds one second's worth; 0 per second: no limit. Hub thread only.

    While the hub is late, it admits less: down to a quarter, back up within a second. Those it refuses are told to come back
    after a random time within which all of them can be served.
    """

    def __init__(
        self,
        per_second: int,
        *,
        clock: Clock,
        lateness: Callable[[], float] = lambda: 0.0,
        random_source: random.Random | None = None,
    ) -> None:
        """`lateness` tells by how many seconds the hub's loop was late lately."""
        self._per_second = per_second
        self._clock = clock
        self._lateness = lateness
        self._random = random_source or random.Random()  # spreads clients out; nothing is secret
        self._tokens = float(per_second)
        self._filled_at = self._window_at = clock.monotonic()
        self._looked_at = float("-inf")
        self._refused = 0
        self._refused_before = 0
        self.share = 1.0

    def take(self) -> bool:
        """Takes one upgrade's worth; False: there is none now."""
        if self._per_second == 0:
            return True
        now = self._clock.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._look(now)
        rate = self._per_second * self.share
        self._tokens = min(max(1.0, rate), self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1:
            self._refused += 1
            return False
        self._tokens -= 1
        return True

    def retry_after_seconds(self) -> int:
        """What a refused client is told: 1 s, and a random part of the time that all who were refused lately need."""
        refused = self._refused + self._refused_before
        spread = refused / max(1.0, self._per_second * self.share)
        return 1 + self._random.randint(0, min(LONGEST_RETRY_SECONDS, round(spread)))

    def _look(self, now: float) -> None:
        self._looked_at = now
        late = self._lateness()
        if late >= LATE_SECONDS:
            self.share = max(LEAST_SHARE, self.share * _SHRINK)
        elif late < LATE_SECONDS / 2:
            self.share = min(1.0, self.share + _GROW)
        if now - self._window_at >= 1.0:
            self._refused_before = self._refused if now - self._window_at < 2.0 else 0
            self._refused = 0
            self._window_at = now
