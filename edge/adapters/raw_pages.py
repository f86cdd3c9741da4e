"""Pages of messages as an edge reads them (hop 8): what lies in a page is passed on as the bytes it came as.

An edge looks into no message of a page but for its number. Parsing two hundred and serializing them again was half of what a page
cost the business thread, and while that holds the interpreter, the hub waits.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from edge.ports import FetchedPage
from throng.api.common.v1 import message_pb2 as common_pb2
from throng.api.group.v1 import message_pb2

LIST_MESSAGES = "/throng.group.v1.MessageService/ListMessages"
_PACKAGE = "throng.edge.raw"


class RawPages:
    """Reads a serialized `ListMessagesResponse`."""

    def __init__(self) -> None:
        """Makes the same message with its messages as bytes, out of the descriptor, so that it cannot fall behind."""
        described = descriptor_pb2.DescriptorProto()
        message_pb2.ListMessagesResponse.DESCRIPTOR.CopyToProto(described)
        for field in described.field:
            if field.name == "messages":
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                field.ClearField("type_name")
        file = descriptor_pb2.FileDescriptorProto(
            name="raw_page.proto", package=_PACKAGE, syntax="proto3", message_type=[described]
        )
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._page: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{described.name}"))

    def read(self, data: bytes) -> FetchedPage:
        """Reads a page. Only the first and the last message are looked into where these two leave no room for a hole.

        Raises:
            google.protobuf.message.DecodeError: the bytes are no page.
        """
        page = self._page.FromString(data)
        messages: list[bytes] = list(page.messages)
        first = _seq(messages[0]) if messages else 0
        if messages and _seq(messages[-1]) - first + 1 != len(messages):
            numbered = [(_seq(message), message) for message in messages]
        else:
            numbered = list(zip(range(first, first + len(messages)), messages, strict=True))
        return FetchedPage(page.epoch, page.head_seq, page.after_seq, numbered)


def _seq(message: bytes) -> int:
    return int(common_pb2.Message.FromString(message).seq)
