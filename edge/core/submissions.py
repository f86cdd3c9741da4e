"""Submissions of clients until their answer (hops 1, 2 and 7): checked, appended, ACKed or rejected, never silent."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import structlog

from edge.core.answer_watch import AnswerWatch
from edge.core.replies import Replies
from edge.core.requests import Recall, Send
from edge.core.responses import Ack, Reject
from edge.core.send_door import SendDoor
from edge.core.send_rules import check_send
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity, SessionSettings
from edge.core.users import KeptAck
from edge.ports import AckRow, AcksEvent, AnswerEvent, Upstream
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import ConnId, GroupId, check_client_msg_id, recall_msg_id
from throng.domain.message import Lane, MessageKind, Origin, Submission
from throng.ports.clock import Clock

_log = structlog.get_logger("throng.edge")
MAX_REPEATS = 16
"""Answers to one submission that may be asked for at once by sending it again; more are left unanswered by themselves."""


class InFlight:
    """A submission without an answer. `given_id`: the client_msg_id as the client wrote it."""

    __slots__ = ("body_hash", "deadline", "done", "given_id", "group_id", "kind", "request_ids", "session")

    def __init__(
        self, session: Session, group_id: GroupId, given_id: str, kind: MessageKind, body_hash: int, deadline: float
    ) -> None:
        self.session = session
        self.group_id = group_id
        self.given_id = given_id
        self.kind = kind
        self.body_hash = body_hash
        self.deadline = deadline
        self.done = False
        self.request_ids: list[int] = []


class Submissions:
    """Sends and recalls. Bounded per connection and in all; an answer that does not come in time is a DEADLINE_EXCEEDED."""

    def __init__(
        self,
        upstream: Upstream,
        replies: Replies,
        clock: Clock,
        settings: SessionSettings,
        counters: SessionCounters,
        identity: EdgeIdentity,
        door: SendDoor,
    ) -> None:
        self._door = door
        self._upstream = upstream
        self._replies = replies
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._identity = identity
        self.answers = AnswerWatch(clock, max_waiting=settings.max_in_flight_total, stall_seconds=settings.answer_stall_ms / 1000)
        self._waiting: deque[tuple[InFlight, str]] = deque()

    # From clients ---------------------------------------------------------------------------------------------------

    def send(self, session: Session, send: Send) -> None:
        """Submits a message, or rejects it."""
        try:
            self._send(session, send)
        except ThrongError as error:
            self._reject(session, send.request_id, send.group_id, send.client_msg_id, error)

    def recall(self, session: Session, recall: Recall, part: Part, body: bytes) -> None:
        """Submits the event that takes a message back; repeats of one user are one event (I2)."""
        group_id = part.room.group.group_id
        client_msg_id = recall_msg_id(group_id, session.user_id, recall.seq)
        try:
            if not part.room.exists(recall.seq):
                raise ThrongError(ErrorCode.MESSAGE_NOT_FOUND, "there is no message with this seq")
            if not self._join(session, recall.request_id, group_id, client_msg_id, hash(body)):
                self._check_room(session)
                entry = self._enlist(session, recall.request_id, group_id, client_msg_id, MessageKind.RECALL, hash(body))
                self._submit(entry, client_msg_id, body, recall.request_id, Lane.NORMAL, recall.seq)
        except ThrongError as error:
            self._reject(session, recall.request_id, group_id, client_msg_id, error)

    def refuse(self, session: Session, request_id: int, group_id: str, client_msg_id: str, error: ThrongError) -> None:
        """Rejects a submission for a reason found elsewhere."""
        self._reject(session, request_id, group_id, client_msg_id, error)

    def _send(self, session: Session, send: Send) -> None:
        client_msg_id = check_client_msg_id(send.client_msg_id)
        part = session.parts.get(GroupId(send.group_id))
        if part is None:
            raise ThrongError(ErrorCode.NOT_ENTERED, "enter the group first")
        check_send(send)
        assert send.kind is not None
        group_id = part.room.group.group_id
        body_hash = hash(send.body)
        if self._answer_again(session, send, part, client_msg_id, body_hash):
            return
        if self._join(session, send.request_id, group_id, client_msg_id, body_hash):
            return
        self._check_speaker(part)
        if send.reply_to_seq and not part.room.exists(send.reply_to_seq):
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "reply_to_seq is no message", fields={"field": "reply_to_seq"})
        self._door.check_interval(session, part, client_msg_id)
        self._check_room(session)
        lane = Lane.HIGH if part.role.moderates or send.mentions else Lane.NORMAL
        if not session.user.sent_last(group_id, client_msg_id):
            self._door.check_budget(part, lane)
        session.user.note_send(group_id, client_msg_id, self._clock.monotonic())
        entry = self._enlist(session, send.request_id, group_id, send.client_msg_id, send.kind, body_hash)
        self._submit(entry, client_msg_id, send.body, send.request_id, lane, 0)

    # Checks ---------------------------------------------------------------------------------------------------------

    def _answer_again(self, session: Session, send: Send, part: Part, client_msg_id: str, body_hash: int) -> bool:
        """Gives the ACK again that was given just now."""
        kept = session.user.kept_ack(client_msg_id)
        if kept is None or kept.epoch != part.room.epoch:
            return False
        if kept.body_hash != body_hash or kept.group_id != send.group_id:
            raise _reused()
        ack = Ack(kept.group_id, send.client_msg_id, kept.epoch, kept.seq, kept.sent_at_ms)
        self._replies.send(session, ack, send.request_id)
        return True

    def _join(self, session: Session, request_id: int, group_id: GroupId, client_msg_id: str, body_hash: int) -> bool:
        """Has a repeat of what is under way on this connection wait for the same answer."""
        entry = session.in_flight.get(client_msg_id) if session.in_flight else None
        if entry is None:
            return False
        if entry.body_hash != body_hash or entry.group_id != group_id:
            raise _reused()
        if len(entry.request_ids) < MAX_REPEATS and request_id not in entry.request_ids:
            entry.request_ids.append(request_id)
        return True

    def _check_speaker(self, part: Part) -> None:
        left_ms = part.muted_until_ms - self._clock.now_ms()
        if left_ms > 0:
            raise ThrongError(ErrorCode.MUTED, "you may not speak in this group now", retry_after_ms=left_ms)

    def _check_room(self, session: Session) -> None:
        if session.in_flight and len(session.in_flight) >= self._settings.max_in_flight:
            raise ThrongError(ErrorCode.RATE_LIMITED, "too many messages wait for their answer", retry_after_ms=1_000)
        self.answers.check()

    # Under way ------------------------------------------------------------------------------------------------------

    def _enlist(
        self, session: Session, request_id: int, group_id: GroupId, given_id: str, kind: MessageKind, body_hash: int
    ) -> InFlight:
        deadline = self._clock.monotonic() + self._settings.answer_timeout_ms / 1000
        entry = InFlight(session, group_id, given_id, kind, body_hash, deadline)
        entry.request_ids.append(request_id)
        client_msg_id = given_id.lower()
        if session.in_flight is None:
            session.in_flight = {}
        session.in_flight[client_msg_id] = entry
        self._waiting.append((entry, client_msg_id))
        self.answers.submitted()
        return entry

    def _submit(self, entry: InFlight, client_msg_id: str, body: bytes, request_id: int, lane: Lane, target_seq: int) -> None:
        session = entry.session
        submission = Submission(
            group_id=entry.group_id,
            user_id=session.user_id,
            client_msg_id=client_msg_id,
            kind=entry.kind,
            body=body,
            origin=Origin(self._identity.edge_id, self._identity.incarnation, session.conn_id, request_id),
            received_at_ms=self._clock.now_ms(),
            target_seq=target_seq,
            lane=lane,
        )
        self._counters.count(self._counters.submissions, "submitted")
        self._upstream.submit(submission, lambda error: self._on_appended(entry, client_msg_id, error))

    def _on_appended(self, entry: InFlight, client_msg_id: str, error: ThrongError | None) -> None:
        if error is not None and self._take(entry.session, client_msg_id) is entry:
            self._give_reject(entry, client_msg_id, error)

    def _take(self, session: Session, client_msg_id: str) -> InFlight | None:
        entry = session.in_flight.pop(client_msg_id, None) if session.in_flight else None
        if entry is not None:
            entry.done = True
            self.answers.answered()
            while self._waiting and self._waiting[0][0].done:
                self._waiting.popleft()
        return entry

    # Answers --------------------------------------------------------------------------------------------------------

    def on_answer(self, session: Session, event: AnswerEvent) -> None:
        """Passes on what came of a submission; also when it comes after its deadline."""
        entry = self._take(session, event.client_msg_id)
        if event.error is not None:
            error = self._door.spread(session.parts.get(event.group_id), event.error)
            if entry is not None:
                self._give_reject(entry, event.client_msg_id, error)
            else:
                self._reject(session, event.request_id, event.group_id, event.client_msg_id, error)
            return
        row = AckRow(event.conn_id, event.request_id, event.group_id, event.client_msg_id, event.epoch, event.seq, event.sent_at_ms)
        self._give_ack(session, entry, row)

    def on_acks(self, event: AcksEvent, sessions: Mapping[ConnId, Session]) -> None:
        """Passes on many ACKs; one that fails does not hold up the others."""
        for row in event.rows:
            session = sessions.get(row.conn_id)
            if session is None:
                continue
            try:
                self._give_ack(session, self._take(session, row.client_msg_id), row)
            except Exception:
                self._counters.events_failed += 1
                _log.exception("edge_event_failed", kind="AckRow")

    def _give_ack(self, session: Session, entry: InFlight | None, row: AckRow) -> None:
        self._counters.count(self._counters.submissions, "acked")
        _, request_id, group_id, client_msg_id, epoch, seq, sent_at_ms = row
        part = session.parts.get(group_id)
        if part is not None:
            part.room.note_ack(epoch, seq)
        if entry is None:
            self._replies.send(session, Ack(group_id, client_msg_id, epoch, seq, sent_at_ms), request_id)
            return
        submitted_at = entry.deadline - self._settings.answer_timeout_ms / 1000
        self._counters.ack_seconds.observe(self._clock.monotonic() - submitted_at)
        ack = Ack(group_id, entry.given_id, epoch, seq, sent_at_ms)
        for waiting_id in entry.request_ids:
            self._replies.send(session, ack, waiting_id)
        if entry.kind is not MessageKind.RECALL:
            session.user.keep_ack(client_msg_id, KeptAck(group_id, entry.body_hash, epoch, seq, sent_at_ms))

    def expire(self) -> None:
        """Rejects what was not answered in time."""
        now = self._clock.monotonic()
        waiting = self._waiting
        while waiting and (waiting[0][0].done or waiting[0][0].deadline <= now):
            entry, client_msg_id = waiting.popleft()
            if entry.done:
                continue
            entry.done = True
            self.answers.expired()
            in_flight = entry.session.in_flight
            if in_flight is None or in_flight.get(client_msg_id) is not entry:
                continue
            del in_flight[client_msg_id]
            text = "no answer came in time; whether it was stored is not known: send it again with the same id"
            self._give_reject(entry, client_msg_id, ThrongError(ErrorCode.DEADLINE_EXCEEDED, text), keep_interval=True)

    def _give_reject(self, entry: InFlight, client_msg_id: str, error: ThrongError, *, keep_interval: bool = False) -> None:
        if not keep_interval:
            entry.session.user.forget_send(entry.group_id, client_msg_id)
        for request_id in entry.request_ids:
            self._reject(entry.session, request_id, entry.group_id, entry.given_id, error)

    def _reject(self, session: Session, request_id: int, group_id: str, client_msg_id: str, error: ThrongError) -> None:
        self._counters.count(self._counters.submissions, error.code.name.lower())
        reject = Reject(group_id, client_msg_id, error.code, error.text, error.retry_after_ms)
        self._replies.send(session, reject, request_id)


def _reused() -> ThrongError:
    return ThrongError(ErrorCode.CLIENT_MSG_ID_REUSED, "this client_msg_id was used for another message; make a new one")
