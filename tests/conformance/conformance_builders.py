"""Messages, submissions and candidates for the conformance suites, with everything that a test does not name filled in."""

from __future__ import annotations

import uuid

from group_svc.ports import Candidate, Committed, Outcome, Refused
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Role
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import Lane, MessageKind, Origin, StoredMessage, Submission

ORIGIN = Origin(EdgeId("edge-1"), 7, ConnId("conn-1"), 3)


def text_body(text: str = "hello") -> bytes:
    """A body of kind TEXT."""
    return message_pb2.Message(text=message_pb2.Text(text=text)).SerializeToString(deterministic=True)


def recall_body(target_seq: int) -> bytes:
    """A body of kind RECALL."""
    return message_pb2.Message(recall=message_pb2.Recall(target_seq=target_seq)).SerializeToString(deterministic=True)


def submission(
    group: str = "g1", user: str = "ann", *, text: str = "hello", client_msg_id: str = "", kind: MessageKind = MessageKind.TEXT
) -> Submission:
    """A message that `user` sends, new unless `client_msg_id` is given."""
    return Submission(
        GroupId(group), UserId(user), client_msg_id or str(uuid.uuid4()), kind, text_body(text), ORIGIN, received_at_ms=1
    )


def recall(target_seq: int, group: str = "g1", user: str = "ann", *, client_msg_id: str = "") -> Submission:
    """A recall that `user` sends."""
    return Submission(
        GroupId(group),
        UserId(user),
        client_msg_id or str(uuid.uuid4()),
        MessageKind.RECALL,
        recall_body(target_seq),
        ORIGIN,
        received_at_ms=1,
        target_seq=target_seq,
    )


def candidate(
    of: Submission, *, refusal: ThrongError | None = None, role: Role = Role.MEMBER, lane: Lane = Lane.NORMAL
) -> Candidate:
    """A candidate whose sender is called like the user, capitalised."""
    return Candidate(of, refusal, of.user_id.capitalize(), lane, role)


def stored(seq: int, *, text: str = "", sender: str = "ann", recalled_by_seq: int = 0, target_seq: int = 0) -> StoredMessage:
    """A persisted message; a RECALL when `target_seq` is given, blank when `recalled_by_seq` is."""
    body = recall_body(target_seq) if target_seq else text_body(text or f"message {seq}")
    return StoredMessage(
        seq,
        UserId(sender),
        sender.capitalize(),
        str(uuid.UUID(int=seq)),
        MessageKind.RECALL if target_seq else MessageKind.TEXT,
        Lane.NORMAL,
        b"" if recalled_by_seq else body,
        1_700_000_000_000 + seq,
        recalled_by_seq,
    )


def seq_of(outcome: Outcome) -> int:
    """The seq of a Committed; fails for a Refused."""
    assert isinstance(outcome, Committed), outcome
    return outcome.position.seq


def code_of(outcome: Outcome) -> ErrorCode:
    """The code of a Refused; fails for a Committed."""
    assert isinstance(outcome, Refused), outcome
    return outcome.error.code
