"""Pages of messages that stay the bytes they are."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from edge.adapters.raw_pages import LIST_MESSAGES, RawPages
from edge.ports import FetchedPage
from throng.api.common.v1 import message_pb2 as common_pb2
from throng.api.group.v1 import message_pb2


def page(*seqs: int) -> message_pb2.ListMessagesResponse:
    messages = [common_pb2.Message(seq=seq, sender_id="bob", text=common_pb2.Text(text=f"text {seq}")) for seq in seqs]
    return message_pb2.ListMessagesResponse(epoch=3, head_seq=900, after_seq=40, messages=messages, deleted_seqs=[41])


def parsed(response: message_pb2.ListMessagesResponse) -> FetchedPage:
    """What looking into every message says."""
    messages = [(message.seq, message.SerializeToString()) for message in response.messages]
    return FetchedPage(response.epoch, response.head_seq, response.after_seq, messages)


@pytest.mark.parametrize("seqs", [(), (41,), (41, 42, 43), tuple(range(41, 241)), (41, 43, 44), (41, 42, 44, 47), (128, 16_384)])
def test_a_page_is_read_as_if_it_were_parsed(seqs: tuple[int, ...]) -> None:
    response = page(*seqs)
    assert RawPages().read(response.SerializeToString()) == parsed(response)


def test_a_message_passes_with_what_this_version_does_not_know() -> None:
    response = page(41)
    unknown = response.messages[0].SerializeToString() + b"\xfa\x7f\x03new"
    data = message_pb2.ListMessagesResponse(epoch=3, head_seq=900, after_seq=40).SerializeToString()
    tag = bytes((message_pb2.ListMessagesResponse.DESCRIPTOR.fields_by_name["messages"].number << 3 | 2, len(unknown)))
    assert RawPages().read(data + tag + unknown).messages == [(41, unknown)]


@pytest.mark.parametrize("data", [b"\x22\x7fshort", b"\x22\x03\x08\xff\xff"])
def test_what_is_no_page_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        RawPages().read(data)


def test_the_method_is_that_of_the_service() -> None:
    (service,) = message_pb2.DESCRIPTOR.services_by_name.values()
    method = service.methods_by_name["ListMessages"]
    assert f"/{service.full_name}/{method.name}" == LIST_MESSAGES
    assert method.output_type is message_pb2.ListMessagesResponse.DESCRIPTOR
