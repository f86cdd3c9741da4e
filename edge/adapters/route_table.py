"""What this edge holds, as it is reported to routers: counts, what changed since the last report, and the digest over all."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence

from throng.domain.ids import GroupId

SNAPSHOT_GROUPS = 10_000
"""Groups in one message of a snapshot."""


def group_hash(group_id: str) -> int:
    """The first 8 bytes, big endian, of SHA-256 of the group_id."""
    return int.from_bytes(hashlib.sha256(group_id.encode()).digest()[:8], "big")


class RouteTable:
    """Connections by group. One thread; the digest is kept up with every gain and loss and is never computed anew."""

    def __init__(self) -> None:
        self._counts: dict[GroupId, int] = {}
        self._changed: dict[GroupId, int] = {}
        self._gained: set[GroupId] = set()
        self.xor_hash = 0

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def changed(self) -> bool:
        """Something is to be reported."""
        return bool(self._changed)

    def update(self, changes: Sequence[tuple[GroupId, int]]) -> None:
        """Takes over counts; 0: the group is not held any more."""
        counts = self._counts
        for group_id, connections in changes:
            before = counts.get(group_id, 0)
            if connections == before:
                continue
            if connections == 0:
                del counts[group_id]
                self.xor_hash ^= group_hash(group_id)
                self._gained.discard(group_id)
            else:
                if before == 0:
                    self.xor_hash ^= group_hash(group_id)
                    self._gained.add(group_id)
                counts[group_id] = connections
            self._changed[group_id] = connections

    def take_changes(self) -> tuple[list[tuple[GroupId, int]], list[GroupId]]:
        """Returns at most 10,000 changes since the last report, and which of their groups were gained."""
        changed, self._changed = self._changed, {}
        taken = list(itertools.islice(changed.items(), SNAPSHOT_GROUPS))
        if len(taken) < len(changed):
            self._changed = dict(itertools.islice(changed.items(), SNAPSHOT_GROUPS, None))
        gained = [group_id for group_id, _ in taken if group_id in self._gained]
        self._gained.difference_update(gained)
        return taken, gained

    def snapshot(self) -> Iterator[tuple[list[tuple[GroupId, int]], bool]]:
        """Yields all routes in parts of at most 10,000, each with whether it is the last; nothing is left to be reported."""
        self._changed.clear()
        self._gained.clear()
        everything = list(self._counts.items())
        if not everything:
            yield [], True
        for start in range(0, len(everything), SNAPSHOT_GROUPS):
            yield everything[start : start + SNAPSHOT_GROUPS], start + SNAPSHOT_GROUPS >= len(everything)
