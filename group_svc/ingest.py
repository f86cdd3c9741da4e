"""Reads the uplink and has its records checked, here or in lanes (hop 3)."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from group_svc.checks import Checks
from group_svc.core.offsets import OffsetTracker
from group_svc.metrics import GroupMetrics
from throng.domain.errors import ThrongError
from throng.ports.uplink import UplinkConsumer, UplinkRecord

_log = structlog.get_logger("group.ingest")
MAX_POLL = 500
_POLL_SECONDS = 0.25
_COMMIT_SECONDS = 1.0
_REVOKE_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_BUSY_FROM, _GATHER_SECONDS = 10, 0.015
"""After a poll of so many records a moment passes before the next: each costs a round trip, however little it brings."""


class Ingest:
    """The consumer thread.

    Policy when there is no room for checks: what was polled is held, at most one poll of it, nothing more is read, and the uplink
    fills; but the consumer keeps polling for nothing, so that it stays in its group while the store is away, however long.
    """

    def __init__(
        self,
        consumer: UplinkConsumer,
        checks: Checks,
        offsets: OffsetTracker,
        metrics: GroupMetrics,
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._metrics = metrics
        self._checks = checks
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
        metrics.watch_queue("lane", lambda: len(checks) + len(self._held))

    def start(self) -> None:
        """Starts the threads."""
        self._consumer.set_on_revoked(self._revoked)
        self._checks.start()
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
        self._checks.finish(self._drain_until)
        write_rest(max(self._drain_until - time.monotonic(), 0.1))
        self._checks.join(5.0)  # a lane that waited for room in the commit queue ends when that is closed
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
        """Has held records checked, in order; stops where there is no room until `deadline` (monotonic seconds)."""
        while self._held:
            if not self._place_what_fits() and not self._checks.wait_for_room(deadline - time.monotonic()):
                return

    def _place_what_fits(self) -> bool:
        """Hands on records from the front; False when there is no room for the next, or nothing can be checked now."""
        with self._holding:
            held = list(self._held)
        placed = held[: self._checks.fitting(held)]
        try:
            go_on = self._checks.prepare([record for record in placed if record.submission is not None])
        except ThrongError:
            return False
        poison = [record for record in placed if record.submission is None]
        with self._holding:
            self._offsets.begin((record.partition, record.place) for record in placed)
            for _ in placed:
                self._held.popleft()
        for record in poison:
            self._metrics.poison_records.inc()
            _log.warning("poison_record", partition=record.partition, offset=record.offset)
        self._offsets.finish((record.partition, record.place) for record in poison)
        go_on()
        return bool(placed)

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
