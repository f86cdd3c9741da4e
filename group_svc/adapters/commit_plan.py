"""What one transaction of `MessageStore.commit` writes, decided without I/O, the same for every SQL adapter (hop 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from group_svc.ports import Candidate, Committed, Outcome, Refused
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Position, StoredMessage, Submission

MessageKey = tuple[GroupId, int]
SubmissionKey = tuple[UserId, str]
LoadMessage = Callable[[GroupId, int], StoredMessage | None]

_NOT_RECALLABLE = (MessageKind.RECALL, MessageKind.SYSTEM)


def submission_key(submission: Submission) -> SubmissionKey:
    """The pair that is unique for ever (I2)."""
    return (submission.user_id, submission.client_msg_id)


class CommitPlan:
    """Numbers candidates under the locks that the adapter holds on their groups.

    Attributes:
        new_messages: rows to insert, by key, in commit order.
        blanked: rows that exist and lose their body: key -> seq of the recall event.
        heads: groups whose head moves, with the new head.
    """

    def __init__(
        self,
        *,
        heads: Mapping[GroupId, Position],
        persisted: Mapping[SubmissionKey, tuple[GroupId, StoredMessage]],
        load_message: LoadMessage,
        now_ms: int,
    ) -> None:
        """Takes what the transaction has read.

        Args:
            heads: the groups of the candidates that exist.
            persisted: messages with the keys of the candidates that are stored already.
            load_message: reads one message inside the transaction; for recalls only.
            now_ms: `sent_at_ms` of new messages.
        """
        self._positions = heads
        self._known: dict[SubmissionKey, MessageKey] = {}
        self._stored: dict[MessageKey, StoredMessage] = {}
        for key, (group_id, message) in persisted.items():
            self._known[key] = (group_id, message.seq)
            self._stored[group_id, message.seq] = message
        self._load_message = load_message
        self._now_ms = now_ms
        self._recalls: dict[MessageKey, int] = {}
        self.new_messages: dict[MessageKey, StoredMessage] = {}
        self.blanked: dict[MessageKey, int] = {}
        self.heads: dict[GroupId, int] = {}

    def run(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        """Decides all candidates; call it once. Messages in outcomes are as they stand at the end of the transaction."""
        decided: list[tuple[MessageKey, bool] | Refused] = []
        for candidate in candidates:
            try:
                decided.append(self._decide(candidate))
            except ThrongError as error:
                decided.append(Refused(error))
        return [entry if isinstance(entry, Refused) else self._committed(*entry) for entry in decided]

    def _committed(self, key: MessageKey, repeated: bool) -> Committed:
        message = self._find(key)
        assert message is not None
        epoch = self._positions[key[0]].epoch
        return Committed(Position(epoch, key[1]), message, repeated, self._recalls.get(key, 0))

    def _find(self, key: MessageKey) -> StoredMessage | None:
        message = self.new_messages.get(key) or self._stored.get(key)
        if message is None:
            message = self._load_message(*key)
            if message is not None:
                self._stored[key] = message
        return message

    def _decide(self, candidate: Candidate) -> tuple[MessageKey, bool]:
        submission = candidate.submission
        known = self._known.get(submission_key(submission))
        if known is not None:
            self._check_same(submission, known)
            return known, True
        if candidate.refusal is not None:
            raise candidate.refusal
        if submission.group_id not in self._positions:
            raise ThrongError(ErrorCode.GROUP_NOT_FOUND, "there is no such group", fields={"group_id": submission.group_id})
        if submission.kind is MessageKind.RECALL:
            return self._recall(candidate)
        return self._append(candidate), False

    def _check_same(self, submission: Submission, known: MessageKey) -> None:
        stored = self._find(known)
        assert stored is not None
        same = known[0] == submission.group_id and stored.kind is submission.kind
        if not same or (not stored.recalled_by_seq and stored.body != submission.body):
            raise ThrongError(
                ErrorCode.CLIENT_MSG_ID_REUSED,
                "this client_msg_id was used for another message",
                fields={"client_msg_id": submission.client_msg_id},
            )
        if submission.kind is MessageKind.RECALL:
            self._recalls[known] = submission.target_seq

    def _append(self, candidate: Candidate) -> MessageKey:
        submission = candidate.submission
        group_id = submission.group_id
        seq = self.heads.get(group_id, self._positions[group_id].seq) + 1
        key = (group_id, seq)
        self.heads[group_id] = seq
        self._known[submission_key(submission)] = key
        self.new_messages[key] = StoredMessage(
            seq,
            submission.user_id,
            candidate.sender_name,
            submission.client_msg_id,
            submission.kind,
            candidate.lane,
            submission.body,
            self._now_ms,
        )
        return key

    def _recall(self, candidate: Candidate) -> tuple[MessageKey, bool]:
        submission = candidate.submission
        target_key = (submission.group_id, submission.target_seq)
        target = self._find(target_key)
        if target is None or target.kind in _NOT_RECALLABLE:
            raise ThrongError(
                ErrorCode.MESSAGE_NOT_FOUND,
                "there is no such message to take back",
                fields={"group_id": submission.group_id, "seq": str(submission.target_seq)},
            )
        if target.sender_id != submission.user_id and not candidate.sender_role.moderates:
            raise ThrongError(ErrorCode.PERMISSION_DENIED, "only its sender or a moderator may take a message back")
        if target.recalled_by_seq:
            event_key = (submission.group_id, target.recalled_by_seq)
            self._recalls[event_key] = target.seq
            return event_key, True
        event_key = self._append(candidate)
        self._blank(target_key, target, event_key[1])
        self._recalls[event_key] = target.seq
        return event_key, False

    def _blank(self, key: MessageKey, target: StoredMessage, event_seq: int) -> None:
        blank = dataclasses.replace(target, body=b"", recalled_by_seq=event_seq)
        if key in self.new_messages:
            self.new_messages[key] = blank
        else:
            self._stored[key] = blank
            self.blanked[key] = event_seq
