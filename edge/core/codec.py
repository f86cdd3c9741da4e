"""What sessions need of the wire format (hops 1 and 7): requests out of bytes, frames out of responses, a little of messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.core.requests import Request
from edge.core.responses import Response
from throng.domain.group import Group


class ClientCodec(Protocol):
    """One subprotocol. Pure; no state that shows."""

    def decode(self, payload: bytes) -> Request:
        """Reads one WebSocket message.

        Raises:
            MalformedFrameError: it is no ClientFrame, or asks for nothing known. Nothing else is raised.
        """
        ...

    def prepare(self, response: Response) -> bytes:
        """Serializes a response without its request_id, so that many answers can share it."""
        ...

    def share(self, group: Group, messages: Sequence[bytes]) -> bytes:
        """Serializes the parts of an `Entered` that are the same for many."""
        ...

    def frame(self, prepared: bytes, request_id: int = 0) -> bytes:
        """Makes a whole WebSocket frame of a prepared response."""
        ...


class MessageCodec(Protocol):
    """The little that sessions know of a serialized Message."""

    def blanked(self, message: bytes, recalled_by_seq: int) -> bytes:
        """The message as it is after its recall: no content, no mentions, no reply."""
        ...

    def recall_target(self, message: bytes) -> int:
        """The seq that a recall event takes back; 0: the message is no recall event."""
        ...

    def recall_body(self, target_seq: int) -> bytes:
        """The body of the submission that takes a message back."""
        ...


@dataclass(frozen=True, slots=True)
class Codecs:
    """Both subprotocols and what is common to them."""

    protobuf: ClientCodec
    json: ClientCodec
    messages: MessageCodec

    def of(self, *, binary: bool) -> ClientCodec:
        """The codec of a connection."""
        return self.protobuf if binary else self.json
