"""Compares heads of all held groups with group_svc, so that nothing stays missed (I6)."""

from __future__ import annotations

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

FRESH_SECONDS = 0.3
"""A new room is compared so soon: what was published before its route was known is not waited for."""


class HeadWatch:
    """Asks every 2 s, and at once when routes were applied."""

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
            self._compare(self._rooms.take_fresh(), patiently=False)

    def compare_all(self) -> None:
        """Compares every group, and pulls at once what is missing; once more afterwards when a comparison is under way."""
        self._next_all = self._clock.monotonic() + self._interval_seconds
        if self._under_way:
            self._again = True
            return
        self._rooms.take_fresh()
        self._compare(list(self._rooms), patiently=False)

    def _compare_regularly(self) -> None:
        self._next_all = self._clock.monotonic() + self._interval_seconds
        if self._under_way:
            self._again = True
        else:
            self._compare(list(self._rooms), patiently=True)

    def _compare(self, group_ids: Sequence[GroupId], *, patiently: bool) -> None:
        for start in range(0, len(group_ids), CHANGES_MAX):
            self._under_way += 1
            self._upstream.fetch_heads(
                group_ids[start : start + CHANGES_MAX], lambda result: self._on_heads(result, patiently=patiently)
            )

    def _on_heads(self, result: Sequence[GroupHead] | ThrongError, *, patiently: bool) -> None:
        self._under_way -= 1
        if not isinstance(result, ThrongError):
            for head in result:
                room = self._rooms.get(head.group_id)
                if room is not None and head.epoch:
                    self._take(room, head, patiently=patiently)
        if not self._under_way and self._again:
            self._again = False
            self.compare_all()

    def _take(self, room: Room, head: GroupHead, *, patiently: bool) -> None:
        now = self._clock.monotonic()
        if patiently and head.epoch == room.epoch and head.head_seq > room.known_head:
            due = now + _patience_seconds(room)
            self._ahead.append((due, head))
            self._ahead_due = min(self._ahead_due, due)
        else:
            self._feed.learn(room, head.epoch, head.head_seq)
        self._members.learn(room, head.members_version)
        room.confirmed_at = now
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


def _patience_seconds(room: Room) -> float:
    if not room.blocks_came:
        return PATIENCE_SECONDS
    return PATIENCE_SECONDS + min(room.group.settings.block_wait_ms / 1000, BLOCK_WAIT_SECONDS)
