"""Requests that read: pulls and history, groups and unread counts, cursors, deletions (hop 8)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.core.feed import RoomFeed
from edge.core.page_cut import newest_within, oldest_within
from edge.core.range_reader import Range, RangeReader
from edge.core.read_cursors import ReadCursors
from edge.core.replies import Replies
from edge.core.requests import DeleteForMe, History, ListGroups, Pull, ReportRead
from edge.core.responses import GroupDeletedForMe, Groups, Pulled, UnreadCounts
from edge.core.room import Room
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import SessionSettings
from edge.ports import EnteredGroup, UnreadCount, Upstream
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId
from throng.domain.limits import PAGE_DEFAULT, PAGE_MAX


class Reading:
    """Answers what needs no writer. Results that come after the part has ended are not passed on (I9)."""

    def __init__(
        self,
        upstream: Upstream,
        feed: RoomFeed,
        reader: RangeReader,
        cursors: ReadCursors,
        replies: Replies,
        settings: SessionSettings,
        counters: SessionCounters,
    ) -> None:
        self._upstream = upstream
        self._feed = feed
        self._reader = reader
        self._cursors = cursors
        self._replies = replies
        self._settings = settings
        self._counters = counters

    # Pull -----------------------------------------------------------------------------------------------------------

    def pull(self, session: Session, pull: Pull, part: Part) -> None:
        """Answers with what lies after one seq up to another, from the cache whenever it is there."""
        room = part.room
        self._counters.pulls += 1
        if pull.up_to_seq and pull.up_to_seq < pull.after_seq:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "up_to_seq is below after_seq", fields={"field": "up_to_seq"})
        if pull.epoch and pull.epoch != room.epoch:
            raise _other_epoch()
        wanted = min(pull.up_to_seq or room.known_head, room.known_head)
        if wanted <= room.head and self._answer_from_cache(session, pull, room, wanted):
            return
        session.requests += 1
        self._feed.settle(room, lambda: self._pull_on(session, pull, part, room.epoch))

    def _answer_from_cache(self, session: Session, pull: Pull, room: Room, wanted: int) -> bool:
        after_seq = pull.after_seq
        up_to_seq = min(wanted, after_seq + PAGE_MAX)
        key = (session.connection.binary, after_seq, up_to_seq)
        prepared = room.answers.get(key)
        if prepared is None:
            if after_seq < min(room.cache.floor, up_to_seq):
                return False
            messages = room.cache.between(after_seq, up_to_seq) if up_to_seq > after_seq else []
            prepared = self._prepared(session, room, oldest_within(Range(after_seq, messages), PAGE_MAX, self._settings.page_bytes))
            room.keep_answer(key, prepared)
        self._counters.cache_hits += 1
        self._replies.send_prepared(session, prepared, pull.request_id)
        return True

    def _pull_on(self, session: Session, pull: Pull, part: Part, epoch: int) -> None:
        """The room is at the head as far as could be; now the range may be fetched."""
        room = part.room
        wanted = min(pull.up_to_seq or room.head, room.head)
        if self._ended(session, pull, part):
            return
        if room.epoch != epoch:
            self._fail(session, pull, _other_epoch())
        elif wanted <= pull.after_seq and room.head < room.known_head:
            self._fail(session, pull, unavailable("these messages cannot be had now"))
        elif wanted <= pull.after_seq:
            self._finish(session, pull, part, Range(pull.after_seq, []))
        else:
            up_to_seq = min(wanted, pull.after_seq + PAGE_MAX)
            self._reader.read(room, pull.after_seq, up_to_seq, lambda result: self._finish(session, pull, part, result))

    def _finish(self, session: Session, pull: Pull, part: Part, result: Range | ThrongError) -> None:
        if self._ended(session, pull, part):
            return
        if isinstance(result, ThrongError):
            self._fail(session, pull, result)
            return
        session.requests -= 1
        page = oldest_within(result, PAGE_MAX, self._settings.page_bytes)
        # After a cache loss thousands wait for one call: what it brought is put into words once.
        key = (session.connection.binary, page.after_seq, page.last_seq)
        prepared = part.room.answers.get(key)
        if prepared is None:
            prepared = self._prepared(session, part.room, page)
            part.room.keep_answer(key, prepared)
        self._replies.send_prepared(session, prepared, pull.request_id)

    def _prepared(self, session: Session, room: Room, page: Range) -> bytes:
        pulled = Pulled(room.group.group_id, room.epoch, page.after_seq, room.head, page.messages)
        return self._replies.codec(session).prepare(pulled)

    def _ended(self, session: Session, request: Pull | History, part: Part) -> bool:
        if session.parts.get(part.room.group.group_id) is part:
            return False
        error = ThrongError(ErrorCode.NOT_ENTERED, "the group was left meanwhile")
        self._fail(session, request, error)
        return True

    def _fail(self, session: Session, request: Pull | History | ReportRead | DeleteForMe | ListGroups, error: ThrongError) -> None:
        session.requests -= 1
        self._replies.fail(session, request.request_id, error, getattr(request, "group_id", ""))

    # History --------------------------------------------------------------------------------------------------------

    def history(self, session: Session, history: History, part: Part) -> None:
        """Answers with a page that ends below a seq, and what the user deleted of it."""
        room = part.room
        self._counters.histories += 1
        limit = history.limit or PAGE_DEFAULT
        if limit > PAGE_MAX:
            raise ThrongError(ErrorCode.LIMIT_EXCEEDED, f"limit is at most {PAGE_MAX}", fields={"limit": str(PAGE_MAX)})
        up_to_seq = min(history.before_seq - 1, room.head) if history.before_seq else room.head
        after_seq = max(0, up_to_seq - limit)
        deleted: Sequence[int] | ThrongError = ()
        page: Range | ThrongError = Range(after_seq, [])
        left = 2
        session.requests += 1

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._answer_history(session, history, part, page, deleted)

        def on_deleted(result: Sequence[int] | ThrongError) -> None:
            nonlocal deleted
            deleted = result
            one_done()

        def on_page(result: Range | ThrongError) -> None:
            nonlocal page
            page = result
            one_done()

        self._upstream.fetch_deleted(session.user_id, room.group.group_id, after_seq + 1, on_deleted)
        self._reader.read(room, after_seq, up_to_seq, on_page)

    def _answer_history(
        self,
        session: Session,
        history: History,
        part: Part,
        page: Range | ThrongError,
        deleted: Sequence[int] | ThrongError,
    ) -> None:
        if self._ended(session, history, part):
            return
        if isinstance(page, ThrongError) or isinstance(deleted, ThrongError):
            self._fail(session, history, page if isinstance(page, ThrongError) else _error_of(deleted))
            return
        session.requests -= 1
        room = part.room
        cut = newest_within(page, PAGE_MAX, self._settings.page_bytes)
        seqs = [seq for seq in deleted if cut.after_seq < seq <= cut.last_seq]
        response = Pulled(room.group.group_id, room.epoch, cut.after_seq, room.head, cut.messages, seqs)
        self._replies.send(session, response, history.request_id)

    # Cursors and counts ---------------------------------------------------------------------------------------------

    def report_read(self, session: Session, report: ReportRead, part: Part) -> None:
        """Notes a cursor; with a request_id the counts after it are answered."""
        group_id = part.room.group.group_id
        read_seq = min(report.read_seq, part.room.head)
        if read_seq > part.read_seq:
            part.read_seq = read_seq
            self._cursors.note(session.user_id, group_id, read_seq)
        if not report.request_id:
            return
        session.requests += 1

        def on_counts(result: Sequence[UnreadCount] | ThrongError) -> None:
            if isinstance(result, ThrongError):
                self._fail(session, report, result)
                return
            session.requests -= 1
            self._replies.send(session, UnreadCounts(result), report.request_id)

        self._cursors.report_user(
            session.user_id, group_id, lambda: self._upstream.fetch_unread(session.user_id, [group_id], on_counts)
        )

    def list_groups(self, session: Session, asked: ListGroups) -> None:
        """Answers with all groups of the user and their counts, as far as those can be had."""
        groups: Sequence[EnteredGroup] | ThrongError = ()
        counts: Sequence[UnreadCount] | ThrongError = ()
        left = 2
        session.requests += 1

        def one_done() -> None:
            nonlocal left
            left -= 1
            if left:
                return
            if isinstance(groups, ThrongError):
                self._fail(session, asked, groups)
                return
            session.requests -= 1
            self._replies.send(session, _listed(groups, counts), asked.request_id)

        def on_groups(result: Sequence[EnteredGroup] | ThrongError) -> None:
            nonlocal groups
            groups = result
            one_done()

        def on_counts(result: Sequence[UnreadCount] | ThrongError) -> None:
            nonlocal counts
            counts = result
            one_done()

        self._upstream.list_groups(session.user_id, on_groups)
        self._cursors.report_user(session.user_id, None, lambda: self._upstream.fetch_unread(session.user_id, (), on_counts))

    # Deletions ------------------------------------------------------------------------------------------------------

    def delete_for_me(self, session: Session, asked: DeleteForMe, part: Part) -> None:
        """Deletes a message for its user, on all of the user's connections here that take part."""
        group_id = part.room.group.group_id
        if not part.room.exists(asked.seq):
            raise ThrongError(ErrorCode.MESSAGE_NOT_FOUND, "there is no message with this seq")
        session.requests += 1

        def on_deleted(error: ThrongError | None) -> None:
            if error is not None:
                self._fail(session, asked, error)
                return
            session.requests -= 1
            self._tell_deleted(session, group_id, asked)

        self._upstream.delete_for_user(session.user_id, group_id, asked.seq, on_deleted)

    def _tell_deleted(self, session: Session, group_id: GroupId, asked: DeleteForMe) -> None:
        event = GroupDeletedForMe(group_id, [asked.seq])
        self._replies.send(session, event, asked.request_id)
        for other in session.user.sessions:
            if other is not session and group_id in other.parts:
                self._replies.send(other, event)


def _listed(groups: Sequence[EnteredGroup], counts: Sequence[UnreadCount] | ThrongError) -> Groups:
    known = {} if isinstance(counts, ThrongError) else {count.group_id: count for count in counts}
    ordered = sorted(groups, key=lambda entry: entry.group.group_id)
    return Groups(
        [(entry, known.get(entry.group.group_id)) for entry in ordered], unread_unavailable=isinstance(counts, ThrongError)
    )


def _error_of(result: Sequence[int] | ThrongError) -> ThrongError:
    assert isinstance(result, ThrongError)
    return result


def _other_epoch() -> ThrongError:
    return ThrongError(ErrorCode.EPOCH_MISMATCH, "the position is of another epoch; enter the group again")
