"""The uplink inside one process (adapter `memory`): one partition, bounded, gone with the process."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence

from throng.domain.errors import unavailable
from throng.domain.message import Submission
from throng.ports.uplink import AppendDone, UplinkRecord


class MemoryUplink:
    """`UplinkProducer` and `UplinkConsumer` over one deque; overflow policy: refuse with UNAVAILABLE."""

    def __init__(self, *, max_records: int = 100_000) -> None:
        self._max_records = max_records
        self._records: collections.deque[Submission] = collections.deque()
        self._next_offset = 0
        self._changed = threading.Condition()
        self._closed = False
        self._stopped = False

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record, or refuses it when the bound is reached or the log is closed."""
        with self._changed:
            accepted = not self._closed and len(self._records) < self._max_records
            if accepted:
                self._records.append(submission)
                self._changed.notify()
        done(None if accepted else unavailable("the uplink is full or closed"))

    def close(self, deadline_seconds: float) -> None:
        """Refuses further records; waits until the consumer has taken what is there, at most so long."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._stopped or not self._records, deadline_seconds)

    def poll(self, timeout_seconds: float, max_records: int) -> Sequence[UplinkRecord]:
        """Takes records in order; waits for the first one at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._records, timeout_seconds)
            if self._stopped:
                return []
            taken: list[UplinkRecord] = []
            while self._records and len(taken) < max_records:
                taken.append(UplinkRecord(0, self._next_offset, self._records.popleft()))
                self._next_offset += 1
            if not self._records:
                self._changed.notify_all()
            return taken

    def commit(self, offsets: dict[int, int]) -> None:
        """Nothing is kept: what was polled is gone with the process, and no ACK was given for it."""

    def set_on_revoked(self, callback: Callable[[Sequence[int]], None]) -> None:
        """Never called: the one partition stays."""

    def lag(self) -> int:
        """Records that were not polled yet."""
        return len(self._records)

    def stop(self) -> None:
        """Ends a waiting `poll` at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
