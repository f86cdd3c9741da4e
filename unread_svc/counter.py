"""Unread counts of many pairs: cursors, then windows, then what group_svc says (hop 8, I7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position
from throng.ports.clock import Clock
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.core.counting import Gap, Unread, WindowCounts, capped, cursor_in_force, find_gap
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import (
    CountableQuery,
    CursorStore,
    GroupDirectory,
    Membership,
    UserInGroup,
    WindowView,
)
from unread_svc.rebuild import WindowRebuilder


@dataclass(frozen=True, slots=True)
class _Question:
    """One pair that has something to count: its place in the answer, and above which seq."""

    index: int
    user_id: UserId
    group_id: GroupId
    head: Position
    cursor: int


class UnreadCounter:
    """Counts exactly: where a window is not known to be complete, group_svc is asked. Thread-safe.

    Cost: one read of the membership, one of the cursors and one pipeline of windows per call, however many pairs; then one
    rebuild per group that needs it; then one call per pair that wrote much and read little.
    """

    def __init__(
        self,
        directory: GroupDirectory,
        cursors: CursorStore,
        window: BestEffortWindow,
        rebuilder: WindowRebuilder,
        metrics: UnreadMetrics,
        *,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._cursors = cursors
        self._window = window
        self._rebuilder = rebuilder
        self._metrics = metrics
        self._clock = clock

    def count_pairs(self, pairs: Sequence[UserInGroup]) -> list[Unread | None]:
        """The count per pair, in order; None: no such member.

        Raises:
            ThrongError: UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL, when cursors or group_svc cannot be read.
        """
        started = self._clock.monotonic()
        memberships = self._directory.memberships(pairs)
        present = [
            (pair.user_id, membership) for pair, membership in zip(pairs, memberships, strict=True) if membership is not None
        ]
        counts = iter(self._count(present, started))
        return [None if membership is None else next(counts) for membership in memberships]

    def count_all(self, user_id: UserId) -> list[tuple[GroupId, Unread]]:
        """The count in every group of the user, by group_id.

        Raises:
            ThrongError: as `count_pairs`, and LIMIT_EXCEEDED for a user of too many groups.
        """
        started = self._clock.monotonic()
        memberships = self._directory.memberships_of(user_id)
        counts = self._count([(user_id, membership) for membership in memberships], started)
        return [(membership.group_id, count) for membership, count in zip(memberships, counts, strict=True)]

    def _count(self, members: Sequence[tuple[UserId, Membership]], started: float) -> list[Unread]:
        read_seqs = self._cursors.read([UserInGroup(user_id, membership.group_id) for user_id, membership in members])
        counts: list[Unread] = []
        questions: list[_Question] = []
        for index, ((user_id, membership), read_seq) in enumerate(zip(members, read_seqs, strict=True)):
            cursor = cursor_in_force(read_seq=read_seq, joined_seq=membership.joined_seq)
            counts.append(Unread(0, False, cursor))
            if cursor < membership.head.seq:
                questions.append(_Question(index, user_id, membership.group_id, membership.head, cursor))
        rebuilt, fallback = self._answer(questions, counts)
        self._metrics.counted(
            all_read=len(members) - len(questions),
            window=len(questions) - rebuilt - fallback,
            rebuilt=rebuilt,
            fallback=fallback,
            seconds=self._clock.monotonic() - started,
        )
        return counts

    def _answer(self, questions: Sequence[_Question], counts: list[Unread]) -> tuple[int, int]:
        """Fills in `counts`; returns how many came from rebuilt windows and how many from group_svc."""
        if not questions:
            return 0, 0
        views = self._read_windows(questions)
        rebuilt_views = self._rebuild(questions, views)
        views |= rebuilt_views
        in_window = {group_id: WindowCounts(view) for group_id, view in views.items()}
        undecided: list[_Question] = []
        rebuilt = 0
        for question in questions:
            window = in_window.get(question.group_id)
            count = window.count(question.user_id, question.cursor) if window else None
            if count is None:
                undecided.append(question)
            else:
                counts[question.index] = count
                rebuilt += question.group_id in rebuilt_views
        self._ask(undecided, counts)
        return rebuilt, len(undecided)

    def _read_windows(self, questions: Sequence[_Question]) -> dict[GroupId, WindowView]:
        """Each group once, from the lowest cursor on; without Redis there are none, and rebuilds serve this call alone."""
        lowest: dict[GroupId, int] = {}
        for question in questions:
            lowest[question.group_id] = min(question.cursor, lowest.get(question.group_id, question.cursor))
        return self._window.read(lowest)

    def _rebuild(self, questions: Sequence[_Question], views: dict[GroupId, WindowView]) -> dict[GroupId, WindowView]:
        heads: dict[GroupId, Position] = {}
        gaps: dict[GroupId, Gap] = {}
        for question in questions:
            gap = find_gap(views.get(question.group_id), head=question.head, cursor=question.cursor)
            if gap is not None:
                gaps.setdefault(question.group_id, gap)
                known = heads.get(question.group_id, question.head)
                heads[question.group_id] = max(known, question.head, key=lambda head: (head.epoch, head.seq))
        for gap, number in Counter(gaps.values()).items():
            for _ in range(number):
                self._metrics.rebuilding(gap)
        return self._rebuilder.rebuild(heads) if heads else {}

    def _ask(self, questions: Sequence[_Question], counts: list[Unread]) -> None:
        """Asks group_svc for single users; a group that went away in between has nothing unread."""
        queries = [CountableQuery(question.group_id, question.cursor, question.user_id) for question in questions]
        pages = self._directory.countable(queries) if queries else []
        for question, page in zip(questions, pages, strict=True):
            if not isinstance(page, ThrongError):
                counts[question.index] = capped(len(page.entries), question.cursor)
            elif page.code is not ErrorCode.GROUP_NOT_FOUND:
                raise page
