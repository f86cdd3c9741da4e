"""Messages in JSON: the quick way says what protobuf's own does."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.message_json import message_json
from throng.api.common.v1 import message_pb2

WORDS = st.text(max_size=12)
UNSIGNED = st.integers(0, 2**64 - 1)
CONTENT = st.one_of(
    st.builds(lambda text: {"text": message_pb2.Text(text=text)}, st.text(max_size=40)),
    st.builds(lambda seq: {"recall": message_pb2.Recall(target_seq=seq)}, UNSIGNED),
    st.builds(lambda payload: {"custom": message_pb2.Custom(type="x", payload=payload)}, st.binary(max_size=9)),
    st.just({}),
)


def as_protobuf_says(message: message_pb2.Message) -> str:
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":"))


@given(
    st.fixed_dictionaries(
        {
            "seq": UNSIGNED,
            "sender_id": WORDS,
            "sender_name": WORDS,
            "client_msg_id": WORDS,
            "sent_at_ms": st.integers(-(2**63), 2**63 - 1),
            "lane": st.integers(0, 4),
            "mentions": st.lists(WORDS, max_size=2),
            "reply_to_seq": UNSIGNED,
            "recalled_by_seq": UNSIGNED,
        }
    ),
    CONTENT,
)
def test_it_says_what_protobuf_says(fields: dict[str, object], content: dict[str, object]) -> None:
    message = message_pb2.Message(**fields, **content)  # type: ignore[arg-type]
    assert message_json(message.SerializeToString()) == as_protobuf_says(message)


def test_every_field_of_a_message_is_known_here() -> None:
    """A field that is new has to be written down in `_of_text` too, or sent the other way."""
    known = {"seq", "sender_id", "sender_name", "client_msg_id", "sent_at_ms", "lane", "mentions", "reply_to_seq"}
    known |= {"recalled_by_seq", "text", "image", "custom", "system", "recall", "edit"}
    assert {field.name for field in message_pb2.Message.DESCRIPTOR.fields} == known
    assert {field.name for field in message_pb2.Text.DESCRIPTOR.fields} == {"text"}


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(DecodeError):
        message_json(b"\x08\xff")
