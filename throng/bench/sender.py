"""A sender in one group: writes on schedule, keeps what has no answer, sends it again with the same id, and notes every answer."""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from throng.bench.findings import Finding, Findings, Kind
from throng.domain.errors import ErrorCode

ANSWER_TIMEOUT_NS = 10_000_000_000
MAX_QUEUE = 1_000
"""Messages without an answer per sender; above it what is due is skipped and counted."""

MAX_IN_FLIGHT = 128
_INTERVAL_MARGIN_NS = 20_000_000
"""Arrival times jitter, and a message that comes a moment early is refused."""

_UNKNOWN_OUTCOME = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.INTERNAL})
"""After these a message may be stored all the same, as far as anyone knows."""


def is_retried(code: ErrorCode) -> bool:
    """The same message may be taken a moment later."""
    return (code.retryable and code is not ErrorCode.MUTED) or code is ErrorCode.NOT_ENTERED


class State(enum.Enum):
    """Where a message stands."""

    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    ACKED = "acked"
    REFUSED = "refused"


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message of a sender.

    Attributes:
        number: which of this sender's messages.
        created_ns: when it was written.
        first, last: numbers of its first submission that may have been stored, and of its last one; 0: none.
        attempts: submissions since the last connection began, for the limit on retries.
        open_attempts: submissions that have no answer.
        uncertain: some submission may be stored although it was not ACKed.
        rejects: how many answers were refusals.
    """

    number: int
    client_msg_id: str
    text: str
    digest: int
    created_ns: int
    state: State = State.WAITING
    first: int = 0
    last: int = 0
    attempts: int = 0
    open_attempts: int = 0
    uncertain: bool = False
    rejects: int = 0
    sent_ns: int = 0
    not_before_ns: int = 0
    epoch: int = 0
    seq: int = 0
    code: int = 0


class Sender:
    """Pure: `write` adds a message, `due` gives what is to be sent now, answers come in by `on_ack` and `on_reject`."""

    __slots__ = (
        "_findings",
        "_jitter",
        "_known",
        "_next_number",
        "_queue",
        "_sent_ns",
        "_submissions",
        "acks_again",
        "group_id",
        "interval_ns",
        "max_attempts",
        "online",
        "refusals",
        "refused_without_time",
        "rejections",
        "resends",
        "skipped",
        "user_id",
    )

    def __init__(self, user_id: str, group_id: str, findings: Findings, *, max_attempts: int, jitter: Callable[[], float]) -> None:
        self.user_id = user_id
        self.group_id = group_id
        self.max_attempts = max_attempts
        self.interval_ns = 0
        self.online = False
        self.skipped = 0
        self.resends = 0
        self.acks_again = 0
        self.refused_without_time = 0
        self.rejections: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._findings = findings
        self._jitter = jitter
        self._known: dict[str, Outgoing] = {}
        self._queue: deque[Outgoing] = deque()
        self._next_number = 0
        self._submissions = 0
        self._sent_ns = -(1 << 62)

    @property
    def next_number(self) -> int:
        """Number of the next message."""
        return self._next_number

    @property
    def unanswered(self) -> int:
        """Messages without ACK or refusal."""
        return len(self._queue)

    @property
    def has_waiting(self) -> bool:
        """Something is to be sent, now or later."""
        return any(message.state is State.WAITING for message in self._queue)

    @property
    def full(self) -> bool:
        """No more may be written now."""
        return len(self._queue) >= MAX_QUEUE

    @property
    def messages(self) -> list[Outgoing]:
        """All that were ever written, in order."""
        return list(self._known.values())

    def write(self, client_msg_id: str, text: str, digest: int, now_ns: int) -> None:
        """Adds a message; the caller has looked at `full`."""
        message = Outgoing(self._next_number, client_msg_id, text, digest, now_ns)
        self._next_number += 1
        self._known[client_msg_id] = message
        self._queue.append(message)

    def due(self, now_ns: int) -> Outgoing | None:
        """The next message to send, already marked as sent; None: nothing may be sent now."""
        if not self.online:
            return None
        for place, message in enumerate(self._queue):
            if place >= MAX_IN_FLIGHT:
                return None
            if message.state is State.IN_FLIGHT:
                continue
            # What is held back holds back what was written after it, so that the order stays.
            if message.not_before_ns > now_ns or self._sent_ns + self._pace_ns > now_ns:
                return None
            return self._submit(message, now_ns)
        return None

    def on_ack(self, group_id: str, client_msg_id: str, epoch: int, seq: int, now_ns: int) -> Outgoing | None:
        """An ACK; returns the message when this is its first."""
        message = self._known.get(client_msg_id)
        if message is None or group_id != self.group_id:
            self._add(Kind.ACK_FOREIGN, seq, f"an ACK for {client_msg_id} in {group_id}, which this user never sent there")
            return None
        if message.last == 0:
            self._add(Kind.ACK_FOREIGN, seq, f"an ACK for {client_msg_id}, which was not sent yet")
            return None
        if message.state is State.ACKED:
            self._ack_again(message, epoch, seq)
            return None
        if message.open_attempts == 0 and message.rejects and not message.uncertain:
            self._add(Kind.ACK_AFTER_REJECT, seq, f"{client_msg_id} was refused each time it was sent, and ACKed afterwards")
        if message.state is State.REFUSED:
            self.refusals[ErrorCode(message.code).name] -= 1
        else:
            self._queue.remove(message)
        message.state, message.epoch, message.seq, message.text = State.ACKED, epoch, seq, ""
        message.open_attempts = max(0, message.open_attempts - 1)
        return message

    def on_reject(self, client_msg_id: str, code: ErrorCode, retry_after_ms: int, now_ns: int) -> Outgoing | None:
        """A refusal; returns the message when it is given up."""
        self.rejections[code.name] += 1
        if code.retryable and code is not ErrorCode.MUTED and not retry_after_ms:
            self.refused_without_time += 1
        message = self._known.get(client_msg_id)
        if message is None or message.state in (State.ACKED, State.REFUSED):
            return None
        message.rejects += 1
        message.code = int(code)
        message.open_attempts = max(0, message.open_attempts - 1)
        if code in _UNKNOWN_OUTCOME or message.open_attempts:
            message.uncertain = True
        return self._retry_or_give_up(message, code, retry_after_ms, now_ns)

    def on_online(self) -> None:
        """The group is entered; what has no answer is to be sent again, in order."""
        self.online = True

    def on_offline(self) -> None:
        """The connection is gone: whether what was under way is stored is not known."""
        self.online = False
        for message in self._queue:
            if message.state is State.IN_FLIGHT:
                message.state = State.WAITING
                message.uncertain = True
            message.attempts = 0
            message.not_before_ns = 0

    def tick(self, now_ns: int) -> list[Outgoing]:
        """Messages whose answer did not come in time are sent again or given up; returns those given up."""
        late = [
            message for message in self._queue if message.state is State.IN_FLIGHT and now_ns - message.sent_ns >= ANSWER_TIMEOUT_NS
        ]
        given_up = []
        for message in late:
            message.uncertain = True
            message.code = int(ErrorCode.DEADLINE_EXCEEDED)
            # Without an answer nobody may say that it failed: it is sent again for as long as the run lasts.
            message.attempts = 0
            if self._retry_or_give_up(message, ErrorCode.DEADLINE_EXCEEDED, 0, now_ns):
                given_up.append(message)
        return given_up

    def _submit(self, message: Outgoing, now_ns: int) -> Outgoing:
        self._submissions += 1
        if message.last:
            self.resends += 1
        if not message.uncertain or not message.first:
            message.first = self._submissions
        message.last = self._submissions
        message.attempts += 1
        message.open_attempts += 1
        message.state = State.IN_FLIGHT
        message.sent_ns = self._sent_ns = now_ns
        return message

    def _retry_or_give_up(self, message: Outgoing, code: ErrorCode, retry_after_ms: int, now_ns: int) -> Outgoing | None:
        if not is_retried(code) or message.attempts >= self.max_attempts:
            self._queue.remove(message)
            message.state, message.text = State.REFUSED, ""
            self.refusals[code.name] += 1
            return message
        backoff_ns = int(250_000_000 * 2**message.attempts * (0.5 + self._jitter()))
        message.state = State.WAITING
        message.not_before_ns = now_ns + max(retry_after_ms * 1_000_000, backoff_ns)
        return None

    def _ack_again(self, message: Outgoing, epoch: int, seq: int) -> None:
        if (epoch, seq) == (message.epoch, message.seq):
            self.acks_again += 1
            return
        text = f"{message.client_msg_id} was ACKed as {message.epoch}/{message.seq} and as {epoch}/{seq}"
        self._add(Kind.ACK_CHANGED, seq, text)

    @property
    def _pace_ns(self) -> int:
        return self.interval_ns + _INTERVAL_MARGIN_NS if self.interval_ns else 0

    def _add(self, kind: Kind, seq: int, text: str) -> None:
        self._findings.add(Finding(kind, self.group_id, seq, self.user_id, text))
