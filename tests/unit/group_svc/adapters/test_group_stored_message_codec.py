"""Stored messages as the contract's messages and as members of the cache, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from group_svc.adapters.redis_recent_messages import pack, unpack
from group_svc.adapters.stored_message_codec import from_message, to_envelope, to_message
from throng.api.common.v1 import message_pb2 as pb
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import UserId
from throng.domain.message import Lane, MessageKind, StoredMessage

BODIES = {
    MessageKind.TEXT: pb.Message(text=pb.Text(text="déjà 你好"), mentions=["bob", "cid"], reply_to_seq=3),
    MessageKind.IMAGE: pb.Message(image=pb.Image(url="https://x/y", width=1, height=2)),
    MessageKind.CUSTOM: pb.Message(custom=pb.Custom(type="t", payload=b"\0\xff")),
    MessageKind.SYSTEM: pb.Message(system=pb.System(kind="k", text="t")),
    MessageKind.RECALL: pb.Message(recall=pb.Recall(target_seq=9)),
}


def stored(kind: MessageKind = MessageKind.TEXT, *, seq: int = 7, body: bytes | None = None, recalled: int = 0) -> StoredMessage:
    data = BODIES[kind].SerializeToString(deterministic=True) if body is None else body
    return StoredMessage(seq, UserId("ann"), "Ann", "id-1", kind, Lane.HIGH, data, 1_700_000_000_000, recalled)


@pytest.mark.parametrize("kind", MessageKind)
def test_every_kind_goes_there_and_back(kind):
    assert from_message(to_message(stored(kind))) == stored(kind)
    assert unpack(pack(stored(kind))) == stored(kind)


def test_every_field_stands_where_the_contract_says():
    message = to_message(stored(recalled=0))
    assert (message.seq, message.sender_id, message.sender_name, message.client_msg_id) == (7, "ann", "Ann", "id-1")
    assert (message.sent_at_ms, message.lane, message.recalled_by_seq) == (1_700_000_000_000, pb.LANE_HIGH, 0)
    assert (message.text.text, list(message.mentions), message.reply_to_seq) == ("déjà 你好", ["bob", "cid"], 3)


def test_a_recalled_message_is_blank_and_its_kind_survives_in_the_cache_only():
    blank = stored(MessageKind.IMAGE, body=b"", recalled=12)
    assert to_message(blank).recalled_by_seq == 12
    assert to_message(blank).WhichOneof("content") is None
    assert from_message(to_message(blank)) == stored(MessageKind.TEXT, body=b"", recalled=12)
    assert unpack(pack(blank)) == blank


def test_a_body_cannot_speak_for_someone_else_i9():
    forged = pb.Message(text=pb.Text(text="x"), seq=99, sender_id="eve", sender_name="Eve", recalled_by_seq=4, sent_at_ms=5)
    message = to_message(stored(body=forged.SerializeToString()))
    assert (message.seq, message.sender_id, message.sender_name, message.recalled_by_seq) == (7, "ann", "Ann", 0)
    assert message.sent_at_ms == 1_700_000_000_000


def test_an_envelope_and_its_body_are_the_message():
    one = stored()
    assert pb.Message.FromString(to_envelope(one).SerializeToString() + one.body) == to_message(one)
    assert pb.Message.FromString(pack(one)[11:]) == to_message(one)


@pytest.mark.parametrize("message", [pb.Message(seq=1), pb.Message(edit=pb.Edit(target_seq=1, text="x"))], ids=["none", "edit"])
def test_content_that_is_never_stored_is_refused(message):
    with pytest.raises(ThrongError) as caught:
        from_message(message)
    assert caught.value.code is ErrorCode.INTERNAL


@given(
    seq=st.integers(1, 2**53),
    names=st.tuples(st.text(max_size=100), st.text(max_size=64)),
    body=st.binary(max_size=300),
    lane=st.sampled_from(Lane),
    kind=st.sampled_from(MessageKind),
    recalled=st.integers(0, 2**53),
)
def test_members_of_the_cache_keep_every_byte(seq, names, body, lane, kind, recalled):
    one = StoredMessage(seq, UserId(names[1]), names[0], "id", kind, lane, body, 5, recalled)
    assert unpack(pack(one)) == one
