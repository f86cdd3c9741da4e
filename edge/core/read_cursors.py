"""How far users have read: noted here, reported in batches (hop 8)."""

from __future__ import annotations

from collections.abc import Callable

from edge.core.session_counters import SessionCounters
from edge.ports import ReadCursor, Upstream
from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import CHANGES_MAX

MAX_CURSORS = 200_000
"""Cursors that wait; overflow policy: new ones are dropped and counted, for the next report of that user brings them again."""


class ReadCursors:
    """Cursors that only grow. One is kept until a report of it was answered, so that a failed report is repeated."""

    def __init__(self, upstream: Upstream, counters: SessionCounters) -> None:
        self._upstream = upstream
        self._counters = counters
        self._waiting: dict[UserId, dict[GroupId, int]] = {}
        self._count = 0
        self._under_way = 0

    def __len__(self) -> int:
        """Cursors that wait."""
        return self._count

    def note(self, user_id: UserId, group_id: GroupId, read_seq: int) -> None:
        """Notes a cursor; one that is behind changes nothing."""
        groups = self._waiting.get(user_id)
        held = groups.get(group_id) if groups else None
        if held is None:
            if self._count >= MAX_CURSORS:
                self._counters.cursor_overflows += 1
                return
            if groups is None:
                groups = self._waiting[user_id] = {}
            self._count += 1
            groups[group_id] = read_seq
        elif held < read_seq and groups is not None:
            groups[group_id] = read_seq

    def report_due(self) -> None:
        """Reports everything that waits, unless an earlier report is still under way."""
        if not self._under_way:
            self.report_all(lambda: None)

    def report_all(self, then: Callable[[], None]) -> None:
        """Reports everything that waits; `then` is called when all of it was answered or failed."""
        cursors = [
            ReadCursor(user_id, group_id, read_seq)
            for user_id, groups in self._waiting.items()
            for group_id, read_seq in groups.items()
        ]
        batches = [cursors[start : start + CHANGES_MAX] for start in range(0, len(cursors), CHANGES_MAX)]
        left = len(batches)
        if not left:
            then()

        def one_done(error: ThrongError | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                then()

        for batch in batches:
            self._report(batch, one_done)

    def report_user(self, user_id: UserId, group_id: GroupId | None, then: Callable[[], None]) -> None:
        """Reports what waits of one user (of one group, or of all) before the counts are asked for."""
        groups = self._waiting.get(user_id, {})
        cursors = [
            ReadCursor(user_id, group, read_seq) for group, read_seq in groups.items() if group_id is None or group == group_id
        ]
        if not cursors:
            then()
            return
        self._report(cursors[:CHANGES_MAX], lambda error: then())

    def _report(self, cursors: list[ReadCursor], done: Callable[[ThrongError | None], None]) -> None:
        self._under_way += 1

        def answered(error: ThrongError | None) -> None:
            self._under_way -= 1
            if error is None:
                self._counters.cursors_reported += len(cursors)
                for cursor in cursors:
                    self._forget(cursor)
            done(error)

        self._upstream.report_cursors(cursors, answered)

    def _forget(self, cursor: ReadCursor) -> None:
        groups = self._waiting.get(cursor.user_id)
        if groups is not None and groups.get(cursor.group_id) == cursor.read_seq:
            del groups[cursor.group_id]
            self._count -= 1
            if not groups:
                del self._waiting[cursor.user_id]
