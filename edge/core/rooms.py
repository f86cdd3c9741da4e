"""The rooms of an edge: made with the first connection, reported to the registry, dropped with the last (design 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from edge.core.codec import Codecs
from edge.core.links import LinkHub
from edge.core.message_cache import CacheBudget
from edge.core.room import Room
from edge.core.session_counters import SIZE_CLASSES, SessionCounters
from edge.ports import Upstream
from throng.domain.group import Group
from throng.domain.ids import GroupId


class Rooms:
    """All rooms. A group's first and last connection are reported at once, other changes with `report_counts`."""

    def __init__(self, hub: LinkHub, upstream: Upstream, codecs: Codecs, budget: CacheBudget, counters: SessionCounters) -> None:
        self._hub = hub
        self._upstream = upstream
        self._codecs = codecs
        self._budget = budget
        self._counters = counters
        self._rooms: dict[GroupId, Room] = {}
        self._changed: set[GroupId] = set()
        self._fresh: list[GroupId] = []
        self.behind: deque[Room] = deque()
        """Rooms whose hidden pages fell behind; whoever tells them takes the rooms out."""

    def get(self, group_id: GroupId) -> Room | None:
        """The room of a group that is held here. May be called from any thread."""
        return self._rooms.get(group_id)

    def __iter__(self) -> Iterator[GroupId]:
        return iter(self._rooms)

    def hold(self, group: Group) -> Room:
        """Takes a hold on a room for one connection; makes it when it is the first."""
        room = self._rooms.get(group.group_id)
        if room is None:
            room = self._rooms[group.group_id] = Room(group, self._hub, self._codecs, self._budget, self.behind)
            self._counters.rooms += 1
            self._fresh.append(group.group_id)
        room.holds += 1
        if room.holds == 1:
            self._report([room])
        else:
            self._changed.add(group.group_id)
        return room

    def release(self, room: Room) -> None:
        """Gives one hold back; the room goes with the last."""
        room.holds -= 1
        group_id = room.group.group_id
        if room.holds:
            self._changed.add(group_id)
            return
        room.dead = True
        room.cache.reset(0)
        room.parked.clear()
        del self._rooms[group_id]
        self._changed.discard(group_id)
        self._counters.rooms -= 1
        self._report([room])

    def report_counts(self) -> None:
        """Reports the counts that changed since they were last reported."""
        rooms = [self._rooms[group_id] for group_id in self._changed]
        self._changed.clear()
        self._report([room for room in rooms if room.holds != room.reported])

    def take_fresh(self) -> list[GroupId]:
        """The rooms made since the last call: their heads are compared soon, for their route was not there at once."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def by_size(self) -> dict[str, int]:
        """Rooms by size class. May be called from any thread."""
        counts = dict.fromkeys([*(f"<={bound}" for bound in SIZE_CLASSES), f">{SIZE_CLASSES[-1]}"], 0)
        names = list(counts)
        for room in list(self._rooms.values()):
            place = next((place for place, bound in enumerate(SIZE_CLASSES) if room.holds <= bound), len(SIZE_CLASSES))
            counts[names[place]] += 1
        return counts

    def _report(self, rooms: list[Room]) -> None:
        if rooms:
            for room in rooms:
                room.reported = room.holds
            self._upstream.report_routes([(room.group.group_id, room.holds) for room in rooms])
