"""Ranges of a group's messages out of its cache or, once however many ask, from upstream (hop 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.core.feed import consecutive
from edge.core.room import Room
from edge.core.session_counters import SessionCounters
from edge.core.single_flight import SingleFlight
from edge.ports import FetchedPage, Upstream
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId
from throng.domain.limits import PAGE_DEFAULT, PAGE_MAX

MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Range:
    """Messages with the seqs `after_seq` + 1 and so on."""

    after_seq: int
    messages: list[bytes]

    @property
    def last_seq(self) -> int:
        """Seq of the last message; `after_seq` when there is none."""
        return self.after_seq + len(self.messages)


RangeDone = Callable[[Range | ThrongError], None]
_Key = tuple[GroupId, int, int, int]


class RangeReader:
    """Reads at most 200 messages at a time. What is fetched next to the cache is put into it."""

    def __init__(self, upstream: Upstream, flights: SingleFlight[_Key, Range], counters: SessionCounters) -> None:
        self._upstream = upstream
        self._flights = flights
        self._counters = counters

    def read(self, room: Room, after_seq: int, up_to_seq: int, done: RangeDone) -> None:
        """Reads what lies after one seq up to another; both must not lie above the room's head, nor 200 apart.

        `done` gets the range from `after_seq` on, as much of it as could be had, or why none of it can be had.
        """
        if after_seq >= room.cache.floor:
            self._counters.cache_hits += 1
            done(Range(after_seq, room.cache.between(after_seq, up_to_seq)))
            return
        self._counters.cache_misses += 1
        self._read_on(room, Range(after_seq, []), up_to_seq, done, MAX_ROUNDS)

    def _read_on(self, room: Room, had: Range, up_to_seq: int, done: RangeDone, rounds: int) -> None:
        """Adds to what was read until it is complete or nothing more comes."""
        position, epoch = had.last_seq, room.epoch
        if position >= room.cache.floor:
            done(Range(had.after_seq, had.messages + room.cache.between(position, max(position, up_to_seq))))
            return
        first, last = _aligned(position, up_to_seq, room.cache.floor)

        def on_fetched(result: Range | ThrongError) -> None:
            if isinstance(result, ThrongError):
                done(result if not had.messages else had)
                return
            if room.epoch != epoch:
                done(ThrongError(ErrorCode.EPOCH_MISMATCH, "the group's history has changed"))
                return
            fresh = result.messages[position - result.after_seq : up_to_seq - result.after_seq]
            if room.recalls:  # who waited with many others is told some turns later
                fresh = room.blanked(position, fresh)
            grown = Range(had.after_seq, had.messages + fresh)
            if grown.last_seq >= up_to_seq or not fresh or rounds <= 1:
                done(grown if grown.messages else unavailable("these messages cannot be had now"))
                return
            self._read_on(room, grown, up_to_seq, done, rounds - 1)

        def start(finish: RangeDone) -> None:
            self._upstream.fetch_after(
                room.group.group_id, first, last, PAGE_MAX, lambda page: finish(self._fetched(room, epoch, first, page))
            )

        if not self._flights.run((room.group.group_id, epoch, first, last), start, on_fetched):
            self._counters.single_flight_waits += 1

    def _fetched(self, room: Room, epoch: int, first: int, page: FetchedPage | ThrongError) -> Range | ThrongError:
        if isinstance(page, ThrongError):
            return page
        if page.epoch != epoch or room.epoch != epoch:
            return ThrongError(ErrorCode.EPOCH_MISMATCH, "the group's history has changed")
        messages = consecutive(page, first)
        if not messages:
            return unavailable("these messages cannot be had now")
        messages = room.blanked(first, messages)
        if not room.dead and first + len(messages) == room.cache.floor:
            room.cache.prepend(messages)
        return Range(first, messages)


def _aligned(after_seq: int, up_to_seq: int, floor: int) -> tuple[int, int]:
    """The range to ask for: one around the wanted one that others are likely to want as well, of at most 200.

    A page of 200 somewhere in the history is asked for as it is: nobody else is likely to want the few that its aligned range would
    leave over, and a call for these costs more than the rest is worth. What ends at the cache is wanted by all who lost it.
    """
    first = after_seq - after_seq % PAGE_DEFAULT
    last = min(up_to_seq, floor)
    if last - first <= PAGE_MAX:
        return first, last
    if last < floor:
        return after_seq, last
    return first, first + PAGE_MAX
