"""One upstream call per key however many wait for it, and failures that are remembered for a moment (hop 8)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from edge.core.in_turns import Waiters
from throng.domain.errors import ThrongError
from throng.ports.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_REMEMBERED = 1_024


class SingleFlight(Generic[K, V]):
    """Shares calls by key. Bounded by its callers: each waiter is a request that is bounded per connection."""

    def __init__(self, clock: Clock, waiters: Waiters, *, negative_seconds: float) -> None:
        self._clock = clock
        self._calling = waiters
        self._negative_seconds = negative_seconds
        self._waiters: dict[K, list[Callable[[V | ThrongError], None]]] = {}
        self._refused: dict[K, tuple[float, ThrongError]] = {}

    def __len__(self) -> int:
        """Calls under way."""
        return len(self._waiters)

    def run(
        self, key: K, start: Callable[[Callable[[V | ThrongError], None]], None], done: Callable[[V | ThrongError], None]
    ) -> bool:
        """Joins the call under way for `key`, or makes it by `start(finish)`; `done` gets its result.

        Returns:
            True when a call was made, False when one was shared or a failure was remembered.
        """
        remembered = self._refused.get(key)
        if remembered is not None:
            if self._clock.monotonic() < remembered[0]:
                done(remembered[1])
                return False
            del self._refused[key]
        waiters = self._waiters.get(key)
        if waiters is not None:
            waiters.append(done)
            return False
        self._waiters[key] = [done]
        start(lambda result: self._finish(key, result))
        return True

    def _finish(self, key: K, result: V | ThrongError) -> None:
        if isinstance(result, ThrongError):
            if len(self._refused) >= MAX_REMEMBERED:
                self._refused.clear()
            self._refused[key] = (self._clock.monotonic() + self._negative_seconds, result)
        self._calling.call([partial(done, result) for done in self._waiters.pop(key, ())])
