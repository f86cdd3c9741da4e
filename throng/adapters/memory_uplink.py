"""The uplink inside one process (adapter `memory`, hops 2 and 3): one partition, bounded, gone with the process."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence

from throng.domain.errors import unavailable
from throng.domain.message import Submission
from throng.ports.uplink import AppendDone, UplinkRecord


class MemoryUplink:
    """`UplinkProducer` and `UplinkConsumer` over one deque; overflow policy: refuse with UNAVAILABLE."""

    outlives_process = False

    def __init__(self, *, max_records: int = 100_000, max_body_bytes: int = 256 * 1024 * 1024) -> None:
        """Makes an empty log.

        Args:
            max_records: records held at most.
            max_body_bytes: bytes of their bodies held at most.
        """
        self._max_records = max_records
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._records: collections.deque[Submission] = collections.deque()
        self._next_offset = 0
        self._changed = threading.Condition()
        self._closed = False
        self._stopped = False

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record, or refuses it when a bound is reached or the log is closed."""
        with self._changed:
            body_bytes = self._body_bytes + len(submission.body)
            accepted = not self._closed and len(self._records) < self._max_records and body_bytes <= self._max_body_bytes
            if accepted:
                self._records.append(submission)
                self._body_bytes = body_bytes
                self._changed.notify()
        done(None if accepted else unavailable("the uplink is full or closed"))

    def close(self, deadline_seconds: float) -> None:
        """Refuses further records; waits until the consumer has taken what is there, at most so long."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._stopped or not self._records, deadline_seconds)

    def poll(self, timeout_seconds: float, max_records: int) -> Sequence[UplinkRecord]:
        """Takes records in order; waits for the first one at most so long, for so long when it may take none."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or (self._records and max_records), timeout_seconds)
            if self._stopped:
                return []
            taken: list[UplinkRecord] = []
            while self._records and len(taken) < max_records:
                submission = self._records.popleft()
                self._body_bytes -= len(submission.body)
                taken.append(UplinkRecord(0, self._next_offset, submission))
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
