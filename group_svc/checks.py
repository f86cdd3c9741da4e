"""Where records are checked: in the consumer's own thread, or in lanes when a check may wait for something (hops 3 and 4).

A record changes its thread twice on the way through a lane, which costs more than all checks together; so lanes are there only for
checks that wait, such as a safety hook over the network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from group_svc.core.admission import Admission
from group_svc.core.pending import Pending
from throng.domain.errors import ErrorCode, ThrongError
from throng.ports.uplink import MAX_PACK, UplinkRecord

_log = structlog.get_logger("group.ingest")
_BATCH = 200
PAUSE_SECONDS = 0.2
"""Between two looks at memberships that cannot be read."""

GoOn = Callable[[], None]


class Committing(Protocol):
    """Where checked messages go: the commit queue, or the safety gate before it."""

    @property
    def room(self) -> int:
        """How many more fit; where one thread alone puts, it is there until that puts again."""
        ...

    def wait_for_room(self, least: int, timeout_seconds: float) -> bool:
        """Waits until so many fit, at most so long."""
        ...

    def put(self, items: Sequence[Pending]) -> bool:
        """Adds items in order; waits for room. False when it was closed."""
        ...


class Checks(Protocol):
    """What the consumer's thread does with what it has read; all methods are called by it alone, but `finish` and `join`."""

    def __len__(self) -> int:
        """Records that wait for their check."""
        ...

    def start(self) -> None:
        """Begins."""
        ...

    def fitting(self, records: Sequence[UplinkRecord]) -> int:
        """How many of the first records there is room for now; parts of one log record are never torn apart."""
        ...

    def prepare(self, records: Sequence[UplinkRecord]) -> GoOn:
        """Takes records with a submission, as many as fit; the caller notes their offsets as begun and then calls the result.

        Raises:
            ThrongError: UNAVAILABLE when they cannot be checked now; nothing was taken.
        """
        ...

    def wait_for_room(self, timeout_seconds: float) -> bool:
        """Waits until there is room, at most so long."""
        ...

    def finish(self, deadline: float) -> None:
        """Checks what waits until `deadline` (monotonic seconds), then gives up the rest."""
        ...

    def join(self, timeout_seconds: float) -> None:
        """Waits for what `finish` gave up to end."""
        ...


def whole_records(records: Sequence[UplinkRecord], count: int) -> int:
    """The largest number up to `count` that ends where a record of the log ends."""
    while 0 < count < len(records) and _together(records[count - 1], records[count]):
        count -= 1
    return count


def _together(one: UplinkRecord, other: UplinkRecord) -> bool:
    return one.offset == other.offset and one.partition == other.partition


def checked(admission: Admission, records: Sequence[UplinkRecord]) -> list[Pending]:
    """Checks records; one that cannot be checked is found and refused alone.

    Raises:
        ThrongError: UNAVAILABLE while memberships cannot be read; nothing was used up, call again.
    """
    try:
        return admission.admit(records)
    except ThrongError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return _checked_apart(admission, records, error)
    except Exception as error:
        return _checked_apart(admission, records, error)


def _checked_apart(admission: Admission, records: Sequence[UplinkRecord], error: Exception) -> list[Pending]:
    if len(records) == 1:
        _log.error("record_cannot_be_checked", partition=records[0].partition, offset=records[0].offset, exc_info=error)
        refusal = ThrongError(ErrorCode.INTERNAL, "The message could not be checked.", retry_after_ms=1000)
        return admission.refuse(records[0], refusal)
    pending: list[Pending] = []
    for record in records:
        try:
            pending += checked(admission, [record])
        except ThrongError as away:
            # Those before it have used up their interval, so the batch is not begun again: this one is refused, and may come again.
            pending += admission.refuse(record, away)
    return pending


class InlineChecks:
    """No queue and no thread: what is checked goes into the commit queue, and only as much is taken as fits there."""

    def __init__(self, admission: Admission, committing: Committing) -> None:
        self._admission = admission
        self._committing = committing
        self._away_until = float("-inf")
        self._ended = threading.Event()

    def __len__(self) -> int:
        return 0

    def start(self) -> None:
        """Nothing to start."""

    def fitting(self, records: Sequence[UplinkRecord]) -> int:
        """As many as the commit queue has room for, some hundred at a time."""
        if time.monotonic() < self._away_until:
            return 0
        return whole_records(records, min(self._committing.room, len(records), _BATCH))

    def prepare(self, records: Sequence[UplinkRecord]) -> GoOn:
        """Checks at once."""
        if not records:
            return lambda: None
        try:
            pending = checked(self._admission, records)
        except ThrongError:
            _log.warning("check_waits", records=len(records))
            self._away_until = time.monotonic() + PAUSE_SECONDS
            raise
        return lambda: self._hand_on(pending)

    def _hand_on(self, pending: Sequence[Pending]) -> None:
        self._committing.put(pending)

    def wait_for_room(self, timeout_seconds: float) -> bool:
        """Waits for the commit queue, or until memberships are looked at again."""
        away_seconds = self._away_until - time.monotonic()
        if away_seconds > 0:
            self._ended.wait(max(min(away_seconds, timeout_seconds), 0.0))
            return away_seconds <= timeout_seconds
        return self._committing.wait_for_room(MAX_PACK, timeout_seconds)

    def finish(self, deadline: float) -> None:
        """Nothing waits here."""
        self._ended.set()

    def join(self, timeout_seconds: float) -> None:
        """Nothing runs here."""
