"""Candidates that wait for the writer: HIGH before NORMAL, each user's own order kept, bounded (hop 4)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

from group_svc.core.pending import Pending
from throng.domain.ids import UserId
from throng.domain.message import Lane


class CommitQueue:
    """Any number of threads put, one takes. Overflow policy: `put` waits, which holds back lanes, consumer and uplink.

    A HIGH candidate of a user who has one waiting in NORMAL waits there too, so nobody overtakes themself (I4). Refused candidates
    are always NORMAL: a flood of them cannot hold up anyone else's messages.
    """

    def __init__(self, *, capacity: int = 2_000) -> None:
        self._capacity = capacity
        # Two conditions on one lock: lanes that wait for room must not wake each other, or a full queue burns a core.
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._high: collections.deque[Pending] = collections.deque()
        self._normal: collections.deque[Pending] = collections.deque()
        self._normal_users: collections.Counter[UserId] = collections.Counter()
        self._closed = False

    def __len__(self) -> int:
        return len(self._high) + len(self._normal)

    def put(self, items: Sequence[Pending]) -> bool:
        """Adds items in order; waits for room. False when the queue was closed: what is left of `items` is not taken."""
        with self._lock:
            for item in items:
                while len(self) >= self._capacity and not self._closed:
                    self._filled.notify()
                    self._room.wait(1.0)
                if self._closed:
                    return False
                self._place(item)
            self._filled.notify()
            return True

    def _place(self, item: Pending) -> None:
        user_id = item.candidate.submission.user_id
        if item.candidate.lane is Lane.HIGH and item.candidate.refusal is None and user_id not in self._normal_users:
            self._high.append(item)
        else:
            self._normal.append(item)
            self._normal_users[user_id] += 1

    def take(self, max_items: int, timeout_seconds: float) -> list[Pending]:
        """Takes what waits, at most so many; waits for the first one at most so long."""
        with self._lock:
            if not self._high and not self._normal and not self._closed:
                self._filled.wait(timeout_seconds)
            taken: list[Pending] = []
            while self._high and len(taken) < max_items:
                taken.append(self._high.popleft())
            while self._normal and len(taken) < max_items:
                item = self._normal.popleft()
                user_id = item.candidate.submission.user_id
                self._normal_users[user_id] -= 1
                if not self._normal_users[user_id]:
                    del self._normal_users[user_id]
                taken.append(item)
            if taken:
                self._room.notify_all()
            return taken

    def close(self) -> None:
        """Ends every wait; nothing is put any more, what is in can still be taken. Idempotent."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()
            self._room.notify_all()

    @property
    def closed(self) -> bool:
        """`close` was called."""
        return self._closed
