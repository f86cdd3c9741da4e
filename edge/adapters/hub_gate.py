"""The way of delivered events from the business loop into the hub thread (hop 6), and word back when they are taken over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from edge.adapters.loop_mailbox import LoopMailbox
from edge.ports import EdgeEvent, EventSink

_Posted = tuple[Sequence[EdgeEvent], Callable[[], None] | None]

EVENTS_AT_A_TIME = 4
"""Events between two looks at the time: a large block that is compressed for its group takes up to a millisecond."""


class HubGate:
    """`EventGate` over a mailbox; its bound is kept by the servicer, which stops reading while too much waits."""

    def __init__(
        self, sink: EventSink, business_loop: asyncio.AbstractEventLoop, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._sink = sink
        self._business_loop = business_loop
        self._mailbox: LoopMailbox[_Posted] = LoopMailbox(self._take, per_batch=1, now=now)
        # Each has one writer: the business loop the one, the hub thread the other.
        self._posted = 0
        self._taken = 0

    @property
    def waiting_events(self) -> int:
        """Events posted and not taken over yet."""
        return self._posted - self._taken

    def attach(self, hub_loop: asyncio.AbstractEventLoop) -> None:
        """Begins to hand over."""
        self._mailbox.attach(hub_loop)

    def post(self, events: Sequence[EdgeEvent], on_taken: Callable[[], None] | None) -> None:
        """Hands events over in order; `on_taken` runs in the business loop when the hub has them."""
        self._posted += len(events)
        last = max(0, len(events) - 1) // EVENTS_AT_A_TIME * EVENTS_AT_A_TIME
        for start in range(0, last, EVENTS_AT_A_TIME):
            self._mailbox.post((events[start : start + EVENTS_AT_A_TIME], None))
        self._mailbox.post((events[last:], on_taken))

    def _take(self, batch: Sequence[_Posted]) -> None:
        for events, on_taken in batch:
            try:
                self._sink.on_events(events)
            finally:
                self._taken += len(events)
                if on_taken is not None:
                    self._business_loop.call_soon_threadsafe(on_taken)
