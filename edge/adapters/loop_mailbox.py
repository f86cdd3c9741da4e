"""Crosses from any thread into one event loop in batches: one wake-up per batch, not per item, and none that holds up the loop."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

_T = TypeVar("_T")
TURN_SECONDS = 0.002
"""So long the items of one turn of the loop may take, and what has been begun then: fan-out, handshakes and sockets have theirs
before the next. A hundred pages of history that come at one moment would otherwise hold them up for all of them together."""

_log = structlog.get_logger("throng.edge")


class LoopMailbox(Generic[_T]):
    """Items posted from any thread arrive in the loop, in order, as batches of at most `per_batch`, as many as a turn has time for.

    The mailbox itself refuses nothing: its posters bound what they post (calls under way, events not taken over yet), and
    `depth` is what the metric shows.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[_T]], None],
        *,
        per_batch: int = 8,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`per_batch`: items between two looks at the time."""
        self._handle = handle
        self._per_batch = per_batch
        self._now = now
        self._items: collections.deque[_T] = collections.deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False

    @property
    def depth(self) -> int:
        """Items that were posted and not taken yet."""
        return len(self._items)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to deliver in `loop`; what was posted before is delivered first."""
        self._loop = loop
        if self._items:
            self._wake()

    def post(self, item: _T) -> None:
        """Hands over one item; never blocks. After the loop has closed the item is dropped: nobody is there to take it."""
        self._items.append(item)
        if not self._woken:
            self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is None:
            return
        self._woken = True
        try:
            loop.call_soon_threadsafe(self._take)
        except RuntimeError:
            self._items.clear()

    def _take(self) -> None:
        # Cleared before the items are taken: a post that comes in between wakes once too often, never once too seldom.
        self._woken = False
        items = self._items
        deadline = self._now() + TURN_SECONDS
        while items:
            self._take_batch([items.popleft() for _ in range(min(self._per_batch, len(items)))])
            if self._now() >= deadline:
                break
        if items and not self._woken:
            self._wake()

    def _take_batch(self, batch: Sequence[_T]) -> None:
        try:
            self._handle(batch)
        except Exception as error:
            _log.error("mailbox_batch_failed", items=len(batch), exc_info=error)


def call_all(callbacks: Sequence[Callable[[], object]]) -> None:
    """Handler for a mailbox of callables; one that fails is logged and does not keep the others from running."""
    for callback in callbacks:
        try:
            callback()
        except Exception as error:
            _log.error("mailbox_call_failed", exc_info=error)
