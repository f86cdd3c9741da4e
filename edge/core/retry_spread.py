"""When refused clients shall come again: the more were refused, the longer the time over which they are spread (hop 8)."""

from __future__ import annotations

import random

from throng.domain.errors import ErrorCode, ThrongError
from throng.ports.clock import Clock

SPREAD_MS_EACH = 2
"""So many milliseconds for each refusal: all come again at 500 a second, which an edge lets in beside its other work."""

LONGEST_SPREAD_MS = 30_000
_WINDOW_SECONDS = 1.0
_OVERLOAD = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED})


class RetrySpread:
    """Without it, clients that one failed batch refused at once would all come back at once and fail together again.

    A lone refusal keeps its `retry_after_ms`; of many, each gets a random time more. Hub thread only.
    """

    def __init__(self, clock: Clock, random_source: random.Random) -> None:
        self._clock = clock
        self._random = random_source
        self._window_ends = float("-inf")
        self._refused = 0
        self._refused_before = 0

    def retry_after_ms(self, error: ThrongError) -> int:
        """Counts a refusal; returns what its client is told, milliseconds."""
        if error.code not in _OVERLOAD:
            return error.retry_after_ms
        now = self._clock.monotonic()
        if now >= self._window_ends:
            self._refused_before = self._refused if now < self._window_ends + _WINDOW_SECONDS else 0
            self._refused = 0
            self._window_ends = now + _WINDOW_SECONDS
        spread_ms = min(SPREAD_MS_EACH * (self._refused + self._refused_before), LONGEST_SPREAD_MS)
        self._refused += 1
        return error.retry_after_ms + (self._random.randint(0, spread_ms) if spread_ms else 0)
