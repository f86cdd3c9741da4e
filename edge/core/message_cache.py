"""The newest messages of one group on this edge: a range without holes, bounded by count and bytes (hop 8)."""

from __future__ import annotations

from collections.abc import Sequence

from throng.domain.limits import PAGE_DEFAULT


class CacheBudget:
    """Bounds of one group's cache and of all together; overflow policy: the oldest messages are dropped."""

    __slots__ = ("max_bytes", "max_messages", "max_total_bytes", "total_bytes")

    def __init__(self, *, max_messages: int, max_bytes: int, max_total_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.max_total_bytes = max_total_bytes
        self.total_bytes = 0


class MessageCache:
    """Messages with the seqs `floor` + 1 to `top`."""

    __slots__ = ("_budget", "_bytes", "_messages", "_skip", "floor")

    def __init__(self, budget: CacheBudget, floor: int) -> None:
        self._budget = budget
        self._messages: list[bytes] = []
        self._skip = 0
        self._bytes = 0
        self.floor = floor

    @property
    def top(self) -> int:
        """Seq of the newest message; `floor` when there is none."""
        return self.floor + len(self._messages) - self._skip

    @property
    def used_bytes(self) -> int:
        """Bytes of the messages held."""
        return self._bytes

    def between(self, after_seq: int, up_to_seq: int) -> list[bytes]:
        """The messages after one seq up to another; both must lie in `floor` to `top`."""
        start = self._skip - self.floor
        return self._messages[start + after_seq : start + up_to_seq]

    def append(self, messages: Sequence[bytes]) -> None:
        """Adds messages at the top."""
        self._messages.extend(messages)
        self._grow(sum(map(len, messages)))
        self._shrink()

    def prepend(self, messages: Sequence[bytes]) -> bool:
        """Adds messages whose last one is that at `floor`; False: there is no room for them."""
        size = sum(map(len, messages))
        budget = self._budget
        if (
            self.top - self.floor + len(messages) > budget.max_messages
            or self._bytes + size > budget.max_bytes
            or budget.total_bytes + size > budget.max_total_bytes
        ):
            return False
        self._messages[: self._skip] = messages
        self._skip = 0
        self.floor -= len(messages)
        self._grow(size)
        return True

    def replace(self, seq: int, message: bytes) -> None:
        """Puts another message in the place of a held one."""
        place = self._skip + seq - self.floor - 1
        self._grow(len(message) - len(self._messages[place]))
        self._messages[place] = message

    def reset(self, floor: int) -> None:
        """Drops everything."""
        self._grow(-self._bytes)
        self._messages = []
        self._skip = 0
        self.floor = floor

    def _grow(self, size: int) -> None:
        self._bytes += size
        self._budget.total_bytes += size

    def _shrink(self) -> None:
        budget = self._budget
        messages = self._messages
        while self._skip < len(messages):
            count = len(messages) - self._skip
            crowded = budget.total_bytes > budget.max_total_bytes and count > PAGE_DEFAULT
            if count <= budget.max_messages and self._bytes <= budget.max_bytes and not crowded:
                break
            self._grow(-len(messages[self._skip]))
            messages[self._skip] = b""
            self._skip += 1
            self.floor += 1
        if self._skip * 2 > len(messages):
            del messages[: self._skip]
            self._skip = 0
