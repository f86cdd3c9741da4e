"""The count of one user in one window, and when a window cannot tell (hop 8, I7)."""

from __future__ import annotations

import bisect
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from throng.domain.ids import UserId
from throng.domain.limits import UNREAD_MAX, UNREAD_WINDOW
from throng.domain.message import Position
from unread_svc.ports import Countable, CountablePage, WindowView


@dataclass(frozen=True, slots=True)
class Unread:
    """0 to 99 messages of others above `read_seq`; `capped`: there are more."""

    count: int
    capped: bool
    read_seq: int


class Gap(enum.Enum):
    """Why a window has to be rebuilt before it can answer."""

    MISSING = "missing"
    OTHER_EPOCH = "other_epoch"
    BEHIND = "behind"
    """Something was persisted that the window has not seen: an observation was lost or is still under way."""
    SHORT = "short"
    """The window does not reach down to the cursor although a full one might tell more."""


def cursor_in_force(*, read_seq: int, joined_seq: int) -> int:
    """What came before a member joined is not unread for them."""
    return max(read_seq, joined_seq)


def capped(number: int, read_seq: int) -> Unread:
    """The count for `number` unread messages."""
    return Unread(min(number, UNREAD_MAX), number > UNREAD_MAX, read_seq)


def find_gap(view: WindowView | None, *, head: Position, cursor: int) -> Gap | None:
    """Tells why `view` must be rebuilt to count above `cursor` in a group that is at `head`; None: it need not be."""
    if view is None:
        return Gap.MISSING
    if view.epoch != head.epoch:
        return Gap.OTHER_EPOCH
    if view.head_seq < head.seq:
        return Gap.BEHIND
    if cursor < view.floor_seq and view.size < UNREAD_WINDOW:
        return Gap.SHORT
    return None


def view_of(page: CountablePage) -> WindowView:
    """Makes a window of what group_svc says about a whole group (`after_seq` 0, no sender left out)."""
    entries = tuple(entry for entry in page.entries if entry.seq <= page.head.seq)
    floor_seq = 0
    if len(page.entries) >= UNREAD_WINDOW:
        floor_seq = entries[0].seq - 1 if entries else page.head.seq
    return WindowView(page.head.epoch, page.head.seq, floor_seq, len(entries), entries)


class WindowCounts:
    """Counts many users in one view: one pass over the entries, then two binary searches per user."""

    def __init__(self, view: WindowView) -> None:
        self._floor_seq = view.floor_seq
        self._seqs: list[int] = [entry.seq for entry in view.entries]
        self._by_sender = _by_sender(view.entries)

    def count(self, user_id: UserId, cursor: int) -> Unread | None:
        """The user's count above `cursor`; None: the window does not reach down far enough to tell."""
        number = _above(self._seqs, cursor) - _above(self._by_sender.get(user_id, ()), cursor)
        if cursor < self._floor_seq and number <= UNREAD_MAX:
            return None
        return capped(number, cursor)


def _by_sender(entries: Sequence[Countable]) -> dict[UserId, list[int]]:
    seqs: dict[UserId, list[int]] = {}
    for entry in entries:
        seqs.setdefault(entry.sender_id, []).append(entry.seq)
    return seqs


def _above(seqs: Sequence[int], cursor: int) -> int:
    return len(seqs) - bisect.bisect_right(seqs, cursor)
