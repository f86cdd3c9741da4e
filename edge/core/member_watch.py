"""Sees that a removal was missed, and asks who is still a member (I9): a router may lose what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edge.core.room import Room
from edge.core.rooms import Rooms
from edge.core.session import Session
from edge.core.session_counters import SessionCounters
from edge.ports import MemberEvent, Upstream
from throng.domain.errors import ThrongError
from throng.domain.group import Member
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import CHANGES_MAX


class MemberWatch:
    """Follows `members_version` of each room. A gap that is still there at the next comparison is closed by asking.

    A change that is merely late costs nothing; one that is lost is acted on within three comparisons of heads (6 s).
    """

    def __init__(
        self,
        upstream: Upstream,
        rooms: Rooms,
        counters: SessionCounters,
        *,
        sessions: Callable[[], Iterable[Session]],
        apply: Callable[[MemberEvent], None],
    ) -> None:
        """Takes its neighbours.

        Args:
            upstream: where members are asked for.
            rooms: the rooms of this edge.
            counters: counts the checks.
            sessions: all sessions of this edge.
            apply: acts on what was found, as on a change that was delivered.
        """
        self._upstream = upstream
        self._rooms = rooms
        self._counters = counters
        self._sessions = sessions
        self._apply = apply
        self._checking: set[GroupId] = set()

    def on_change(self, event: MemberEvent) -> None:
        """A change was delivered: the version goes on when nothing is missing before it."""
        room = self._rooms.get(event.group_id)
        if room is None or not event.members_version:
            return
        if event.members_version == room.members_version + 1:
            room.members_version = event.members_version
        self.learn(room, event.members_version)

    def learn(self, room: Room, version: int) -> None:
        """Takes a version from whatever source."""
        room.members_seen = max(room.members_seen, version)

    def compare(self) -> None:
        """Checks the rooms in which a change is missing since the last comparison."""
        due: dict[GroupId, set[UserId]] = {}
        for group_id in self._rooms:
            room = self._rooms.get(group_id)
            assert room is not None
            if room.members_version < room.members_suspect and group_id not in self._checking:
                due[group_id] = set()
            room.members_suspect = room.members_seen
        if not due:
            return
        # One pass over the sessions, however many rooms are due.
        for session in self._sessions():
            for group_id in due.keys() & {*session.parts, *(entering.group_id for entering in session.entering or ())}:
                due[group_id].add(session.user_id)
        for group_id, user_ids in due.items():
            self._check(group_id, sorted(user_ids))

    def _check(self, group_id: GroupId, user_ids: Sequence[UserId]) -> None:
        room = self._rooms.get(group_id)
        if room is None:
            return  # it went with the last of its members
        version = room.members_seen
        chunks = [user_ids[start : start + CHANGES_MAX] for start in range(0, len(user_ids), CHANGES_MAX)]
        self._counters.member_checks += 1
        self._checking.add(group_id)
        waiting, whole = len(chunks), True

        def on_members(result: Sequence[Member] | ThrongError) -> None:
            nonlocal waiting, whole
            waiting -= 1
            if isinstance(result, ThrongError):
                whole = False
            else:
                for member in result:
                    self._apply(MemberEvent(group_id, member.user_id, member.role, member.muted_until_ms))
            if not waiting:
                self._end(group_id, version, whole=whole)

        if not chunks:
            self._end(group_id, version, whole=True)
        for chunk in chunks:
            self._upstream.fetch_members(group_id, chunk, on_members)

    def _end(self, group_id: GroupId, version: int, *, whole: bool) -> None:
        """What could not be read is asked for again at the next comparison."""
        self._checking.discard(group_id)
        room = self._rooms.get(group_id)
        if room is not None and whole:
            room.members_version = max(room.members_version, version)
