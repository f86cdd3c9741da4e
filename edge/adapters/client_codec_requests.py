"""Parsed ClientFrames into the requests of `edge.core` (hop 1), the same for both subprotocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.core.requests import (
    Content,
    CustomContent,
    DeleteForMe,
    Enter,
    History,
    ImageContent,
    Leave,
    ListGroups,
    MalformedFrameError,
    Ping,
    Pull,
    Recall,
    ReportRead,
    Request,
    Send,
    SetVisibility,
    TextContent,
)
from throng.adapters.protobuf_wire import bytes_tag, varint
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2
from throng.domain.group import Delivery
from throng.domain.message import MessageKind

_TEXT, _TEXT_OF_TEXT = bytes_tag(message_pb2.Message, "text"), bytes_tag(message_pb2.Text, "text")
_DELIVERIES: dict[int, Delivery] = {int(delivery): delivery for delivery in Delivery}


def to_request(frame: client_pb2.ClientFrame) -> Request:
    """Reads what a frame asks for.

    Raises:
        MalformedFrameError: it asks for nothing known, or names an unknown delivery.
    """
    name = frame.WhichOneof("request")
    if name is None:
        raise MalformedFrameError("the frame asks for nothing that is known", frame.request_id)
    return _READERS[name](frame.request_id, getattr(frame, name))


def _enter(request_id: int, enter: client_pb2.Enter) -> Enter:
    delivery = _DELIVERIES.get(enter.delivery)
    if delivery is None:
        raise MalformedFrameError("delivery is unknown", request_id)
    return Enter(request_id, enter.group_id, enter.epoch, enter.seq, delivery, enter.resume_token)


def _send(request_id: int, send: client_pb2.Send) -> Send:
    name, mentions, reply_to_seq = send.WhichOneof("content"), tuple(send.mentions), send.reply_to_seq
    kind: MessageKind | None
    content: Content | None
    if name == "text":
        text = send.text.text
        kind, content, body = MessageKind.TEXT, TextContent(text), _text_body(text)
    else:
        kind, content, copy = _content(send, name)
        body = copy.SerializeToString(deterministic=True)
    if mentions or reply_to_seq:
        # Fields in the order of their numbers, as a deterministic serialization has them: these come before the content.
        body = message_pb2.Message(mentions=mentions, reply_to_seq=reply_to_seq).SerializeToString(deterministic=True) + body
    return Send(request_id, send.group_id, send.client_msg_id, kind, content, body, mentions, reply_to_seq)


def _text_body(text: str) -> bytes:
    """The bytes of a Message with this text: nearly every message is one, and by objects it takes seven times as long."""
    encoded = text.encode()
    if not encoded:
        return _TEXT + b"\0"
    length = varint(len(encoded))
    return b"".join((_TEXT, varint(len(_TEXT_OF_TEXT) + len(length) + len(encoded)), _TEXT_OF_TEXT, length, encoded))


def _content(send: client_pb2.Send, name: str | None) -> tuple[MessageKind | None, Content | None, message_pb2.Message]:
    """Copies known fields only, so that no unknown bytes are stored."""
    if name == "image":
        image = send.image
        copy = message_pb2.Image(url=image.url, width=image.width, height=image.height, alt=image.alt, size_bytes=image.size_bytes)
        return (
            MessageKind.IMAGE,
            ImageContent(image.url, image.width, image.height, image.alt),
            message_pb2.Message(image=copy),
        )
    if name == "custom":
        custom = send.custom
        return (
            MessageKind.CUSTOM,
            CustomContent(custom.type, len(custom.payload)),
            message_pb2.Message(custom=message_pb2.Custom(type=custom.type, payload=custom.payload)),
        )
    return None, None, message_pb2.Message()


def _history(request_id: int, asked: client_pb2.History) -> History:
    return History(request_id, asked.group_id, asked.before_seq, asked.limit)


_READERS: dict[str, Callable[[int, Any], Request]] = {
    "enter": _enter,
    "leave": lambda request_id, asked: Leave(request_id, asked.group_id),
    "send": _send,
    "pull": lambda request_id, asked: Pull(request_id, asked.group_id, asked.after_seq, asked.up_to_seq, asked.epoch),
    "history": _history,
    "report_read": lambda request_id, asked: ReportRead(request_id, asked.group_id, asked.read_seq),
    "recall": lambda request_id, asked: Recall(request_id, asked.group_id, asked.seq),
    "delete_for_me": lambda request_id, asked: DeleteForMe(request_id, asked.group_id, asked.seq),
    "list_groups": lambda request_id, asked: ListGroups(request_id),
    "set_visibility": lambda request_id, asked: SetVisibility(request_id, asked.hidden),
    "ping": lambda request_id, asked: Ping(request_id),
}
