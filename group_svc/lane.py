"""A lane: a bounded queue of records and the thread that checks them, one user always in the same lane (hop 3)."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence

import structlog

from group_svc.checks import PAUSE_SECONDS, Committing, checked
from group_svc.core.admission import Admission
from group_svc.metrics import GroupMetrics
from throng.domain.errors import ThrongError
from throng.ports.uplink import UplinkRecord

_log = structlog.get_logger("group.ingest")
_BATCH = 100


class Lane:
    """One thread puts, as much as there is room for; records are checked in batches of what waits.

    Overflow policy: what finds no room waits outside.
    """

    def __init__(self, number: int, admission: Admission, committing: Committing, metrics: GroupMetrics, *, capacity: int) -> None:
        self._admission = admission
        self._committing = committing
        self._metrics = metrics
        self._capacity = capacity
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._records: collections.deque[tuple[float, UplinkRecord]] = collections.deque()
        self._ending = False
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"group-lane-{number}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def __len__(self) -> int:
        return len(self._records)

    @property
    def room(self) -> int:
        """How many more records fit; only taking makes it grow, and only `put` makes it shrink."""
        return self._capacity - len(self._records)

    def put(self, records: Sequence[UplinkRecord]) -> None:
        """Adds records in order; the caller has looked at `room`."""
        now = time.monotonic()
        with self._lock:
            self._records.extend((now, record) for record in records)
            self._filled.notify()

    def wait_for_room(self, timeout_seconds: float) -> bool:
        """Waits until there is room, at most so long."""
        with self._lock:
            return self._emptied.wait_for(lambda: self.room > 0, max(timeout_seconds, 0.0))

    def finish(self, deadline: float) -> None:
        """Checks what is in the lane until `deadline` (monotonic seconds), then gives up the rest."""
        with self._lock:
            self._ending = True
            self._filled.notify()
        self.join(deadline - time.monotonic())
        self._abandon.set()
        self.join(PAUSE_SECONDS)

    def join(self, timeout_seconds: float) -> None:
        """Waits for the thread to end."""
        if self._thread.is_alive():
            self._thread.join(max(timeout_seconds, 0.0))

    def _run(self) -> None:
        while not self._abandon.is_set():
            entries = self._take()
            if not entries:
                return
            self._metrics.lane_wait_seconds.observe(time.monotonic() - entries[0][0])
            self._check([record for _, record in entries])

    def _take(self) -> list[tuple[float, UplinkRecord]]:
        """The oldest records, at most a batch; waits for some. Nothing: the lane has ended."""
        with self._lock:
            self._filled.wait_for(lambda: self._records or self._ending)
            entries = [self._records.popleft() for _ in range(min(len(self._records), _BATCH))]
            self._emptied.notify()
            return entries

    def _check(self, records: Sequence[UplinkRecord]) -> None:
        """Checks records and hands them on; waits while memberships cannot be read, so nobody is refused for an outage."""
        while True:
            try:
                pending = checked(self._admission, records)
            except ThrongError:
                _log.warning("check_waits", records=len(records))
                if self._abandon.wait(PAUSE_SECONDS):
                    return
                continue
            self._committing.put(pending)
            return
