"""The road of internal programs: append to the uplink, wait for the answer (hops 2 to 5)."""

from __future__ import annotations

import threading

from group_svc.ports import AnswerPublication, AnswerWaiters
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Origin, Position, Submission
from throng.ports.clock import Clock
from throng.ports.uplink import AppendDone, UplinkProducer


class SharedProducer:
    """An `UplinkProducer` for many threads: appends go one at a time, each caller's in its order."""

    def __init__(self, producer: UplinkProducer) -> None:
        self._producer = producer
        self._lock = threading.Lock()

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record."""
        with self._lock:
            self._producer.append(submission, done)

    def close(self, deadline_seconds: float) -> None:
        """Flushes and closes the log for writing."""
        self._producer.close(deadline_seconds)


class Submitter:
    """Waits for answers. Any thread; bounded by `max_waiting` calls, overflow policy: refuse with UNAVAILABLE."""

    def __init__(self, producer: UplinkProducer, waiters: AnswerWaiters, clock: Clock, *, max_waiting: int = 32) -> None:
        self._producer = producer
        self._waiters = waiters
        self._clock = clock
        self._room = threading.BoundedSemaphore(max_waiting)

    def submit(
        self,
        *,
        group_id: GroupId,
        user_id: UserId,
        client_msg_id: str,
        kind: MessageKind,
        body: bytes,
        target_seq: int,
        unlimited: bool,
        timeout_seconds: float,
    ) -> tuple[Position, int]:
        """Submits and waits; returns where the message stands and when it was accepted.

        Raises:
            ThrongError: the refusal; UNAVAILABLE when the uplink is full; DEADLINE_EXCEEDED when it is not known in time.
        """
        if not self._room.acquire(blocking=False):
            raise unavailable("too many calls wait for their messages", retry_after_ms=200)
        try:
            call = _Call()
            origin = self._waiters.register(call.answered)
            try:
                submission = Submission(
                    group_id=group_id,
                    user_id=user_id,
                    client_msg_id=client_msg_id,
                    kind=kind,
                    body=body,
                    origin=origin,
                    received_at_ms=self._clock.now_ms(),
                    target_seq=target_seq,
                    unlimited=unlimited,
                )
                self._producer.append(submission, lambda error: call.appended(origin, error))
                return call.wait(timeout_seconds)
            finally:
                self._waiters.forget(origin)
        finally:
            self._room.release()


class _Call:
    """One caller and what came for it first: the answer, or the failure of the append."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer: AnswerPublication | None = None

    def answered(self, answer: AnswerPublication) -> None:
        self._answer = answer
        self._done.set()

    def appended(self, origin: Origin, error: ThrongError | None) -> None:
        if error is not None:
            self.answered(AnswerPublication(origin, GroupId(""), "", None, error=error))

    def wait(self, timeout_seconds: float) -> tuple[Position, int]:
        self._done.wait(max(timeout_seconds, 0.0))
        answer = self._answer
        if answer is None:
            raise ThrongError(
                ErrorCode.DEADLINE_EXCEEDED, "Whether the message was stored is not known yet; send it again with the same id."
            )
        if answer.position is None:
            raise answer.error or ThrongError(ErrorCode.INTERNAL, "the message was refused without a reason")
        return answer.position, answer.sent_at_ms
