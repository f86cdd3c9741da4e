"""Compares heads of all held groups with group_svc, so that nothing stays missed (I6)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.core.feed import RoomFeed
from edge.core.member_watch import MemberWatch
from edge.core.rooms import Rooms
from edge.core.session_settings import SessionSettings
from edge.ports import GroupHead, Upstream
from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId
from throng.domain.limits import CHANGES_MAX
from throng.ports.clock import Clock

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

    def tick(self) -> None:
        """Compares what is due."""
        now = self._clock.monotonic()
        if now >= self._next_all:
            self._members.compare()
            self.compare_all()
        elif now >= self._next_fresh:
            self._next_fresh = now + FRESH_SECONDS
            self._compare(self._rooms.take_fresh())

    def compare_all(self) -> None:
        """Compares every group; once more afterwards when a comparison is under way."""
        self._next_all = self._clock.monotonic() + self._interval_seconds
        if self._under_way:
            self._again = True
            return
        self._rooms.take_fresh()
        self._compare(list(self._rooms))

    def _compare(self, group_ids: Sequence[GroupId]) -> None:
        for start in range(0, len(group_ids), CHANGES_MAX):
            self._under_way += 1
            self._upstream.fetch_heads(group_ids[start : start + CHANGES_MAX], self._on_heads)

    def _on_heads(self, result: Sequence[GroupHead] | ThrongError) -> None:
        self._under_way -= 1
        if not isinstance(result, ThrongError):
            for head in result:
                room = self._rooms.get(head.group_id)
                if room is not None and head.epoch:
                    self._feed.learn(room, head.epoch, head.head_seq)
                    self._members.learn(room, head.members_version)
        if not self._under_way and self._again:
            self._again = False
            self.compare_all()
