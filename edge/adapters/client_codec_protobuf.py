"""Subprotocol `throng.v1.protobuf`: messages are joined in as the bytes they are, nothing is serialized twice."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from edge.adapters.client_codec_requests import to_request
from edge.adapters.client_codec_responses import to_frame, to_group_of_entered
from edge.core import responses
from edge.core.requests import MalformedFrameError, Request
from edge.protocol.frames import binary_frame
from throng.adapters.protobuf_wire import bytes_tag, number_tag, varint
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2
from throng.domain.group import Group

_REQUEST_ID_TAG = number_tag(client_pb2.ServerFrame, "request_id")
_BLOCK = bytes_tag(client_pb2.ServerFrame, "block")
_ENTERED = bytes_tag(client_pb2.ServerFrame, "entered")
_ENTERED_MESSAGES = bytes_tag(client_pb2.Entered, "messages")
_MESSAGES: dict[type, tuple[bytes, bytes, str]] = {
    responses.Pulled: (
        bytes_tag(client_pb2.ServerFrame, "pulled"),
        bytes_tag(client_pb2.Pulled, "messages"),
        "pulled",
    ),
    responses.Block: (_BLOCK, bytes_tag(message_pb2.Block, "messages"), "block"),
}


def _joined(head: bytes, tag: bytes, messages: Sequence[bytes]) -> bytes:
    pieces = [head]
    for message in messages:
        pieces += (tag, varint(len(message)), message)
    return b"".join(pieces)


class ProtobufClientCodec:
    """`ClientCodec` of binary frames."""

    def decode(self, payload: bytes) -> Request:
        """Reads a ClientFrame.

        Raises:
            MalformedFrameError: it is none, or asks for nothing known.
        """
        try:
            frame = client_pb2.ClientFrame.FromString(payload)
        except DecodeError:
            raise MalformedFrameError("the frame is no ClientFrame") from None
        return to_request(frame)

    def prepare(self, response: responses.Response) -> bytes:
        """Serializes the oneof of a ServerFrame."""
        if isinstance(response, responses.Block) and response.serialized is not None:
            return _BLOCK + varint(len(response.serialized)) + response.serialized
        frame = to_frame(response)
        if isinstance(response, responses.Entered):
            shared = response.shared if response.shared is not None else self.share(response.group, response.messages)
            own = frame.entered.SerializeToString()
            return b"".join((_ENTERED, varint(len(shared) + len(own)), shared, own))
        fields = _MESSAGES.get(type(response))
        if fields is None:
            return frame.SerializeToString()
        outer, inner, name = fields
        body = _joined(getattr(frame, name).SerializeToString(), inner, response.messages)  # type: ignore[union-attr]
        return outer + varint(len(body)) + body

    def share(self, group: Group, messages: Sequence[bytes]) -> bytes:
        """Serializes the parts of an `Entered` that are the same for many."""
        return _joined(to_group_of_entered(group).SerializeToString(), _ENTERED_MESSAGES, messages)

    def frame(self, prepared: bytes, request_id: int = 0) -> bytes:
        """Makes a binary WebSocket frame."""
        if request_id:
            return binary_frame(_REQUEST_ID_TAG + varint(request_id) + prepared)
        return binary_frame(prepared)
