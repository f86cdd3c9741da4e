"""Bytes of frames and records, by encoding examples with the codecs that the services use."""

from __future__ import annotations

from dataclasses import dataclass

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2
from throng.api.uplink.v1 import uplink_pb2

_GROUP = "plenary"
_SENDER = "u-000012345"
_NAME = "Li Na"
_ID = "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f40"
_SENT_AT_MS = 1_790_000_000_000
_SEQ = 10_000_000
_MEDIUM, _LARGE = 125, 65_535


@dataclass(frozen=True, slots=True)
class WireSizes:
    """For messages of one size of text.

    Attributes:
        frame_bytes: block of `messages` as clients get it (protobuf), WebSocket header included; not compressed.
        block_bytes: the same block between services.
        notice_bytes: a notice as a client gets it.
        submitted_bytes: one record of the log, key included, not compressed.
        body_bytes: what MySQL keeps as the body of a message.
    """

    frame_bytes: float
    block_bytes: float
    notice_bytes: float
    submitted_bytes: float
    body_bytes: float

    @classmethod
    def of(cls, text_bytes: int, messages: float) -> WireSizes:
        """Encodes examples; a block of 2.5 messages lies between one of 2 and one of 3."""
        few = int(messages)
        part = messages - few
        blocks = [_block(text_bytes, count) for count in (few, few + 1)]
        frames = [_framed(client_pb2.ServerFrame(block=block).SerializeToString()) for block in blocks]
        sizes = [len(block.SerializeToString()) for block in blocks]
        notice = client_pb2.Notice(group_id=_GROUP, epoch=1, head_seq=_SEQ)
        body = message_pb2.Message(text=message_pb2.Text(text="x" * text_bytes))
        submitted = uplink_pb2.SubmittedMessage(
            group_id=_GROUP,
            user_id=_SENDER,
            client_msg_id=_ID,
            body=body,
            origin=uplink_pb2.Origin(edge_id="edge-12", incarnation=_SENT_AT_MS, conn_id="4096-17"),
            received_at_ms=_SENT_AT_MS,
            lane=message_pb2.LANE_NORMAL,
        )
        return cls(
            frame_bytes=frames[0] + part * (frames[1] - frames[0]),
            block_bytes=sizes[0] + part * (sizes[1] - sizes[0]),
            notice_bytes=_framed(client_pb2.ServerFrame(notice=notice).SerializeToString()),
            submitted_bytes=len(submitted.SerializeToString()) + len(_GROUP),
            body_bytes=len(body.SerializeToString()),
        )


def _block(text_bytes: int, count: int) -> message_pb2.Block:
    messages = [
        message_pb2.Message(
            seq=_SEQ + place,
            sender_id=_SENDER,
            sender_name=_NAME,
            client_msg_id=_ID,
            sent_at_ms=_SENT_AT_MS,
            lane=message_pb2.LANE_NORMAL,
            text=message_pb2.Text(text="x" * text_bytes),
        )
        for place in range(1, count + 1)
    ]
    return message_pb2.Block(group_id=_GROUP, epoch=1, prev_seq=_SEQ, messages=messages)


def _framed(payload: bytes) -> int:
    """With the header of a frame that a server sends (RFC 6455, not masked)."""
    size = len(payload)
    return size + (2 if size <= _MEDIUM else 4 if size <= _LARGE else 10)
