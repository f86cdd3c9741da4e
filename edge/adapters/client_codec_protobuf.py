"""Subprotocol `throng.v1.protobuf`: messages are joined in as the bytes they are, nothing is serialized twice."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from edge.adapters.client_codec_requests import to_request
from edge.adapters.client_codec_responses import to_frame
from edge.core import responses
from edge.core.requests import MalformedFrameError, Request
from edge.protocol.frames import binary_frame
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2

_LENGTH_DELIMITED = 2
_FRAME_FIELDS = client_pb2.ServerFrame.DESCRIPTOR.fields_by_name


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT_LENGTHS = tuple(_varint(length) for length in range(4096))


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED)


_REQUEST_ID_TAG = _varint(_FRAME_FIELDS["request_id"].number << 3)
_BLOCK = _tag(_FRAME_FIELDS["block"].number)
_MESSAGES: dict[type, tuple[bytes, bytes, str]] = {
    responses.Entered: (
        _tag(_FRAME_FIELDS["entered"].number),
        _tag(client_pb2.Entered.DESCRIPTOR.fields_by_name["messages"].number),
        "entered",
    ),
    responses.Pulled: (
        _tag(_FRAME_FIELDS["pulled"].number),
        _tag(client_pb2.Pulled.DESCRIPTOR.fields_by_name["messages"].number),
        "pulled",
    ),
    responses.Block: (_BLOCK, _tag(message_pb2.Block.DESCRIPTOR.fields_by_name["messages"].number), "block"),
}


def _length(size: int) -> bytes:
    return _SHORT_LENGTHS[size] if size < 4096 else _varint(size)


def _joined(head: bytes, tag: bytes, messages: Sequence[bytes]) -> bytes:
    pieces = [head]
    for message in messages:
        pieces += (tag, _length(len(message)), message)
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
            return _BLOCK + _length(len(response.serialized)) + response.serialized
        frame = to_frame(response)
        fields = _MESSAGES.get(type(response))
        if fields is None:
            return frame.SerializeToString()
        outer, inner, name = fields
        body = _joined(getattr(frame, name).SerializeToString(), inner, response.messages)  # type: ignore[union-attr]
        return outer + _length(len(body)) + body

    def frame(self, prepared: bytes, request_id: int = 0) -> bytes:
        """Makes a binary WebSocket frame."""
        if request_id:
            return binary_frame(_REQUEST_ID_TAG + _varint(request_id) + prepared)
        return binary_frame(prepared)
