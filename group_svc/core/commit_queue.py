"""Candidates that wait for the writer: groups take turns, HIGH before NORMAL, each user's own order kept, bounded (hop 4)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

from group_svc.core.pending import Pending
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane

TURN = 25
"""What a turn is worth: so many messages below 1 KiB, fewer of larger ones; what one takes too much, its next turns lack."""

_CREDIT_BYTES = 1_024


def cost_of(item: Pending) -> int:
    """What a candidate takes of its group's turn: 1, and 1 more for each full KiB of its body."""
    return 1 + len(item.candidate.submission.body) // _CREDIT_BYTES


class _Line:
    """What waits of one group. It exists only while something does."""

    __slots__ = ("credit", "group_id", "high", "hurried", "in_turn", "normal", "normal_users")

    def __init__(self, group_id: GroupId) -> None:
        self.group_id = group_id
        self.high: collections.deque[Pending] = collections.deque()
        self.normal: collections.deque[Pending] = collections.deque()
        self.normal_users: dict[UserId, int] = {}
        self.credit = 0
        self.in_turn = False
        self.hurried = False

    def __len__(self) -> int:
        return len(self.high) + len(self.normal)

    def place(self, item: Pending) -> bool:
        """Adds a candidate; True when it stands among the HIGH ones."""
        user_id = item.candidate.submission.user_id
        if item.candidate.lane is Lane.HIGH and item.candidate.refusal is None and user_id not in self.normal_users:
            self.high.append(item)
            return True
        self.normal.append(item)
        self.normal_users[user_id] = self.normal_users.get(user_id, 0) + 1
        return False

    def pop(self) -> Pending:
        """Takes the next one: HIGH first."""
        if self.high:
            return self.high.popleft()
        item = self.normal.popleft()
        user_id = item.candidate.submission.user_id
        left = self.normal_users[user_id] - 1
        if left:
            self.normal_users[user_id] = left
        else:
            del self.normal_users[user_id]
        return item

    def front(self) -> Pending:
        """What `pop` takes next."""
        return self.high[0] if self.high else self.normal[0]


class CommitQueue:
    """Any number of threads put, one takes. Overflow policy: `put` waits, which holds back lanes, consumer and uplink.

    Groups take turns (round robin with surplus): a batch is made of one turn of each group of which something waits, then of one
    more of each that still has some, and so on. A group that comes late stands behind those that wait now, however much waits of
    each: what a hot group has waiting delays a message of another by one turn of it, not by all of it. Before the turns come HIGH
    ones of all groups, a turn of each after the other, up to half of a batch; more of them wait for the turn of their group.

    Within a group HIGH comes before NORMAL. A HIGH candidate of a user who has one waiting in NORMAL in that group waits there too,
    so nobody overtakes themself (I4: seqs are compared within a group). Refused candidates are always NORMAL: a flood of them
    cannot hold up anyone else's messages.
    """

    def __init__(self, *, capacity: int = 4_000, turn: int = TURN) -> None:
        """Makes an empty queue of at most `capacity` candidates; a turn is worth `turn` credits, see `cost_of`."""
        self._capacity = capacity
        self._turn = turn
        # Two conditions on one lock: lanes that wait for room must not wake each other, or a full queue burns a core.
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._lines: dict[GroupId, _Line] = {}
        self._turns: collections.deque[_Line] = collections.deque()
        self._hurrying: collections.deque[_Line] = collections.deque()
        self._length = 0
        self._closed = False

    def __len__(self) -> int:
        return self._length

    @property
    def groups(self) -> int:
        """Groups of which something waits."""
        return len(self._lines)

    @property
    def room(self) -> int:
        """How many more fit; where one thread alone puts, it only grows until that puts again."""
        return self._capacity - self._length

    def wait_for_room(self, least: int, timeout_seconds: float) -> bool:
        """Waits until so many fit, at most so long; also ends, with False, when the queue is closed."""
        with self._lock:
            self._room.wait_for(lambda: self._closed or self.room >= least, max(timeout_seconds, 0.0))
            return self.room >= least and not self._closed

    def put(self, items: Sequence[Pending]) -> bool:
        """Adds items in order; waits for room. False when the queue was closed: what is left of `items` is not taken."""
        with self._lock:
            for item in items:
                while self._length >= self._capacity and not self._closed:
                    self._filled.notify()
                    self._room.wait(1.0)
                if self._closed:
                    return False
                self._place(item)
            self._filled.notify()
            return True

    def _place(self, item: Pending) -> None:
        group_id = item.candidate.submission.group_id
        line = self._lines.get(group_id)
        if line is None:
            line = self._lines[group_id] = _Line(group_id)
            self._turns.append(line)
        if line.place(item) and not line.hurried:
            line.hurried = True
            self._hurrying.append(line)
        self._length += 1

    def take(self, max_items: int, timeout_seconds: float) -> list[Pending]:
        """Takes what waits, at most so many, by turns; waits for the first one at most so long."""
        with self._lock:
            if not self._length and not self._closed:
                self._filled.wait(timeout_seconds)
            taken: list[Pending] = []
            self._take_hurrying(taken, max_items // 2)
            while self._turns and len(taken) < max_items:
                self._take_turn(taken, max_items)
            self._length -= len(taken)
            if taken:
                self._room.notify_all()
            return taken

    def _take_hurrying(self, taken: list[Pending], most: int) -> None:
        """HIGH ones of the groups that have some, one turn after the other; lines that turns have emptied are passed over."""
        while self._hurrying and len(taken) < most:
            line = self._hurrying.popleft()
            credit = self._turn
            while line.high and credit > 0 and len(taken) < most:
                credit -= cost_of(line.high[0])
                taken.append(line.pop())
            if line.high:
                self._hurrying.append(line)
            else:
                line.hurried = False

    def _take_turn(self, taken: list[Pending], max_items: int) -> None:
        """The turn of the group in front; one that the end of a batch cuts short goes on with the next batch."""
        line = self._turns[0]
        if not line.in_turn:
            line.in_turn = True
            line.credit += self._turn
        while line and line.credit > 0 and len(taken) < max_items:
            line.credit -= cost_of(line.front())
            taken.append(line.pop())
        if not line:
            self._turns.popleft()
            del self._lines[line.group_id]
        elif line.credit <= 0:
            line.in_turn = False
            self._turns.rotate(-1)

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
