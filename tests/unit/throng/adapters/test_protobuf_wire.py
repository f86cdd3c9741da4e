"""Pieces of protobuf that are written by hand, against protobuf itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.client_codec import make_codecs
from throng.adapters.protobuf_wire import bytes_tag, number_tag, varint
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2


@given(st.integers(1, 2**64 - 1))
@pytest.mark.parametrize("field", ["seq", "reply_to_seq"])
def test_a_number_is_written_as_protobuf_writes_it(field: str, number: int) -> None:
    written = message_pb2.Message(**{field: number}).SerializeToString()
    assert number_tag(message_pb2.Message, field) + varint(number) == written


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 70_000])
def test_a_string_is_written_as_protobuf_writes_it(size: int) -> None:
    written = message_pb2.Text(text="x" * size).SerializeToString()
    assert bytes_tag(message_pb2.Text, "text") + varint(size) + b"x" * size == written


@given(st.text(max_size=300), st.lists(st.text(max_size=8), max_size=3), st.integers(0, 2**40))
def test_the_body_of_a_text_is_a_deterministic_message(text: str, mentions: list[str], reply_to_seq: int) -> None:
    content = {"text": message_pb2.Text(text=text), "mentions": mentions, "reply_to_seq": reply_to_seq}
    frame = client_pb2.ClientFrame(send=client_pb2.Send(group_id="g", client_msg_id="id", **content))
    sent = make_codecs().of(binary=True).decode(frame.SerializeToString())
    assert sent.body == message_pb2.Message(**content).SerializeToString(deterministic=True)
