"""A stored message as throng.common.v1.Message and back, for the cache, the publisher and the servicer (hops 4, 5 and 8)."""

from __future__ import annotations

from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import UserId
from throng.domain.message import Lane, MessageKind, StoredMessage

_KINDS = {kind.name.lower(): kind for kind in MessageKind}


def _set_envelope(message: message_pb2.Message, stored: StoredMessage) -> None:
    message.seq = stored.seq
    message.sender_id = stored.sender_id
    message.sender_name = stored.sender_name
    message.client_msg_id = stored.client_msg_id
    message.sent_at_ms = stored.sent_at_ms
    message.lane = message_pb2.Lane.ValueType(stored.lane)
    message.recalled_by_seq = stored.recalled_by_seq


def _clear_envelope(message: message_pb2.Message) -> None:
    message.ClearField("seq")
    message.ClearField("sender_id")
    message.ClearField("sender_name")
    message.ClearField("client_msg_id")
    message.ClearField("sent_at_ms")
    message.ClearField("lane")
    message.ClearField("recalled_by_seq")


def to_message(stored: StoredMessage) -> message_pb2.Message:
    """Makes the proto: content, mentions and reply from the body, everything else from the stored fields.

    The stored fields win over fields that a body should not have had.
    """
    message = message_pb2.Message.FromString(stored.body)
    _set_envelope(message, stored)
    return message


def to_envelope(stored: StoredMessage) -> message_pb2.Message:
    """Makes the proto without the body; its bytes followed by those of the body parse as `to_message(stored)`."""
    message = message_pb2.Message()
    _set_envelope(message, stored)
    return message


def from_envelope(message: message_pb2.Message, *, kind: MessageKind, body: bytes) -> StoredMessage:
    """Puts a stored message together from its proto without content, its kind and the bytes of its body."""
    return StoredMessage(
        seq=message.seq,
        sender_id=UserId(message.sender_id),
        sender_name=message.sender_name,
        client_msg_id=message.client_msg_id,
        kind=kind,
        lane=Lane.HIGH if message.lane == message_pb2.LANE_HIGH else Lane.NORMAL,
        body=body,
        sent_at_ms=message.sent_at_ms,
        recalled_by_seq=message.recalled_by_seq,
    )


def from_message(message: message_pb2.Message) -> StoredMessage:
    """Reads a stored message. The kind of a recalled one is not in the proto; it is taken as TEXT.

    Raises:
        ThrongError: INTERNAL for content that no writer of ours stores.
    """
    name = message.WhichOneof("content")
    if name is None and message.recalled_by_seq:
        return from_envelope(message, kind=MessageKind.TEXT, body=b"")
    if name not in _KINDS:
        raise ThrongError(ErrorCode.INTERNAL, "a message has content that is never stored", fields={"content": str(name)})
    body = message_pb2.Message()
    body.CopyFrom(message)
    _clear_envelope(body)
    return from_envelope(message, kind=_KINDS[name], body=body.SerializeToString(deterministic=True))
