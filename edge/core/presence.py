"""Counts for clients, paced: how many are online for those who look, the head for pages that are hidden (hop 7, design 9).

A group's count goes out at most once a second, and of a large group with the next block where one comes within a second, so
that it costs no send of its own. What does cost sends is bounded for the edge as a whole; above that, counts come later.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from edge.core.room import Room
from edge.core.rooms import Rooms
from edge.core.session_counters import SessionCounters
from edge.ports import OnlineEvent
from throng.ports.clock import Clock

INTERVAL_SECONDS = 1.0
WAIT_FOR_BLOCK_SECONDS = 1.0
SMALL = 100
"""Up to so many connections a count does not wait for a block."""

SENDS_PER_SECOND = 5_000.0
"""Sends of counts alone, on the whole edge: about a twentieth of what one core can send."""

_Entry = tuple[float, int, Room, bool]


class Presence:
    """Keeps the time of counts; rooms send them. Hub thread only. Bounded: each room waits once for each of the two."""

    def __init__(self, rooms: Rooms, clock: Clock, counters: SessionCounters) -> None:
        self._rooms = rooms
        self._clock = clock
        self._counters = counters
        self._opening: list[_Entry] = []
        self._sending: list[_Entry] = []
        self._turns = itertools.count()
        self._allowance = SENDS_PER_SECOND
        self._ticked_at = clock.monotonic()

    def on_online(self, event: OnlineEvent) -> None:
        """A router told counts."""
        for group_id, online in event.counts:
            room = self._rooms.get(group_id)
            if room is not None:
                room.online = max(online, room.reported)  # an edge that was taken for dead for a moment is not empty
                self._await_online(room)

    def tick(self) -> None:
        """Sends what is due and affordable, the longest due first."""
        now = self._clock.monotonic()
        self._allowance = min(SENDS_PER_SECOND, self._allowance + (now - self._ticked_at) * SENDS_PER_SECOND)
        self._ticked_at = now
        behind = self._rooms.behind
        while behind:
            room = behind.popleft()
            self._push(self._opening, room.hidden_told_at + INTERVAL_SECONDS, room, hidden=True)
        while self._opening and self._opening[0][0] <= now:
            _, _, room, hidden = heapq.heappop(self._opening)
            waits = not hidden and room.shown > SMALL
            room.online_due = room.online_due or not hidden
            self._push(self._sending, now + WAIT_FOR_BLOCK_SECONDS if waits else now, room, hidden=hidden)
        while self._sending and self._sending[0][0] <= now and self._allowance > 0:
            _, _, room, hidden = heapq.heappop(self._sending)
            if not room.dead:
                self._send(room, hidden=hidden, now=now)

    def _send(self, room: Room, *, hidden: bool, now: float) -> None:
        if hidden:
            room.hidden_waits = False
            room.hidden_told_at = now
            if room.hidden_told != (room.epoch, room.head):
                self._spend(room.tell_hidden)
            return
        if room.online_due and room.online != room.online_told:
            self._spend(room.tell_online)
        room.online_due = room.online_waits = False
        room.online_told_at = now
        self._await_online(room)

    def _spend(self, tell: Callable[[], int]) -> None:
        sent = tell()
        self._allowance -= sent
        self._counters.count_sends += sent

    def _await_online(self, room: Room) -> None:
        if room.online != room.online_told and not room.online_waits:
            room.online_waits = True
            self._push(self._opening, room.online_told_at + INTERVAL_SECONDS, room, hidden=False)

    def _push(self, heap: list[_Entry], at: float, room: Room, *, hidden: bool) -> None:
        heapq.heappush(heap, (at, next(self._turns), room, hidden))
