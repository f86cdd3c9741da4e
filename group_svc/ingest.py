"""Reads the uplink and checks its records in lanes, one user always in the same one (hop 3)."""

from __future__ import annotations

import collections
import threading
import time
import zlib
from collections.abc import Callable, Sequence

import structlog

from group_svc.core.admission import Admission
from group_svc.core.commit_queue import CommitQueue
from group_svc.core.offsets import OffsetTracker
from group_svc.lane import Lane
from group_svc.metrics import GroupMetrics
from throng.domain.errors import ThrongError
from throng.domain.ids import UserId
from throng.ports.uplink import UplinkConsumer, UplinkRecord

_log = structlog.get_logger("group.ingest")
MAX_POLL = 500
_POLL_SECONDS = 0.25
_COMMIT_SECONDS = 1.0
_REVOKE_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_BUSY_FROM, _GATHER_SECONDS = 10, 0.015
"""After a poll of so many records a moment passes before the next: each costs a round trip, however little it brings."""


def lane_of(user_id: UserId, lanes: int) -> int:
    """The lane of a user: the same in every process and after every restart."""
    return zlib.crc32(user_id.encode()) % lanes


class Ingest:
    """The consumer thread and its lanes.

    Policy when a lane is full: what was polled is held, at most one poll of it, nothing more is read, and the uplink fills; but the
    consumer keeps polling for nothing, so that it stays in its group while the store is away, however long.
    """

    def __init__(
        self,
        consumer: UplinkConsumer,
        admission: Admission,
        committing: CommitQueue,
        offsets: OffsetTracker,
        metrics: GroupMetrics,
        *,
        lanes: int = 4,
        lane_capacity: int = 1_000,
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._metrics = metrics
        self._lanes = [Lane(number, admission, committing, metrics, capacity=lane_capacity) for number in range(lanes)]
        self._draining = threading.Event()
        self._read = threading.Event()
        self._written = threading.Event()
        self._busy = False
        self._held: collections.deque[UplinkRecord] = collections.deque()
        self._holding = threading.Lock()
        self._committed: dict[int, int] = {}
        self._committed_at = time.monotonic()
        self._drain_until = 0.0
        self._thread = threading.Thread(target=self._run, name="group-consumer", daemon=True)
        metrics.watch_lag(consumer.lag)
        metrics.watch_queue("lane", lambda: sum(len(lane) for lane in self._lanes) + len(self._held))

    def start(self) -> None:
        """Starts the threads."""
        self._consumer.set_on_revoked(self._revoked)
        for lane in self._lanes:
            lane.start()
        self._thread.start()

    def stop(self, deadline_seconds: float, write_rest: Callable[[float], object]) -> None:
        """Reads an uplink that ends with this process to its end, checks what was read, calls `write_rest(seconds left)`, commits.

        All of it takes about `deadline_seconds` at most. What stays unread of an uplink that outlives the process is for others.
        """
        if self._draining.is_set() or not self._thread.is_alive():
            write_rest(deadline_seconds)
            return
        self._drain_until = time.monotonic() + deadline_seconds
        self._draining.set()
        if not self._read.wait(deadline_seconds):
            self._consumer.stop()
        for lane in self._lanes:
            lane.finish(self._drain_until)
        write_rest(max(self._drain_until - time.monotonic(), 0.1))
        for lane in self._lanes:
            lane.join(5.0)  # a lane that waited for room in the commit queue ends when that is closed
        self._written.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._draining.is_set() or (self._must_read_rest() and time.monotonic() < self._drain_until):
            self._poll_once()
        self._held.clear()
        self._read.set()
        self._written.wait(max(self._drain_until - time.monotonic(), 0.0) + 15.0)
        self._commit_offsets()
        self._consumer.stop()

    def _must_read_rest(self) -> bool:
        return not self._consumer.outlives_process and (bool(self._held) or self._consumer.lag() > 0)

    def _poll_once(self) -> None:
        self._poll()
        self._place_held(time.monotonic() + _POLL_SECONDS)
        if self._busy:
            self._draining.wait(_GATHER_SECONDS)
        if time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self._commit_offsets()

    def _poll(self) -> None:
        try:
            if self._held:
                self._consumer.poll(0.0, 0)
            else:
                polled = self._consumer.poll(_POLL_SECONDS, MAX_POLL)
                self._held.extend(polled)
                self._busy = _BUSY_FROM <= len(polled) < MAX_POLL
        except ThrongError as error:
            _log.warning("uplink_away", code=error.code.name)
            self._draining.wait(_PAUSE_SECONDS)
            return
        except Exception as error:
            _log.error("uplink_failed", exc_info=error)
            self._draining.wait(_PAUSE_SECONDS)
            return

    def _place_held(self, deadline: float) -> None:
        """Puts held records into their lanes, in order; stops at a lane that has no room until `deadline` (monotonic seconds)."""
        while self._held:
            full = self._place_what_fits()
            if full is not None and not full.wait_for_room(deadline - time.monotonic()):
                return

    def _place_what_fits(self) -> Lane | None:
        """Places records up to the first one whose lane is full; returns that lane, or None when all were placed."""
        lanes = self._lanes
        rooms = [lane.room for lane in lanes]
        parts: list[list[UplinkRecord]] = [[] for _ in lanes]
        begun: list[tuple[int, int]] = []
        poison: list[tuple[int, int]] = []
        full: Lane | None = None
        with self._holding:
            for record in self._held:
                if record.submission is None:
                    self._metrics.poison_records.inc()
                    _log.warning("poison_record", partition=record.partition, offset=record.offset)
                    poison.append((record.partition, record.offset))
                else:
                    number = lane_of(record.submission.user_id, len(lanes))
                    if len(parts[number]) >= rooms[number]:
                        full = lanes[number]
                        break
                    parts[number].append(record)
                begun.append((record.partition, record.offset))
            self._offsets.begin(begun)
            for _ in begun:
                self._held.popleft()
        if poison:
            self._offsets.finish(poison)
        for lane, part in zip(lanes, parts, strict=True):
            if part:
                lane.put(part)
        return full

    def _commit_offsets(self) -> None:
        self._committed_at = time.monotonic()
        offsets = self._offsets.committable()
        if offsets == self._committed:
            return
        try:
            self._consumer.commit(offsets)
            self._committed = offsets
        except ThrongError as error:
            _log.warning("offsets_not_committed", code=error.code.name)

    def _revoked(self, partitions: Sequence[int]) -> None:
        """Finishes what is in hand of partitions that go elsewhere; what does not finish in time comes again there (I2).

        The consumer's thread waits meanwhile. What is held was not begun, and is left to the next reader.
        """
        gone = set(partitions)
        with self._holding:
            kept = [record for record in self._held if record.partition not in gone]
            self._held.clear()
            self._held.extend(kept)
        if not self._offsets.wait_finished(partitions, _REVOKE_SECONDS):
            _log.warning("revoked_unfinished", partitions=list(partitions))
        self._commit_offsets()
        self._offsets.drop(partitions)
        self._committed = self._offsets.committable()
