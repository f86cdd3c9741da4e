"""A submission as bytes (throng.uplink.v1.SubmittedMessage) and back, for every uplink that leaves the process."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from throng.adapters.protobuf_wire import bytes_tag, varint
from throng.api.common.v1 import message_pb2
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId, is_identifier
from throng.domain.message import Lane, MessageKind, Origin, Submission
from throng.ports.uplink import MAX_PACK

_BODY_TAG, _OTHERS_TAG = (bytes_tag(uplink_pb2.SubmittedMessage, name) for name in ("body", "others"))
_KINDS = {kind.name.lower(): kind for kind in MessageKind}


def to_record(submission: Submission) -> uplink_pb2.SubmittedMessage:
    """Makes the proto of a submission."""
    return uplink_pb2.SubmittedMessage(
        group_id=submission.group_id,
        user_id=submission.user_id,
        client_msg_id=submission.client_msg_id,
        origin=uplink_pb2.Origin(
            edge_id=submission.origin.edge_id,
            incarnation=submission.origin.incarnation,
            conn_id=submission.origin.conn_id,
            request_id=submission.origin.request_id,
        ),
        received_at_ms=submission.received_at_ms,
        lane=message_pb2.Lane.ValueType(submission.lane),
        unlimited=submission.unlimited,
        body=message_pb2.Message.FromString(submission.body),
    )


def from_record(record: uplink_pb2.SubmittedMessage) -> Submission:
    """Reads a submission.

    Raises:
        ThrongError: INVALID_ARGUMENT for a record that no edge of ours writes (a poison record).
    """
    body, origin = record.body, record.origin
    name = body.WhichOneof("content")
    ids = (record.group_id, record.user_id, origin.edge_id, origin.conn_id)
    # An answer to nobody would be a publication that no router takes, and would hold up all behind it.
    if name not in _KINDS or not all(map(is_identifier, ids)):
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the uplink record is not a submission")
    return Submission(
        group_id=GroupId(record.group_id),
        user_id=UserId(record.user_id),
        client_msg_id=record.client_msg_id,
        kind=_KINDS[name],
        body=body.SerializeToString(deterministic=True),
        origin=Origin(
            edge_id=EdgeId(origin.edge_id),
            incarnation=origin.incarnation,
            conn_id=ConnId(origin.conn_id),
            request_id=origin.request_id,
        ),
        received_at_ms=record.received_at_ms,
        target_seq=body.recall.target_seq if name == "recall" else 0,
        lane=Lane.HIGH if record.lane == message_pb2.LANE_HIGH else Lane.NORMAL,
        unlimited=record.unlimited,
    )


@functools.lru_cache(maxsize=16_384)
def _sender(group_id: GroupId, user_id: UserId, edge_id: EdgeId, incarnation: int, conn_id: ConnId) -> bytes:
    """What all submissions of one connection to one group have in common."""
    origin = uplink_pb2.Origin(edge_id=edge_id, incarnation=incarnation, conn_id=conn_id)
    return uplink_pb2.SubmittedMessage(group_id=group_id, user_id=user_id, origin=origin).SerializeToString()


def encode(submission: Submission) -> bytes:
    """Serializes a submission; its body is copied as it is, not parsed.

    The parts of an embedded message that is there twice are merged, so the origin's request_id stands apart from the rest of it.
    """
    origin, body = submission.origin, submission.body
    own = uplink_pb2.SubmittedMessage(
        client_msg_id=submission.client_msg_id,
        received_at_ms=submission.received_at_ms,
        lane=message_pb2.Lane.ValueType(submission.lane),
    )
    if origin.request_id:
        own.origin.request_id = origin.request_id
    if submission.unlimited:
        own.unlimited = True
    sender = _sender(submission.group_id, submission.user_id, origin.edge_id, origin.incarnation, origin.conn_id)
    return b"".join((sender, own.SerializeToString(), _BODY_TAG, varint(len(body)), body))


def join(encoded: Sequence[bytes]) -> bytes:
    """Makes one record of serialized submissions, none of which has `others`."""
    parts = [encoded[0]]
    for other in encoded[1:]:
        parts += (_OTHERS_TAG, varint(len(other)), other)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a record that is no submission of ours, and why."""

    value: bytes
    reason: str


def decode_all(data: bytes) -> list[Submission | Unreadable]:
    """Reads a record of the log: one submission or several, each by itself.

    Raises:
        ThrongError: INVALID_ARGUMENT for bytes that are no record, or hold more than MAX_PACK.
    """
    record = _parsed(data)
    if not record.others:
        return [from_record(record)]
    if len(record.others) >= MAX_PACK:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the uplink record holds too many submissions")
    return [_read(part) for part in (record, *record.others)]


def _read(part: uplink_pb2.SubmittedMessage) -> Submission | Unreadable:
    try:
        return from_record(part)
    except ThrongError as error:
        part.ClearField("others")
        return Unreadable(part.SerializeToString(), error.text)


def _parsed(data: bytes) -> uplink_pb2.SubmittedMessage:
    try:
        return uplink_pb2.SubmittedMessage.FromString(data)
    except DecodeError as error:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the uplink record cannot be parsed") from error


def decode(data: bytes) -> Submission:
    """Reads a serialized submission.

    Raises:
        ThrongError: INVALID_ARGUMENT for bytes that are no submission.
    """
    return from_record(_parsed(data))
