"""What happened over time, in slots of 100 ms, and how long things took to come back after a fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

SLOT_NS = 100_000_000
STALE_LIMIT_NS = 2_000_000_000
"""Receivers are at head when none of them has lacked for longer what was known to exist. A block is formed for a second."""


@dataclass(slots=True)
class Slot:
    """A tenth of a second. Counts are of this slot; the others are as they stood at its end, or the largest within it.

    Attributes:
        index: which slot after the start.
        submitted, acked, refused, delivered: counts; `delivered` counts every message at every receiver.
        ack_ns_max, lag_ns_max: largest latency within, nanoseconds.
        newest_acked_ns, newest_shown_ns: when the newest message ACKed, shown by anyone, was written (monotonic clock).
        receivers_online, senders_online: clients that take part in their group.
        unanswered: messages without ACK or refusal.
        stale_ns: for how long some receiver has lacked a message of which its process knew (by an ACK, a page, a notice).
    """

    index: int = 0
    submitted: int = 0
    acked: int = 0
    refused: int = 0
    delivered: int = 0
    ack_ns_max: int = 0
    lag_ns_max: int = 0
    newest_acked_ns: int = 0
    newest_shown_ns: int = 0
    receivers_online: int = 0
    senders_online: int = 0
    unanswered: int = 0
    stale_ns: int = 0


_SUMS = ("submitted", "acked", "refused", "delivered", "receivers_online", "senders_online", "unanswered")
_LARGEST = tuple(field.name for field in fields(Slot) if field.name not in _SUMS and field.name != "index")


def skipped_slots(ended: Slot, next_index: int) -> list[Slot]:
    """The slots that a loop which was late has left out: everybody stands as before. Without them the sum over all processes would
    say that this one's clients were gone."""
    return [
        Slot(
            index,
            receivers_online=ended.receivers_online,
            senders_online=ended.senders_online,
            unanswered=ended.unanswered,
            stale_ns=ended.stale_ns,
        )
        for index in range(ended.index + 1, next_index)
    ]


def merge_slots(into: dict[int, Slot], slots: Iterable[Slot]) -> None:
    """Adds the slots of one process to those of all."""
    for slot in slots:
        whole = into.setdefault(slot.index, Slot(slot.index))
        for name in _SUMS:
            setattr(whole, name, getattr(whole, name) + getattr(slot, name))
        for name in _LARGEST:
            setattr(whole, name, max(getattr(whole, name), getattr(slot, name)))


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a moment until things were well again; None: not before the end.

    Attributes:
        first_ack_seconds: until a message that was written after the moment was ACKed.
        first_delivery_seconds: until a message that was written after the moment was shown by anyone.
        all_at_head_seconds: until all receivers were connected and none had lacked a message for more than 2 s, for a second
            at least; 0 when that never ceased.
    """

    first_ack_seconds: float | None
    first_delivery_seconds: float | None
    all_at_head_seconds: float | None


def recovery(slots: list[Slot], *, start_ns: int, at_ns: int, receivers: int, until_ns: int | None = None) -> Recovery:
    """Computes it from merged slots in order; `at_ns` and `until_ns` on the monotonic clock as `start_ns`, the time of slot 0."""
    after = [
        slot for slot in slots if _end_ns(slot, start_ns) > at_ns and (until_ns is None or _end_ns(slot, start_ns) <= until_ns)
    ]
    ack = next((slot for slot in after if slot.newest_acked_ns >= at_ns), None)
    shown = next((slot for slot in after if slot.newest_shown_ns >= at_ns), None)
    return Recovery(
        _seconds(ack, start_ns, at_ns), _seconds(shown, start_ns, at_ns), _all_at_head(after, start_ns, at_ns, receivers)
    )


def _all_at_head(after: list[Slot], start_ns: int, at_ns: int, receivers: int) -> float | None:
    bad = [slot.receivers_online < receivers or slot.stale_ns > STALE_LIMIT_NS for slot in after]
    if True not in bad:
        return 0.0
    for place in range(bad.index(True) + 1, len(bad)):
        if not any(bad[place : place + 10]):
            return _seconds(after[place], start_ns, at_ns)
    return None


def _end_ns(slot: Slot, start_ns: int) -> int:
    return start_ns + (slot.index + 1) * SLOT_NS


def _seconds(slot: Slot | None, start_ns: int, at_ns: int) -> float | None:
    return None if slot is None else round((_end_ns(slot, start_ns) - at_ns) / 1e9, 3)
