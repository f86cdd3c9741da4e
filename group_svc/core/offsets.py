"""Which records of the uplink are handled, so that only what lies below the first unfinished one is committed (hop 3)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable


class OffsetTracker:
    """Begun and finished offsets per partition. Any thread.

    With `parts` above 1 it is told places instead: offset x parts + number of the part. All parts of a record are begun together.
    """

    def __init__(self, *, parts: int = 1) -> None:
        self._parts = parts
        self._changed = threading.Condition()
        self._open: dict[int, collections.deque[int]] = {}
        self._finished: dict[int, set[int]] = {}
        self._next: dict[int, int] = {}

    def begin(self, records: Iterable[tuple[int, int]]) -> None:
        """Notes (partition, offset) of records that were read; offsets of a partition rise, or begin again after a rebalance."""
        with self._changed:
            for partition, offset in records:
                opened = self._open.setdefault(partition, collections.deque())
                finished = self._finished.setdefault(partition, set())
                if opened and offset <= opened[-1]:
                    opened.clear()
                    finished.clear()
                    self._next.pop(partition, None)
                opened.append(offset)

    def finish(self, records: Iterable[tuple[int, int]]) -> None:
        """Notes (partition, offset) of records that need nothing more; unknown ones are ignored."""
        with self._changed:
            for partition, offset in records:
                opened = self._open.get(partition)
                if not opened or offset < opened[0]:
                    continue
                finished = self._finished[partition]
                finished.add(offset)
                while opened and opened[0] in finished:
                    head = opened.popleft()
                    finished.discard(head)
                    self._next[partition] = head + 1
            self._changed.notify_all()

    def committable(self) -> dict[int, int]:
        """Per partition the offset below which everything is finished."""
        with self._changed:
            return {partition: self._offset(partition, place) for partition, place in self._next.items()}

    def _offset(self, partition: int, following: int) -> int:
        """The record of which a part is unfinished, or the one behind the last that is finished."""
        offset = (following - 1) // self._parts
        opened = self._open.get(partition)
        return offset if opened and opened[0] // self._parts == offset else offset + 1

    def unfinished(self) -> int:
        """Records begun and not finished."""
        with self._changed:
            return sum(len(opened) for opened in self._open.values())

    def wait_finished(self, partitions: Iterable[int], timeout_seconds: float) -> bool:
        """Waits until nothing of these partitions is unfinished; False when that took too long."""
        wanted = list(partitions)
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._open.get(partition) for partition in wanted), timeout_seconds)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that went elsewhere; what of them finishes later changes nothing."""
        with self._changed:
            for partition in partitions:
                self._open.pop(partition, None)
                self._finished.pop(partition, None)
                self._next.pop(partition, None)
