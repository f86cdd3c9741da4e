"""The messages of groups: the cache of recent ones, the store behind it, and the care that the cache never lies (hops 4, 8)."""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from group_svc.metrics import GroupMetrics
from group_svc.ports import MembershipStore, MessageStore, Page, RecentMessages, RecentPut
from throng.domain import limits
from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId
from throng.domain.message import Position, StoredMessage
from throng.ports.clock import Clock

_log = structlog.get_logger("group.history")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 10.0
_MAX_GROUPS = 50_000
_FLOOR_SECONDS = 3.0
_MAX_RECALLS = 1_000


@dataclass(frozen=True, slots=True)
class _Floor:
    """The newest head that this process saw in the store, and when it last looked (seconds, monotonic)."""

    head: Position
    seen_at: float


class History:
    """Reads and refreshes. Any thread; `note_heads`, `note_committed` and `heal` from the finisher alone.

    The cache may be behind the store: after a crash between commit and put, after a put that failed, after a restart of Redis from
    an old file. So a group is read from the cache only once this process has seen its head in the store, never below the newest
    head that was seen, and not after a put of it failed until `heal` has mended it.
    Another process may have committed and failed to put, and end before it mends that: so a head that this process saw in the store
    3 s ago or longer is asked of the store again.
    A page is put back only if no recall was noted since it was read: a blanked body cannot come back.
    """

    def __init__(
        self, store: MessageStore, groups: MembershipStore, recent: RecentMessages, clock: Clock, metrics: GroupMetrics
    ) -> None:
        self._store = store
        self._groups = groups
        self._recent = recent
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._floors: collections.OrderedDict[GroupId, _Floor] = collections.OrderedDict()
        self._recalls_noted = 0
        self._broken: dict[GroupId, list[int]] = {}
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._paused_until = float("-inf")
        self._heal_not_before = float("-inf")
        self._others_answer = False

    def note_heads(self, heads: Mapping[GroupId, Position]) -> None:
        """Says what has just been persisted and is about to be put: until then the cache is behind, and reads go to the store."""
        with self._lock:
            for group_id, head in heads.items():
                if group_id in self._floors:
                    self._raise_floor(group_id, head)

    def note_committed(self, commits: Sequence[RecentPut]) -> None:
        """Puts what was just persisted, rising by seq within a group, in one call of the cache.

        A failure is counted and mended later; nothing is raised.
        """
        if any(commit.recalled for commit in commits):
            with self._lock:
                self._recalls_noted += 1
        paused = self._paused()
        puts: list[RecentPut] = []
        for commit in commits:
            if paused or commit.group_id in self._broken:
                self._break(commit.group_id, commit.recalled)
            else:
                puts += _as_runs(commit)
        if not puts:
            return
        outcomes = self._recent.put_many(puts)
        failed = {put.group_id: error for put, error in zip(puts, outcomes, strict=True) if error is not None}
        asked = {put.group_id for put in puts}
        for commit in commits:
            if commit.group_id in failed:
                self._break(commit.group_id, commit.recalled)
            elif commit.group_id in asked:
                self._put_succeeded(commit)
        self._others_answer = len(failed) < len(asked)
        if failed:
            self._put_failed(next(iter(failed.values())), puts=sum(error is not None for error in outcomes))
        else:
            self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _put_succeeded(self, commit: RecentPut) -> None:
        with self._lock:
            if commit.group_id in self._floors:
                self._raise_floor(commit.group_id, Position(commit.epoch, commit.messages[-1].seq))

    def _paused(self) -> bool:
        return self._clock.monotonic() < self._paused_until

    def _put_failed(self, error: ThrongError, *, puts: int = 1) -> None:
        """Mending waits; so does every use of the cache, unless a part of it is known to answer."""
        self._metrics.recent_put_failures.inc(puts)
        self._heal_not_before = self._clock.monotonic() + self._pause_seconds
        if not self._others_answer:
            self._paused_until = self._heal_not_before
        self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        _log.warning("recent_put_failed", code=error.code.name, puts=puts)

    def _break(self, group_id: GroupId, recalled: Sequence[int]) -> None:
        with self._lock:
            recalls = self._broken.setdefault(group_id, [])
            recalls += recalled
            del recalls[:-_MAX_RECALLS]
            self._floors.pop(group_id, None)
            if len(self._broken) > _MAX_GROUPS:
                del self._broken[next(iter(self._broken))]

    def heal(self) -> None:
        """Mends one group whose put failed, once the pause is over; called again and again by the finisher."""
        if not self._broken or self._paused() or self._clock.monotonic() < self._heal_not_before:
            return
        group_id = next(iter(self._broken))
        try:
            page = self._store.read_before(group_id, before_seq=0, limit=limits.PAGE_MAX)
            if page.messages:
                self._recent.put(group_id, page.epoch, page.messages, [*self._broken[group_id], *_recalled(page)])
            with self._lock:
                del self._broken[group_id]
        except ThrongError as error:
            # The next one may lie in a part of the cache that answers.
            with self._lock:
                self._broken[group_id] = self._broken.pop(group_id)
            self._put_failed(error)

    @property
    def broken_groups(self) -> int:
        """Groups whose cache waits to be mended."""
        return len(self._broken)

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page:
        """As `MessageStore.read_after`."""
        page = self._from_recent(
            group_id, lambda: self._recent.read_after(group_id, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        )
        if page is not None:
            return page
        noted = self._recalls_noted
        page = self._store.read_after(group_id, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        self._refill(group_id, page, noted)
        return page

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page:
        """As `MessageStore.read_before`."""
        page = self._from_recent(group_id, lambda: self._recent.read_before(group_id, before_seq=before_seq, limit=limit))
        if page is not None:
            return page
        noted = self._recalls_noted
        page = self._store.read_before(group_id, before_seq=before_seq, limit=limit)
        self._refill(group_id, page, noted)
        return page

    def _from_recent(self, group_id: GroupId, read: Callable[[], Page | None]) -> Page | None:
        seen = self._floors.get(group_id)
        floor = None if seen is None else seen.head
        if floor is None or self._paused():
            self._metrics.recent_misses.inc()
            return None
        try:
            page = read()
        except ThrongError:
            self._metrics.recent_errors.inc()
            return None
        if page is not None and (page.epoch, page.head_seq) < (floor.epoch, floor.seq):
            page = None
        (self._metrics.recent_misses if page is None else self._metrics.recent_hits).inc()
        return page

    def _refill(self, group_id: GroupId, page: Page, noted: int) -> None:
        """Puts a page back that reaches the head; an older one would only push newer ones out."""
        if not page.messages or page.messages[-1].seq != page.head_seq:
            self._see_heads([(group_id, Position(page.epoch, page.head_seq))])
            return
        with self._lock:
            if noted != self._recalls_noted or group_id in self._broken or self._paused():
                return
            try:
                self._recent.put(group_id, page.epoch, page.messages, _recalled(page))
            except ThrongError:
                self._metrics.recent_errors.inc()
                return
            self._raise_floor(group_id, Position(page.epoch, page.head_seq))

    def _raise_floor(self, group_id: GroupId, head: Position) -> None:
        seen = self._floors.pop(group_id, None)
        known = head if seen is None else seen.head
        newest = known if (known.epoch, known.seq) > (head.epoch, head.seq) else head
        self._floors[group_id] = _Floor(newest, self._clock.monotonic())
        if len(self._floors) > _MAX_GROUPS:
            self._floors.popitem(last=False)

    def _see_heads(self, heads: Sequence[tuple[GroupId, Position]]) -> None:
        if self._paused():
            return
        try:
            self._recent.put_heads(heads)
        except ThrongError:
            self._metrics.recent_errors.inc()
            return
        with self._lock:
            for group_id, head in heads:
                if group_id not in self._broken:
                    self._raise_floor(group_id, head)

    def heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """Head per group, in order; None: no such group. At most one cache call and one store call."""
        found = self._known_heads(group_ids)
        self._metrics.recent_hits.inc(len(found))
        missing = [group_id for group_id in dict.fromkeys(group_ids) if group_id not in found]
        if missing:
            self._metrics.recent_misses.inc(len(missing))
            stored = self._groups.get_heads(missing)
            fresh = [(group_id, head) for group_id, head in zip(missing, stored, strict=True) if head is not None]
            found.update(fresh)
            if fresh:
                self._see_heads(fresh)
        return [found.get(group_id) for group_id in group_ids]

    def _known_heads(self, group_ids: Sequence[GroupId]) -> dict[GroupId, Position]:
        oldest = self._clock.monotonic() - _FLOOR_SECONDS
        floors: dict[GroupId, Position | None] = {}
        for group_id in group_ids:
            seen = self._floors.get(group_id)
            floors[group_id] = seen.head if seen is not None and seen.seen_at > oldest else None
        asked = [group_id for group_id, floor in floors.items() if floor is not None]
        if not asked or self._paused():
            return {}
        try:
            heads = self._recent.get_heads(asked)
        except ThrongError:
            self._metrics.recent_errors.inc()
            return {}
        found: dict[GroupId, Position] = {}
        for group_id, head in zip(asked, heads, strict=True):
            floor = floors[group_id]
            if head is not None and floor is not None and (head.epoch, head.seq) >= (floor.epoch, floor.seq):
                found[group_id] = head
        return found


def _as_runs(commit: RecentPut) -> list[RecentPut]:
    """One put per run of consecutive messages; the recalls go with the last."""
    runs: list[Sequence[StoredMessage]] = []
    for _, numbered in itertools.groupby(enumerate(commit.messages), key=lambda pair: pair[1].seq - pair[0]):
        runs.append([message for _, message in numbered])
    return [RecentPut(commit.group_id, commit.epoch, run, commit.recalled if run is runs[-1] else ()) for run in runs]


def _recalled(page: Page) -> list[int]:
    return [message.seq for message in page.messages if message.recalled_by_seq]
