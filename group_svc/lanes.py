"""Lanes side by side, for checks that may wait: one user is always in the same one (hop 3)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence

from group_svc.checks import Committing, GoOn, whole_records
from group_svc.core.admission import Admission
from group_svc.lane import Lane
from group_svc.metrics import GroupMetrics
from throng.domain.ids import UserId
from throng.ports.uplink import UplinkRecord


def lane_of(user_id: UserId, lanes: int) -> int:
    """The lane of a user: the same in every process and after every restart."""
    return zlib.crc32(user_id.encode()) % lanes


class Lanes:
    """Keeps each user's own order; a slow check holds up its own lane alone. Bounded by the capacity of each lane and one pack."""

    def __init__(
        self, admission: Admission, committing: Committing, metrics: GroupMetrics, *, lanes: int, lane_capacity: int
    ) -> None:
        self._lanes = [Lane(number, admission, committing, metrics, capacity=lane_capacity) for number in range(lanes)]
        self._full = self._lanes[0]

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def start(self) -> None:
        """Starts the threads."""
        for lane in self._lanes:
            lane.start()

    def _number(self, record: UplinkRecord) -> int:
        return 0 if record.submission is None else lane_of(record.submission.user_id, len(self._lanes))

    def fitting(self, records: Sequence[UplinkRecord]) -> int:
        """Up to the first record whose lane is full; a record of the log that was begun is taken whole."""
        rooms = [lane.room for lane in self._lanes]
        for count, record in enumerate(records):
            if record.submission is None:
                continue
            number = self._number(record)
            if rooms[number] <= 0 and whole_records(records, count) == count:
                self._full = self._lanes[number]
                return count
            rooms[number] -= 1
        return len(records)

    def prepare(self, records: Sequence[UplinkRecord]) -> GoOn:
        """Sorts records by lane."""
        parts: list[list[UplinkRecord]] = [[] for _ in self._lanes]
        for record in records:
            parts[self._number(record)].append(record)
        return lambda: self._put(parts)

    def _put(self, parts: Sequence[Sequence[UplinkRecord]]) -> None:
        for lane, part in zip(self._lanes, parts, strict=True):
            if part:
                lane.put(part)

    def wait_for_room(self, timeout_seconds: float) -> bool:
        """Waits for the lane that was found full."""
        return self._full.wait_for_room(timeout_seconds)

    def finish(self, deadline: float) -> None:
        """See `Lane.finish`."""
        for lane in self._lanes:
            lane.finish(deadline)

    def join(self, timeout_seconds: float) -> None:
        """Waits for the threads to end, at most so long in all."""
        deadline = time.monotonic() + timeout_seconds
        for lane in self._lanes:
            lane.join(max(deadline - time.monotonic(), 0.1))
