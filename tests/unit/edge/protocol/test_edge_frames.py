"""Builders of server frames, read back by wsproto's client."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import FrameProtocol, Opcode

from edge.protocol import frames


def read(frame: bytes):
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(frame)
    (only,) = protocol.received_frames()
    return only


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_messages_of_every_length_form(size):
    binary, text = read(frames.binary_frame(b"x" * size)), read(frames.text_frame(b"x" * size))
    assert (binary.opcode, len(binary.payload), binary.message_finished) == (Opcode.BINARY, size, True)
    assert (text.opcode, len(text.payload), text.message_finished) == (Opcode.TEXT, size, True)
    assert frames.message_frame(b"x" * size, binary=True) == frames.binary_frame(b"x" * size)
    assert frames.message_frame(b"x" * size, binary=False) == frames.text_frame(b"x" * size)


def test_control_frames_are_cut_at_125_bytes():
    assert len(read(frames.ping_frame(b"p" * 200)).payload) == 125
    assert bytes(read(frames.pong_frame(b"abc")).payload) == b"abc"


def test_close_reason_is_cut_between_characters():
    code, reason = read(frames.close_frame(4008, "€" * 100)).payload
    assert (code, reason) == (4008, "€" * 41)
    assert frames.close_frame(None) == b"\x88\x00"
