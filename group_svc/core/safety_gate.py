"""Holds messages until the safety hook has decided, each user's alone, before they wait for the writer (hop 3)."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from group_svc.core.commit_queue import CommitQueue
from group_svc.core.pending import Pending
from group_svc.ports import SafetyHook, SafetyVerdict
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import UserId
from throng.domain.message import Lane, MessageKind

_ASKED = frozenset({MessageKind.TEXT, MessageKind.IMAGE, MessageKind.CUSTOM})
_WAIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class SafetyPolicy:
    """How the hook is used.

    Attributes:
        fail_open: a message about which nothing was decided is let through; otherwise it is refused with UNAVAILABLE.
        max_calls: calls at a time.
        capacity: messages held at most, asked about or behind one of the same user.
    """

    fail_open: bool = True
    max_calls: int = 64
    capacity: int = 1_000


@dataclass(slots=True, eq=False)
class _Held:
    pending: Pending
    decided: bool = False


class SafetyGate:
    """Stands before the commit queue and looks like it. Any number of threads put; verdicts come on threads of the hook.

    No thread waits for a verdict: a slow one holds up the messages of its user, in all groups, and nobody else's (I4). Each message
    that is held has its place in the commit queue kept free, so a verdict never waits for room there. Overflow policy: `put` waits,
    `room` is 0, which holds back the reading of the uplink.
    """

    def __init__(self, committing: CommitQueue, hook: SafetyHook, policy: SafetyPolicy | None = None) -> None:
        self._committing = committing
        self._hook = hook
        self._policy = policy or SafetyPolicy()
        self._changed = threading.Condition()
        self._lines: dict[UserId, collections.deque[_Held]] = {}
        self._unasked: collections.deque[_Held] = collections.deque()
        self._held = 0
        self._calls = 0
        self._asking = False

    def __len__(self) -> int:
        """Messages that are held."""
        return self._held

    @property
    def room(self) -> int:
        """How many more fit, here and in the commit queue."""
        return max(min(self._policy.capacity, self._committing.room) - self._held, 0)

    def wait_for_room(self, least: int, timeout_seconds: float) -> bool:
        """Waits until so many fit, at most so long; also ends, with False, when the commit queue is closed."""
        with self._changed:
            if self._policy.capacity - self._held < least:
                self._changed.wait_for(lambda: self._policy.capacity - self._held >= least, max(timeout_seconds, 0.0))
                return self.room >= least
            least += self._held
        return self._committing.wait_for_room(least, timeout_seconds)

    def put(self, items: Sequence[Pending]) -> bool:
        """Adds items in order; waits for room. False when the commit queue was closed: what is left of `items` is not taken."""
        for item in items:
            while not self.room and not self._committing.closed:
                self.wait_for_room(1, _WAIT_SECONDS)
            if self._committing.closed:
                return False
            self._place(item)
        self._ask_more()
        return True

    def _place(self, item: Pending) -> None:
        candidate = item.candidate
        user_id = candidate.submission.user_id
        asked = candidate.refusal is None and candidate.submission.kind in _ASKED
        with self._changed:
            line = self._lines.get(user_id)
            if line is None and not asked:
                self._committing.put([item])
                return
            held = _Held(item, decided=not asked)
            self._lines.setdefault(user_id, collections.deque()).append(held)
            self._held += 1
            if asked:
                self._unasked.append(held)

    def _ask_more(self) -> None:
        """Makes calls while there are some to make. One thread at a time: with a hook that decides at once this would call itself
        without end."""
        while True:
            with self._changed:
                if self._asking or not self._unasked or self._calls >= self._policy.max_calls:
                    return
                self._asking = True
                self._calls += 1
                held = self._unasked.popleft()
            try:
                self._hook.ask(held.pending.candidate.submission, functools.partial(self._decided, held))
            finally:
                with self._changed:
                    self._asking = False

    def _decided(self, held: _Held, verdict: SafetyVerdict) -> None:
        with self._changed:
            held.decided = True
            held.pending = self._judged(held.pending, verdict)
            self._calls -= 1
            self._release(held.pending.candidate.submission.user_id)
        self._ask_more()

    def _release(self, user_id: UserId) -> None:
        """Hands on what stands decided at the front of a user's line."""
        line = self._lines[user_id]
        ready: list[Pending] = []
        while line and line[0].decided:
            ready.append(line.popleft().pending)
        if not line:
            del self._lines[user_id]
        if ready:
            self._held -= len(ready)
            self._committing.put(ready)
            self._changed.notify_all()

    def _judged(self, pending: Pending, verdict: SafetyVerdict) -> Pending:
        if verdict is SafetyVerdict.BLOCKED:
            refusal = ThrongError(ErrorCode.BLOCKED_CONTENT, "The message holds something that is not allowed here.")
        elif verdict is SafetyVerdict.UNDECIDED and not self._policy.fail_open:
            refusal = unavailable("The message could not be checked just now; try again in a moment.")
        else:
            return pending
        candidate = dataclasses.replace(pending.candidate, refusal=refusal, lane=Lane.NORMAL)
        return dataclasses.replace(pending, candidate=candidate)

    def finish(self, timeout_seconds: float) -> bool:
        """Waits until nothing is held, at most so long; what is left then is not answered, and comes again from the log."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, max(deadline - time.monotonic(), 0.0))
