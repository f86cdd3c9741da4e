"""Sum over the groups of an edge: how many, and the XOR of the first 8 bytes (big endian) of SHA-256 of each group_id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from throng.domain.ids import GroupId


def group_hash(group_id: str) -> int:
    """What one group adds to the digest."""
    return int.from_bytes(hashlib.sha256(group_id.encode()).digest()[:8], "big")


class HeldGroups:
    """Groups of one edge with their connections; keeps the digest as they change."""

    def __init__(self, counts: Iterable[tuple[GroupId, int]] = ()) -> None:
        self._counts: dict[GroupId, int] = {}
        self.xor_hash = 0
        self.update(dict(counts))

    def update(self, counts: Mapping[GroupId, int]) -> None:
        """Sets connections; 0: the group is not held any more."""
        for group_id, connections in counts.items():
            if (group_id in self._counts) != (connections > 0):
                self.xor_hash ^= group_hash(group_id)
            if connections > 0:
                self._counts[group_id] = connections
            else:
                self._counts.pop(group_id, None)

    @property
    def group_count(self) -> int:
        """How many groups are held."""
        return len(self._counts)

    def matches(self, group_count: int, xor_hash: int) -> bool:
        """Tells whether a digest is that of these groups."""
        return group_count == len(self._counts) and xor_hash == self.xor_hash
