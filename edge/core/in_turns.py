"""Work on many items, some in each turn of the loop, so that many at once hold up nobody (hop 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import structlog

_T = TypeVar("_T")

WAITERS_PER_TURN = 32
"""Each gets an answer, which takes some 20 microseconds, and up to 100 where it is a long page."""

_log = structlog.get_logger("throng.edge")


class InTurns(Generic[_T]):
    """Handles items in order. Never within `add`; bounded by what can be added, connections here."""

    def __init__(self, handle: Callable[[_T], None], soon: Callable[[Callable[[], None]], None], *, per_turn: int) -> None:
        self._handle = handle
        self._soon = soon
        self._per_turn = per_turn
        self._items: deque[_T] = deque()

    def add(self, items: Iterable[_T]) -> None:
        """Takes items; the first are handled in the next turn."""
        idle = not self._items
        self._items.extend(items)
        if idle and self._items:
            self._soon(self._run)

    def finish(self) -> None:
        """Handles all that is left at once."""
        while self._items:
            self._handle(self._items.popleft())

    def _run(self) -> None:
        for _ in range(min(self._per_turn, len(self._items))):
            self._handle(self._items.popleft())
        if self._items:
            self._soon(self._run)


class Waiters:
    """Calls back those who waited for one thing, a page or a membership: thousands, after a cache was lost or an edge has died.

    Few are called at once. Of many, the rest follow in later turns, in order; by then things may have changed, so each looks anew.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], None]) -> None:
        self._later: InTurns[Callable[[], None]] = InTurns(_call, soon, per_turn=WAITERS_PER_TURN)

    def call(self, waiters: Sequence[Callable[[], None]]) -> None:
        """Calls all; one that fails is logged and keeps no other from its turn."""
        for waiter in waiters[:WAITERS_PER_TURN]:
            _call(waiter)
        self._later.add(waiters[WAITERS_PER_TURN:])


def _call(waiter: Callable[[], None]) -> None:
    try:
        waiter()
    except Exception:
        _log.exception("waiter_failed")
