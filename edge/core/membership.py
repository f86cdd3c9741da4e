"""Whether a user takes part in a group: by a resume token where that is enough, otherwise asked of group_svc (I9, ADR 0011)."""

from __future__ import annotations

from collections.abc import Callable

from edge.core.in_turns import Waiters
from edge.core.resume_tokens import Grant, ResumeTokens
from edge.core.room import Room
from edge.core.rooms import Rooms
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import SessionSettings
from edge.ports import EnteredGroup, Upstream
from throng.domain.errors import ThrongError
from throng.domain.group import Member
from throng.domain.ids import GroupId
from throng.ports.clock import Clock

CONFIRMED_INTERVALS = 3
"""A room whose members_version was told so many comparisons of heads ago, or longer, is too old to trust a token by."""

Answer = Callable[[EnteredGroup | ThrongError], None]


class Membership:
    """Answers for sessions that enter. A token counts while nothing about the members has changed since, as far as this edge knows;
    and what it does not know yet ends in a removal just as for those who are in (ADR 0007)."""

    def __init__(
        self,
        upstream: Upstream,
        rooms: Rooms,
        tokens: ResumeTokens,
        waiters: Waiters,
        clock: Clock,
        settings: SessionSettings,
        counters: SessionCounters,
    ) -> None:
        self._upstream = upstream
        self._waiters = waiters
        self._rooms = rooms
        self._tokens = tokens
        self._clock = clock
        self._trusted_seconds = CONFIRMED_INTERVALS * settings.head_interval_ms / 1000
        self._counters = counters
        self._opening: dict[GroupId, list[Callable[[], None]]] = {}

    def ask(self, session: Session, group_id: GroupId, token: str, answer: Answer) -> None:
        """`answer` gets the group and the member, perhaps at once. `token` empty: group_svc is asked in any case."""
        grant = self._tokens.read(session.user_id, group_id, token)
        if grant is None:
            self._ask_upstream(session, group_id, answer)
            return
        room = self._rooms.get(group_id)
        waiting = self._opening.get(group_id)
        if room is not None:
            self._resume(session, group_id, grant, answer)
        elif waiting is not None:  # bounded: each is an enter under way
            waiting.append(lambda: self._resume(session, group_id, grant, answer))
        else:
            self._open(session, group_id, answer)

    def token(self, session: Session, part: Part) -> str:
        """A token for a part; empty: a change of the members is known to be missing here, or there are no tokens."""
        room = part.room
        if room.members_version != room.members_seen:
            return ""
        grant = Grant(room.epoch, room.members_version, part.role, part.muted_until_ms)
        return self._tokens.issue(session.user_id, room.group.group_id, grant)

    def _resume(self, session: Session, group_id: GroupId, grant: Grant, answer: Answer) -> None:
        room = self._rooms.get(group_id)
        if room is None or not self._counts(room, grant):
            self._ask_upstream(session, group_id, answer)
            return
        self._counters.resumes += 1
        member = Member(session.user_id, role=grant.role, muted_until_ms=grant.muted_until_ms)
        answer(EnteredGroup(room.group, member))

    def _counts(self, room: Room, grant: Grant) -> bool:
        return (
            grant.epoch == room.epoch
            and grant.members_version == room.members_version == room.members_seen
            and self._clock.monotonic() - room.confirmed_at <= self._trusted_seconds
        )

    def _open(self, session: Session, group_id: GroupId, answer: Answer) -> None:
        """The first to come to an edge that does not hold the group is asked for; those behind it wait for what that brings."""
        waiting = self._opening[group_id] = []

        def on_answer(result: EnteredGroup | ThrongError) -> None:
            del self._opening[group_id]
            answer(result)
            self._confirm(group_id, result)
            self._waiters.call(waiting)

        self._ask_upstream(session, group_id, on_answer)

    def _ask_upstream(self, session: Session, group_id: GroupId, answer: Answer) -> None:
        def on_answer(result: EnteredGroup | ThrongError) -> None:
            answer(result)
            self._confirm(group_id, result)

        self._upstream.enter(session.user_id, group_id, session.display_name, on_answer)

    def _confirm(self, group_id: GroupId, result: EnteredGroup | ThrongError) -> None:
        """A look-up also tells the newest version of the members, which `Entrance` has noted."""
        room = self._rooms.get(group_id)
        if room is not None and not isinstance(result, ThrongError):
            room.confirmed_at = self._clock.monotonic()
