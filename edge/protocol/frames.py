"""Builders of server frames (unmasked, never fragmented), and the opcodes both directions share."""

from __future__ import annotations

from typing import Final

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_CONTROL_BYTES: Final = 125
_FIN: Final = 0x80
_MAX_SHORT: Final = 125
_MAX_MEDIUM: Final = 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """A text message; `payload` must be UTF-8."""
    return _frame(TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """A binary message."""
    return _frame(BINARY, payload)


def message_frame(payload: bytes, *, binary: bool) -> bytes:
    """A message of the kind that a connection speaks."""
    return _frame(BINARY if binary else TEXT, payload)


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping; `payload` is cut at 125 bytes."""
    return _frame(PING, payload[:MAX_CONTROL_BYTES])


def pong_frame(payload: bytes = b"") -> bytes:
    """The answer to a ping with this payload."""
    return _frame(PONG, payload[:MAX_CONTROL_BYTES])


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close; None: without a code. `reason` is cut, between characters, to fit."""
    if code is None:
        return _frame(CLOSE, b"")
    text = reason.encode("utf-8", "replace")
    if len(text) > MAX_CONTROL_BYTES - 2:
        text = text[: MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return _frame(CLOSE, code.to_bytes(2, "big") + text)


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= _MAX_SHORT:
        return bytes((_FIN | opcode, size)) + payload
    if size <= _MAX_MEDIUM:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload
