"""Every way in which a body can be wrong has its code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.core.body_check import check_body, is_web_address
from throng.api.common.v1 import message_pb2 as pb
from throng.domain.errors import ErrorCode, ThrongError


def check(message: pb.Message) -> None:
    body = message.SerializeToString()
    check_body(ProtoBodyInspector().inspect(body), size_bytes=len(body))


def image(**fields) -> pb.Message:
    return pb.Message(image=pb.Image(**({"url": "https://example.org/a.png", "width": 10, "height": 10} | fields)))


GOOD = {
    "text": pb.Message(text=pb.Text(text="你好")),
    "longest_text": pb.Message(text=pb.Text(text="字" * 4_000)),
    "image": image(),
    "image_path": image(url="/files/a.png"),
    "custom": pb.Message(custom=pb.Custom(type="poll", payload=b"x" * 8_192)),
    "system": pb.Message(system=pb.System(kind="group_created")),
    "recall": pb.Message(recall=pb.Recall(target_seq=1)),
    "mentions": pb.Message(text=pb.Text(text="hi"), mentions=["bob"] * 50, reply_to_seq=9),
}
BAD = {
    "nothing": (pb.Message(), ErrorCode.EMPTY_MESSAGE),
    "edit": (pb.Message(edit=pb.Edit(target_seq=1, text="x")), ErrorCode.INVALID_ARGUMENT),
    "blank": (pb.Message(text=pb.Text(text=" \n\t　")), ErrorCode.EMPTY_MESSAGE),
    "long_text": (pb.Message(text=pb.Text(text="x" * 4_001)), ErrorCode.TOO_LARGE),
    "script_url": (image(url="javascript:alert(1)"), ErrorCode.INVALID_ARGUMENT),
    "other_host_path": (image(url="//evil.example/a.png"), ErrorCode.INVALID_ARGUMENT),
    "backslash_path": (image(url="/\\evil.example/a.png"), ErrorCode.INVALID_ARGUMENT),
    "no_host": (image(url="https://"), ErrorCode.INVALID_ARGUMENT),
    "bad_port": (image(url="http://[::1/a"), ErrorCode.INVALID_ARGUMENT),
    "long_url": (image(url="https://e.org/" + "a" * 2_048), ErrorCode.TOO_LARGE),
    "flat": (image(width=0), ErrorCode.INVALID_ARGUMENT),
    "huge": (image(height=65_536), ErrorCode.INVALID_ARGUMENT),
    "long_alt": (image(alt="x" * 501), ErrorCode.TOO_LARGE),
    "custom_type": (pb.Message(custom=pb.Custom(type="a b")), ErrorCode.INVALID_ARGUMENT),
    "custom_size": (pb.Message(custom=pb.Custom(type="a", payload=b"x" * 8_193)), ErrorCode.TOO_LARGE),
    "system_kind": (pb.Message(system=pb.System(kind="")), ErrorCode.INVALID_ARGUMENT),
    "recall_zero": (pb.Message(recall=pb.Recall()), ErrorCode.MESSAGE_NOT_FOUND),
    "recall_beyond": (pb.Message(recall=pb.Recall(target_seq=2**60)), ErrorCode.MESSAGE_NOT_FOUND),
    "mentions": (pb.Message(text=pb.Text(text="hi"), mentions=["b"] * 51), ErrorCode.LIMIT_EXCEEDED),
    "mention_name": (pb.Message(text=pb.Text(text="hi"), mentions=["Bob Smith"]), ErrorCode.INVALID_ARGUMENT),
    "foreign": (pb.Message(text=pb.Text(text="hi"), sender_id="boss"), ErrorCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_bodies_pass(name: str) -> None:
    check(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies_are_refused_with_their_code(name: str) -> None:
    message, code = BAD[name]
    with pytest.raises(ThrongError) as refused:
        check(message)
    assert refused.value.code is code


@given(st.binary(max_size=200))
def test_bytes_give_facts_or_a_documented_error(body: bytes) -> None:
    code: ErrorCode | None = None
    try:
        check_body(ProtoBodyInspector().inspect(body), size_bytes=len(body))
    except ThrongError as error:
        code = error.code
    assert code is not ErrorCode.INTERNAL


@given(st.text(max_size=40))
def test_addresses_never_raise(url: str) -> None:
    assert is_web_address(url) in (True, False)
