"""Ports `UplinkProducer` and `UplinkConsumer`: the log of submitted messages, keyed by `group_id` (hops 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from throng.domain.errors import ThrongError
from throng.domain.message import Submission
from throng.domain.quick_values import quick_value

AppendDone = Callable[[ThrongError | None], None]
"""Called once per record, on any thread, with None when the record is in the log, otherwise with why it may not be."""


class UplinkProducer(Protocol):
    """Purpose: appends submissions to the log.

    Ordering: records of one group that are appended one after the other by one producer stand in that order.
    Durability: that of the adapter (`memory` none, `kafka` all in-sync replicas); only an ACK, after persisting, promises
    anything to a client.
    Idempotency: none; a record may come to stand twice, and its reader is idempotent.
    Concurrency: `append` from any one thread at a time; it never blocks and never waits for I/O.
    Errors: `append` raises nothing but reports by `done`: UNAVAILABLE with a retry time when the log is away or the bound of
    records in flight is reached, TOO_LARGE when no log would take the record. An error does not mean that the record is not in
    the log.
    Not promised: that `done` is called in order over different groups; a latency.
    """

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record; `done` is called exactly once, possibly before this returns."""
        ...

    def close(self, deadline_seconds: float) -> None:
        """Flushes what is in flight, at most so long, then fails the rest with UNAVAILABLE. Idempotent."""
        ...


MAX_PACK = 64
"""Submissions in one record of the log; they share its offset."""


@quick_value(frozen=True, slots=True)
class UplinkRecord:
    """A submission as it was read; those of one record of the log stand next to each other, with the same offset, in one answer.

    `submission` is None for a poison record: it is counted, set aside and passed over. `part`: which of the record's it is, from 0.
    """

    partition: int
    offset: int
    submission: Submission | None
    part: int = 0

    @property
    def place(self) -> int:
        """One number for `offset` and `part`, rising with both."""
        return self.offset * MAX_PACK + self.part


class UplinkConsumer(Protocol):
    """Purpose: reads the log for the one writer of a group.

    Ordering: records of a partition come in offset order, and a group lies in one partition. After a restart or a
    rebalance reading begins again behind the last committed offset.
    Durability: `commit` is remembered for as long as the log itself (`memory`: the life of the process).
    Idempotency: records may come again; committing an older offset changes nothing.
    Concurrency: all methods from one thread but `stop`, which may come from any.
    Errors: UNAVAILABLE while the log is away, from `poll`, which the caller repeats, and from `commit`: what is not noted comes
    again, here or elsewhere.
    Not promised: that a partition stays here; `on_revoked` tells.

    Attributes:
        outlives_process: what was not polled stays in the log for the next reader, so a stop need not read it to its end.
    """

    outlives_process: bool

    def poll(self, timeout_seconds: float, max_records: int) -> Sequence[UplinkRecord]:
        """Waits for records, at most so long, longer only while `on_revoked` runs; an empty answer is normal.

        Returns at most `max_records` records of the log, each with all its submissions: MAX_PACK times as many at the very most,
        about as many as were asked for where records went on being as full as they were.

        With `max_records` 0 nothing is read, but the caller still counts as alive: it must poll so while it has no room, or its
        partitions go elsewhere.
        """
        ...

    def commit(self, offsets: dict[int, int]) -> None:
        """Notes, per partition, the offset of the next record to be read: everything below it is handled."""
        ...

    def set_on_revoked(self, callback: Callable[[Sequence[int]], None]) -> None:
        """`callback(partitions)` runs before partitions go elsewhere; it finishes or hands over what is in hand.

        `poll` waits for it, about 15 s at most; it may run on another thread and may call `commit`.
        """
        ...

    def lag(self) -> int:
        """Records in the log that were not polled yet, as far as is known."""
        ...

    def stop(self) -> None:
        """Ends a waiting `poll` at once; later polls answer with nothing. Idempotent."""
        ...

    def close(self, deadline_seconds: float) -> None:
        """Stops, and leaves what was not committed to other readers at once. From any thread; no call follows. Idempotent."""
        ...
