"""Adapter `proto` of `BodyInspector`: bodies are serialized throng.common.v1.Message (hop 4)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from group_svc.ports import BodyFacts
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.message import MessageKind

_KINDS = {kind.name.lower(): kind for kind in MessageKind}


class ProtoBodyInspector:
    """Reads bodies by the generated code."""

    def inspect(self, body: bytes) -> BodyFacts:
        """Reads a body."""
        try:
            message = message_pb2.Message.FromString(body)
        except DecodeError as error:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the body cannot be read", fields={"field": "body"}) from error
        return facts_of(message)


def facts_of(message: message_pb2.Message) -> BodyFacts:
    """What the checks need to know of a message that is submitted.

    Raises:
        ThrongError: EMPTY_MESSAGE when it has no content, INVALID_ARGUMENT when its content may not be submitted.
    """
    name = message.WhichOneof("content")
    if name is None:
        raise ThrongError(ErrorCode.EMPTY_MESSAGE, "There is nothing in the message.", fields={"field": "content"})
    if name not in _KINDS:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{name} is not accepted yet", fields={"field": name})
    kind = _KINDS[name]
    mentions = tuple(message.mentions) if message.mentions else ()
    foreign_fields = bool(
        message.seq
        or message.sender_id
        or message.sender_name
        or message.client_msg_id
        or message.sent_at_ms
        or message.lane
        or message.recalled_by_seq
    )
    # Only the content that is there is touched: an empty submessage costs an object for each look at it.
    if kind is MessageKind.TEXT:
        return BodyFacts(kind, mentions, message.text.text, foreign_fields=foreign_fields)
    if kind is MessageKind.IMAGE:
        image = message.image
        return BodyFacts(
            kind, mentions, url=image.url, alt=image.alt, width=image.width, height=image.height, foreign_fields=foreign_fields
        )
    if kind is MessageKind.CUSTOM:
        custom = message.custom
        return BodyFacts(kind, mentions, label=custom.type, payload_bytes=len(custom.payload), foreign_fields=foreign_fields)
    if kind is MessageKind.SYSTEM:
        return BodyFacts(kind, mentions, message.system.text, label=message.system.kind, foreign_fields=foreign_fields)
    return BodyFacts(kind, mentions, target_seq=message.recall.target_seq, foreign_fields=foreign_fields)
