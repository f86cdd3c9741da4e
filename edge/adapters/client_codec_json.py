"""Subprotocol `throng.v1.json`: canonical proto3 JSON of the same messages, for debugging and scripts; not made for speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from edge.adapters.client_codec_requests import to_request
from edge.adapters.client_codec_responses import to_frame, to_group_of_entered
from edge.adapters.message_json import dump, message_json
from edge.core import responses
from edge.core.requests import MalformedFrameError, Request
from edge.protocol.frames import text_frame
from throng.api.client.v1 import client_pb2
from throng.domain.group import Group

MAX_REQUEST_ID = 2**64 - 1
MAX_DEPTH = 16
_KEPT_MESSAGES = 2_000
_KEPT_BYTES = 4_096


class JsonClientCodec:
    """`ClientCodec` of text frames. Keeps the JSON of recently sent small messages; overflow policy: all are forgotten."""

    def __init__(self) -> None:
        self._kept: dict[bytes, str] = {}

    def decode(self, payload: bytes) -> Request:
        """Reads a ClientFrame; unknown fields are refused.

        Raises:
            MalformedFrameError: it is none, or asks for nothing known.
        """
        frame = client_pb2.ClientFrame()
        try:
            json_format.Parse(payload, frame, max_recursion_depth=MAX_DEPTH)
        except (json_format.Error, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
            raise MalformedFrameError("the frame is no ClientFrame", _request_id(payload)) from None
        return to_request(frame)

    def prepare(self, response: responses.Response) -> bytes:
        """Makes `"event":{…}`."""
        if isinstance(response, responses.Block) and response.json is not None:
            return f'"block":{response.json}'.encode()
        fields: dict[str, Any] = json_format.MessageToDict(to_frame(response))
        if isinstance(response, responses.Entered):
            shared = response.shared if response.shared is not None else self.share(response.group, response.messages)
            return b'"entered":{%b}' % b",".join(filter(None, (shared, dump(fields["entered"])[1:-1].encode())))
        text = dump(fields)[1:-1]
        if isinstance(response, responses.Pulled | responses.Block) and response.messages:
            messages = ",".join(map(self._message, response.messages))
            text = f'{text[:-1]},"messages":[{messages}]}}'
        return text.encode()

    def share(self, group: Group, messages: Sequence[bytes]) -> bytes:
        """Makes `"group":{…},"messages":[…]`."""
        text = dump(json_format.MessageToDict(to_group_of_entered(group)))[1:-1]
        return (f'{text},"messages":[{",".join(map(self._message, messages))}]' if messages else text).encode()

    def frame(self, prepared: bytes, request_id: int = 0) -> bytes:
        """Makes a text WebSocket frame."""
        if request_id:
            return text_frame(b'{"requestId":"%d",%b}' % (request_id, prepared))
        return text_frame(b"{%b}" % prepared)

    def _message(self, message: bytes) -> str:
        text = self._kept.get(message)
        if text is None:
            text = message_json(message)
            if len(message) <= _KEPT_BYTES:
                if len(self._kept) >= _KEPT_MESSAGES:
                    self._kept.clear()
                self._kept[message] = text
        return text


def _request_id(payload: bytes) -> int:
    """The request_id of a frame that is wrong otherwise, so that its sender learns which one it was."""
    try:
        value = int(json.loads(payload)["requestId"])
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return 0
    return value if 0 < value <= MAX_REQUEST_ID else 0
