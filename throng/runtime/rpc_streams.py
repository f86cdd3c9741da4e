"""How many streams of one kind a server holds, and how many of them one peer may."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from throng.domain.errors import unavailable


class StreamSlots:
    """Overflow policy: a stream above a bound is refused with UNAVAILABLE, counted as such among the calls.

    One connection may hold half of the slots, so that a peer which opens streams without end leaves room for others. From any
    thread.
    """

    def __init__(self, kind: str, *, most: int) -> None:
        """`kind` says in the refusal what there are too many of, such as `uplink streams`."""
        self._kind = kind
        self._most = most
        self._most_per_peer = max(1, most // 2)
        self._lock = threading.Lock()
        self._held: dict[Any, str] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    @contextlib.contextmanager
    def hold(self, context: Any) -> Iterator[None]:
        """Holds a slot for one call.

        Raises:
            ThrongError: UNAVAILABLE when there is no slot, or after `close`.
        """
        peer = context.peer()
        with self._lock:
            if self._closed:
                raise unavailable("this service stops; use another one")
            if len(self._held) >= self._most or sum(held == peer for held in self._held.values()) >= self._most_per_peer:
                raise unavailable(f"there are too many {self._kind} here")
            self._held[context] = peer
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(context, None)

    def close(self) -> list[Any]:
        """Refuses new streams; returns the contexts of those that are open. Idempotent."""
        with self._lock:
            self._closed = True
            return list(self._held)
