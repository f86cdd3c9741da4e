"""Pieces of serialized protobuf, for bytes that are put together without objects: a copied body, a text, the frame around both."""

from __future__ import annotations

from typing import Any


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_SHORT = tuple(map(_encoded, range(1 << 14)))
_SHORTS = len(_SHORT)


def varint(number: int) -> bytes:
    """A number from 0 up as protobuf writes it."""
    return _SHORT[number] if number < _SHORTS else _encoded(number)


def number_tag(message: Any, field: str) -> bytes:
    """What stands before an integer, bool or enum of a field of a message type."""
    return _encoded(message.DESCRIPTOR.fields_by_name[field].number << 3)


def bytes_tag(message: Any, field: str) -> bytes:
    """What stands before the length of a string, of bytes or of a message of a field of a message type."""
    return _encoded(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)
