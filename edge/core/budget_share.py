"""One group's budget as far as this edge may give it out: two token buckets and how much is offered (hop 1)."""

from __future__ import annotations

import math
import random

from throng.domain.limits import HIGH_RESERVE_PERCENT

LEAST_TOKENS = 3.0
"""Messages that a bucket holds at the least: with fewer, a small share is partly lost to chance."""

_LEAST_MEMORY_SECONDS = 1.0
_LONGEST_MEMORY_SECONDS = 30.0
_MEMORY_MESSAGES = 4.0
_EAGERNESS = 3.0
"""The odds of a full bucket are so many times those that would just use the share up, so a bucket stays about a third full."""


class BudgetShare:
    """Rates are those of the moment of the question: a share may change from one message to the next. Hub thread only.

    A bucket holds one second's worth and is full at the beginning. What is offered is an average over about the last second, or
    over the time of four messages where the share is small.
    """

    __slots__ = ("_filled_at", "_offered", "_reserve", "_tokens")

    def __init__(self, now: float) -> None:
        self._filled_at = now
        self._offered = 0.0
        self._tokens = math.inf
        self._reserve = math.inf

    def take(self, per_second: float, now: float) -> bool:
        """A NORMAL message comes; lets it in when there is a token: who comes first is served."""
        self._fill(per_second, now)
        self._offered += 1.0
        return self._take()

    def sample(self, per_second: float, now: float, source: random.Random) -> bool:
        """A NORMAL message comes; lets it in by lot.

        The odds are share against offer, better while tokens are left over and worse while they run short, so that the share is
        used up whatever is offered, and no more.
        """
        self._fill(per_second, now)
        odds = _EAGERNESS * self._tokens / _capacity(per_second)
        chosen = source.random() * self._offered < odds * per_second * _memory_seconds(per_second)
        self._offered += 1.0
        return chosen and self._take()

    def take_high(self, per_second: float, now: float) -> bool:
        """A message of the HIGH lane comes; lets it in from the reserve, else from what is there for all, never by lot."""
        self._fill(per_second, now)
        if self._reserve >= 1.0:
            self._reserve -= 1.0
            return True
        return self._take()

    def overload(self, per_second: float, now: float) -> float:
        """How many times the share is offered by NORMAL messages, 1.0 at the least."""
        if now > self._filled_at:
            self._fill(per_second, now)
        return max(1.0, self._offered / (_memory_seconds(per_second) * per_second))

    def _take(self) -> bool:
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _fill(self, per_second: float, now: float) -> None:
        elapsed = max(0.0, now - self._filled_at)
        if elapsed:
            self._filled_at = now
            self._offered *= math.exp(-elapsed / _memory_seconds(per_second))
        reserve_per_second = per_second * HIGH_RESERVE_PERCENT / 100
        self._tokens = min(_capacity(per_second), self._tokens + elapsed * per_second)
        self._reserve = min(_capacity(reserve_per_second), self._reserve + elapsed * reserve_per_second)


def _capacity(per_second: float) -> float:
    return max(LEAST_TOKENS, per_second)


def _memory_seconds(per_second: float) -> float:
    return min(max(_LEAST_MEMORY_SECONDS, _MEMORY_MESSAGES / per_second), _LONGEST_MEMORY_SECONDS)
