"""Compares heads of all held groups with group_svc, so that nothing stays missed (I6)."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

from edge.core.feed import RoomFeed
from edge.core.member_watch import MemberWatch
from edge.core.room import Room
from edge.core.rooms import Rooms
from edge.core.session_settings import SessionSettings
from edge.ports import GroupHead, Upstream
from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId
from throng.domain.limits import CHANGES_MAX
from throng.ports.clock import Clock

PATIENCE_SECONDS = 0.5
"""In a group that is talked in, its owner's head is ahead of the blocks that are on their way: a head that was found by the regular
comparison is pulled only if nothing has brought it after so long. (At 5,000 messages/s half of all comparisons found one.)"""

BLOCK_WAIT_SECONDS = 1.0
"""Where blocks came since the comparison before, the next one may still be gathered: its interval is waited for on top, at most so
long. Where none came, the next message goes at once and there is nothing to wait for."""

NEW_PATIENCE_SECONDS = 0.25
"""In a group to which no block has come yet: its first one may be on its way just now, or went out before the route stood."""

FRESH_SECONDS = 0.3
"""A new room is compared so soon: what was published before its route was known is not waited for."""


class _Reason(enum.Enum):
    """Why heads are compared."""

    REGULAR = enum.auto()
    GAINED = enum.auto()
    BREAK = enum.auto()


class HeadWatch:
    """Asks every 2 s, and soon about rooms that are new and whose routes were applied, which are all of them after a break."""

    def __init__(
        self, upstream: Upstream, rooms: Rooms, feed: RoomFeed, members: MemberWatch, clock: Clock, settings: SessionSettings
    ) -> None:
        self._upstream = upstream
        self._rooms = rooms
        self._feed = feed
        self._members = members
        self._clock = clock
        self._interval_seconds = settings.head_interval_ms / 1000
        self._next_all = clock.monotonic() + self._interval_seconds
        self._next_fresh = clock.monotonic() + FRESH_SECONDS
        self._under_way = 0
        self._again = False
        self._ahead: list[tuple[float, GroupHead]] = []
        self._ahead_due = math.inf

    def tick(self) -> None:
        """Compares what is due."""
        now = self._clock.monotonic()
        if now >= self._ahead_due:
            self._learn_ahead(now)
        if now >= self._next_all:
            self._members.compare()
            self._compare_regularly()
        elif now >= self._next_fresh:
            self._next_fresh = now + FRESH_SECONDS
            self._compare(self._rooms.take_fresh(), _Reason.GAINED)

    def compare_gained(self, group_ids: Sequence[GroupId]) -> None:
        """Compares groups whose routes came to stand; pulls soon what is missing where no block has come yet."""
        self._compare([group_id for group_id in group_ids if self._rooms.get(group_id) is not None], _Reason.GAINED)

    def compare_all(self) -> None:
        """Compares every group, and pulls at once what is missing; once more afterwards when a comparison is under way."""
        self._next_all = self._clock.monotonic() + self._interval_seconds
        if self._under_way:
            self._again = True
            return
        self._rooms.take_fresh()
        self._compare(list(self._rooms), _Reason.BREAK)

    def _compare_regularly(self) -> None:
        self._next_all = self._clock.monotonic() + self._interval_seconds
        if self._under_way:
            self._again = True
        else:
            self._compare(list(self._rooms), _Reason.REGULAR)

    def _compare(self, group_ids: Sequence[GroupId], reason: _Reason) -> None:
        for start in range(0, len(group_ids), CHANGES_MAX):
            self._under_way += 1
            self._upstream.fetch_heads(group_ids[start : start + CHANGES_MAX], lambda result: self._on_heads(result, reason))

    def _on_heads(self, result: Sequence[GroupHead] | ThrongError, reason: _Reason) -> None:
        self._under_way -= 1
        if not isinstance(result, ThrongError):
            for head in result:
                room = self._rooms.get(head.group_id)
                if room is not None and head.epoch:
                    self._take(room, head, reason)
        if not self._under_way and self._again:
            self._again = False
            self.compare_all()

    def _take(self, room: Room, head: GroupHead, reason: _Reason) -> None:
        now = self._clock.monotonic()
        patience_seconds = _patience_seconds(room, reason)
        if patience_seconds and head.epoch == room.epoch and head.head_seq > room.known_head:
            due = now + patience_seconds
            self._ahead.append((due, head))
            self._ahead_due = min(self._ahead_due, due)
        else:
            self._feed.learn(room, head.epoch, head.head_seq)
        self._members.learn(room, head.members_version)
        room.confirmed_at = now
        if reason is _Reason.REGULAR:
            room.blocks_came = False

    def _learn_ahead(self, now: float) -> None:
        """By now blocks have brought what was on its way in the groups that are due."""
        due = [head for due_at, head in self._ahead if due_at <= now]
        self._ahead = [one for one in self._ahead if one[0] > now]
        self._ahead_due = min((due_at for due_at, _ in self._ahead), default=math.inf)
        for head in due:
            room = self._rooms.get(head.group_id)
            if room is not None:
                self._feed.learn(room, head.epoch, head.head_seq)


def _patience_seconds(room: Room, reason: _Reason) -> float:
    if reason is _Reason.BREAK:
        return 0.0
    if reason is _Reason.GAINED and not room.routed:
        return NEW_PATIENCE_SECONDS
    if not room.blocks_came:
        return PATIENCE_SECONDS
    return PATIENCE_SECONDS + min(room.group.settings.block_wait_ms / 1000, BLOCK_WAIT_SECONDS)
