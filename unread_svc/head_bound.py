"""Keeps reported cursors at or below the head of their group: a cursor only grows, so that a wrong one would stay (hop 8)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Mapping, Sequence

from throng.domain.ids import GroupId
from throng.ports.clock import Clock
from unread_svc.core.cursors import bound, highest_by_group
from unread_svc.ports import GroupDirectory, ReadCursor

_FRESH_SECONDS = 2.0
_MAX_GROUPS = 100_000


class HeadBound:
    """Heads of groups for 2 s, at most 100,000 of them; overflow policy: the oldest goes. Thread-safe."""

    def __init__(self, directory: GroupDirectory, *, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._heads: collections.OrderedDict[GroupId, tuple[int, float]] = collections.OrderedDict()

    def apply(self, cursors: Sequence[ReadCursor]) -> list[ReadCursor]:
        """Lowers cursors to the head, drops those of groups that do not exist.

        Raises:
            ThrongError: UNAVAILABLE, when heads are needed and group_svc is away.
        """
        wanted = highest_by_group(cursors)
        return bound(cursors, self._heads_of(wanted))

    def _heads_of(self, wanted: Mapping[GroupId, int]) -> dict[GroupId, int]:
        """A known head serves while it is fresh and high enough; group_svc is asked for all others in one call."""
        now = self._clock.monotonic()
        heads: dict[GroupId, int] = {}
        unknown: list[GroupId] = []
        with self._lock:
            for group_id, read_seq in wanted.items():
                head_seq, read_at = self._heads.get(group_id, (0, 0.0))
                if head_seq >= read_seq and now - read_at <= _FRESH_SECONDS:
                    heads[group_id] = head_seq
                else:
                    unknown.append(group_id)
        if unknown:
            positions = self._directory.heads(unknown)
            found = {group_id: head.seq for group_id, head in zip(unknown, positions, strict=True) if head is not None}
            heads |= found
            self._remember(found, now)
        return heads

    def _remember(self, found: Mapping[GroupId, int], now: float) -> None:
        with self._lock:
            for group_id, head_seq in found.items():
                self._heads[group_id] = (head_seq, now)
                self._heads.move_to_end(group_id)
            while len(self._heads) > _MAX_GROUPS:
                self._heads.popitem(last=False)
