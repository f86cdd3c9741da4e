"""A submission as bytes (throng.uplink.v1.SubmittedMessage) and back, for every uplink that leaves the process."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from throng.api.common.v1 import message_pb2
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId, is_identifier
from throng.domain.message import Lane, MessageKind, Origin, Submission

_KINDS = {kind.name.lower(): kind for kind in MessageKind}


def to_record(submission: Submission) -> uplink_pb2.SubmittedMessage:
    """Makes the proto of a submission."""
    return uplink_pb2.SubmittedMessage(
        group_id=submission.group_id,
        user_id=submission.user_id,
        client_msg_id=submission.client_msg_id,
        body=message_pb2.Message.FromString(submission.body),
        origin=uplink_pb2.Origin(
            edge_id=submission.origin.edge_id,
            incarnation=submission.origin.incarnation,
            conn_id=submission.origin.conn_id,
            request_id=submission.origin.request_id,
        ),
        received_at_ms=submission.received_at_ms,
        lane=message_pb2.Lane.ValueType(submission.lane),
        unlimited=submission.unlimited,
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


def encode(submission: Submission) -> bytes:
    """Serializes a submission."""
    return to_record(submission).SerializeToString()


def decode(data: bytes) -> Submission:
    """Reads a serialized submission.

    Raises:
        ThrongError: INVALID_ARGUMENT for bytes that are no submission.
    """
    try:
        record = uplink_pb2.SubmittedMessage.FromString(data)
    except DecodeError as error:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the uplink record cannot be parsed") from error
    return from_record(record)
