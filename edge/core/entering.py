"""Taking part in a group: membership, newest page, unread count and deletions together in one `entered` (hops 7 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.core.feed import RoomFeed
from edge.core.membership import Membership
from edge.core.page_cut import newest_within, oldest_within
from edge.core.parts import Parts
from edge.core.range_reader import Range, RangeReader
from edge.core.read_cursors import ReadCursors
from edge.core.requests import Enter, Request
from edge.core.responses import Entered
from edge.core.room import Room, SharedPage, wants_of
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import SessionSettings
from edge.ports import EnteredGroup, UnreadCount, Upstream
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import Delivery, Member, Role
from throng.domain.ids import GroupId, check_identifier
from throng.domain.limits import PAGE_DEFAULT, PAGE_MAX

MAX_ATTEMPTS = 3
MAX_HELD = 64
"""Requests of one connection that wait for groups being entered; above it they are refused with RATE_LIMITED."""

Replay = Callable[[Session, Sequence[Request]], None]
_NO_PART = frozenset({ErrorCode.NOT_A_MEMBER, ErrorCode.GROUP_NOT_FOUND})


class Entering:
    """One enter under way. A removal meanwhile makes it ask for membership again; a leave ends it (I9)."""

    __slots__ = (
        "attempts",
        "cancelled",
        "deleted",
        "epoch",
        "error",
        "group_id",
        "held",
        "member",
        "missing",
        "page",
        "removed",
        "replay",
        "request",
        "reset",
        "room",
        "session",
        "unread",
    )

    def __init__(self, session: Session, request: Enter, group_id: GroupId, replay: Replay) -> None:
        self.session = session
        self.request = request
        self.group_id = group_id
        self.replay = replay
        self.held: list[Request] = []
        self.room: Room | None = None
        self.member: Member | None = None
        self.page = Range(0, [])
        self.unread: UnreadCount | None = None
        self.deleted: Sequence[int] = ()
        self.error: ThrongError | None = None
        self.missing = 0
        self.attempts = 0
        self.epoch = 0
        self.reset = False
        self.removed = False
        self.cancelled = False


class Entrance:
    """Lets sessions into groups."""

    def __init__(
        self,
        upstream: Upstream,
        parts: Parts,
        feed: RoomFeed,
        reader: RangeReader,
        cursors: ReadCursors,
        membership: Membership,
        settings: SessionSettings,
        counters: SessionCounters,
    ) -> None:
        self._upstream = upstream
        self._parts = parts
        self._feed = feed
        self._reader = reader
        self._cursors = cursors
        self._replies = parts.replies
        self._membership = membership
        self._settings = settings
        self._counters = counters

    def enter(self, session: Session, request: Enter, replay: Replay) -> None:
        """Begins; the answer is `entered` or `failure`. `replay` then gets what was asked of the group meanwhile."""
        group_id = GroupId(check_identifier(request.group_id, "group_id"))
        under_way = session.entering or []
        if group_id not in session.parts and len(session.parts) + len(under_way) >= self._settings.max_groups:
            raise ThrongError(ErrorCode.LIMIT_EXCEEDED, f"a connection takes part in at most {self._settings.max_groups} groups")
        entering = Entering(session, request, group_id, replay)
        session.entering = [*under_way, entering]
        session.requests += 1
        self._ask(entering)

    def hold(self, session: Session, request: Request, group_id: str) -> bool:
        """Keeps what is asked of a group that is being entered, so that a client need not wait for `entered`.

        Raises:
            ThrongError: RATE_LIMITED, when too much waits already.
        """
        for entering in session.entering or ():
            if entering.group_id != group_id:
                continue
            if group_id in session.parts and not entering.held:
                return False
            if sum(len(other.held) for other in session.entering or ()) >= MAX_HELD:
                raise ThrongError(ErrorCode.RATE_LIMITED, "the group is still being entered", retry_after_ms=500)
            entering.held.append(request)
            return True
        return False

    # Membership -----------------------------------------------------------------------------------------------------

    def _ask(self, entering: Entering) -> None:
        entering.attempts += 1
        entering.removed = False
        # A token is believed once: what made the first attempt fail may be what the token does not know.
        token = entering.request.resume_token if entering.attempts == 1 else ""
        self._membership.ask(entering.session, entering.group_id, token, lambda result: self._on_member(entering, result))

    def _on_member(self, entering: Entering, result: EnteredGroup | ThrongError) -> None:
        if isinstance(result, ThrongError):
            self._refuse(entering, result)
            return
        if self._stopped(entering):
            return
        group, member = result.group, result.member
        room = entering.room = self._parts.rooms.hold(group)
        entering.member = member
        self._feed.learn(room, group.epoch, group.head_seq)
        if group.epoch == room.epoch:
            room.group = group
        room.members_seen = max(room.members_seen, group.members_version)
        self._feed.settle(room, lambda: self._gather(entering))

    def _stopped(self, entering: Entering) -> bool:
        """Whether there is nothing more to do, or membership is asked for again."""
        if entering.session.closed:
            self._end(entering)
            return True
        if entering.cancelled:
            self._refuse(entering, ThrongError(ErrorCode.NOT_ENTERED, "the group was left meanwhile"))
            return True
        if not entering.removed:
            return False
        if entering.attempts >= MAX_ATTEMPTS:
            self._refuse(entering, ThrongError(ErrorCode.NOT_A_MEMBER, "you are no member of this group"))
        else:
            self._release(entering)
            self._ask(entering)
        return True

    # What is shown --------------------------------------------------------------------------------------------------

    def _gather(self, entering: Entering) -> None:
        if self._stopped(entering):
            return
        room, request, session = entering.room, entering.request, entering.session
        assert room is not None
        entering.epoch = room.epoch
        entering.error = None
        entering.reset = request.seq > 0 and request.epoch != room.epoch
        after_seq, up_to_seq = _wanted(request, room, reset=entering.reset)
        entering.missing = 3
        self._reader.read(room, after_seq, up_to_seq, lambda result: self._on_page(entering, result))
        self._cursors.report_user(
            session.user_id,
            entering.group_id,
            lambda: self._upstream.fetch_unread(
                session.user_id, [entering.group_id], lambda result: self._on_unread(entering, result)
            ),
        )
        self._upstream.fetch_deleted(
            session.user_id, entering.group_id, after_seq + 1, lambda result: self._on_deleted(entering, result)
        )

    def _on_page(self, entering: Entering, result: Range | ThrongError) -> None:
        if isinstance(result, ThrongError):
            entering.error = result
        else:
            entering.page = result
        self._one_less(entering)

    def _on_unread(self, entering: Entering, result: Sequence[UnreadCount] | ThrongError) -> None:
        entering.unread = None if isinstance(result, ThrongError) or not result else result[0]
        self._one_less(entering)

    def _on_deleted(self, entering: Entering, result: Sequence[int] | ThrongError) -> None:
        if isinstance(result, ThrongError):
            entering.error = result
        else:
            entering.deleted = result
        self._one_less(entering)

    def _one_less(self, entering: Entering) -> None:
        entering.missing -= 1
        if entering.missing or self._stopped(entering):
            return
        assert entering.room is not None
        if entering.room.epoch != entering.epoch:
            if entering.attempts >= MAX_ATTEMPTS:
                self._refuse(entering, unavailable("the group changes just now"))
                return
            entering.attempts += 1
            self._gather(entering)
        elif entering.error is not None:
            self._refuse(entering, entering.error)
        else:
            self._complete(entering)

    # The end --------------------------------------------------------------------------------------------------------

    def _complete(self, entering: Entering) -> None:
        """From here on the connection gets what comes: the page ends where the next block begins."""
        session, room, member = entering.session, entering.room, entering.member
        assert room is not None
        assert member is not None
        delivery = entering.request.delivery or room.group.settings.delivery or Delivery.INLINE
        self._parts.drop(session, entering.group_id)
        read_seq = entering.unread.read_seq if entering.unread else 0
        part = Part(room, delivery=delivery, role=member.role, muted_until_ms=member.muted_until_ms, read_seq=read_seq)
        session.parts[entering.group_id] = part
        entering.room = None
        self._end(entering)
        self._counters.enters += 1
        page = self._shared_page(room, entering)
        deleted = [seq for seq in entering.deleted if seq > page.after_seq]
        token = self._membership.token(session, part)
        response = Entered(
            room.group,
            member.role,
            (),
            entering.unread,
            deleted,
            delivery,
            entering.reset,
            token,
            shared=page.shared,
            online=room.online,
        )
        self._replies.send(session, response, entering.request.request_id)
        room.add(session.connection, wants=wants_of(delivery, hidden=session.hidden))
        entering.replay(session, entering.held)

    def _shared_page(self, room: Room, entering: Entering) -> SharedPage:
        """Group and page, serialized; most of a crowd want the same ones, and those of the cache are kept for them."""
        binary, after_seq = entering.session.connection.binary, entering.page.after_seq
        key = (binary, after_seq, _continues(entering))
        kept = room.pages.get(key)
        if kept is not None and kept.group is room.group:
            return kept
        page = self._brought_up(room, entering)
        shared = self._replies.codec(entering.session).share(room.current_group(), page.messages)
        made = SharedPage(room.group, page.after_seq, shared)
        if after_seq >= room.cache.floor and page.last_seq == room.head:
            room.keep_page(key, made)
        return made

    def _brought_up(self, room: Room, entering: Entering) -> Range:
        """The page with what came meanwhile, within the sizes of an answer."""
        page, bound = entering.page, self._settings.page_bytes
        if room.cache.floor <= page.last_seq < room.head:
            page = Range(page.after_seq, page.messages + room.cache.between(page.last_seq, room.head))
        page = Range(page.after_seq, room.blanked(page.after_seq, list(page.messages)))
        if _continues(entering):
            return oldest_within(page, PAGE_MAX, bound)
        return newest_within(page, PAGE_MAX, bound)

    def _refuse(self, entering: Entering, error: ThrongError) -> None:
        """A connection that takes part already, though it is no member, does so no longer: its removal was missed here (I9)."""
        if error.code in _NO_PART and not entering.session.closed:
            self._parts.drop(entering.session, entering.group_id)
        self._replies.fail(entering.session, entering.request.request_id, error, entering.group_id)
        self._end(entering)
        if not entering.session.closed:
            entering.replay(entering.session, entering.held)

    def _end(self, entering: Entering) -> None:
        self._release(entering)
        session = entering.session
        left = [other for other in session.entering or () if other is not entering]
        session.entering = left or None
        session.requests -= 1

    def _release(self, entering: Entering) -> None:
        room, entering.room = entering.room, None
        if room is not None:
            self._parts.rooms.release(room)

    # What happens meanwhile -----------------------------------------------------------------------------------------

    def on_member(self, session: Session, group_id: GroupId, role: Role, muted_until_ms: int) -> None:
        """A membership changed while its user may be entering."""
        for entering in session.entering or ():
            if entering.group_id != group_id:
                continue
            if role is Role.NONE:
                entering.removed = True
            elif entering.member is not None:
                entering.member = Member(session.user_id, role=role, muted_until_ms=muted_until_ms)

    def cancel(self, session: Session, group_id: GroupId) -> None:
        """The group is left while it is being entered."""
        for entering in session.entering or ():
            entering.cancelled |= entering.group_id == group_id


def _continues(entering: Entering) -> bool:
    """The page begins where the client stands; otherwise it is the newest one."""
    seq = entering.request.seq
    return seq > 0 and not entering.reset and entering.page.after_seq == seq


def _wanted(request: Enter, room: Room, *, reset: bool) -> tuple[int, int]:
    """What follows the client's seq, or the newest page where it has none or missed more than a page."""
    head = room.head
    if request.seq and not reset and head - request.seq <= PAGE_MAX:
        return min(request.seq, head), head
    return max(0, head - PAGE_DEFAULT), head
