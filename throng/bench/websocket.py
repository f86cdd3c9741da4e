"""The client's half of RFC 6455: the handshake, masked frames up, frames down cut out of a stream of bytes."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
SUBPROTOCOL = "throng.v1.protobuf"
MAX_FRAME_BYTES = 16 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BrokenStreamError(Exception):
    """What came is no WebSocket of this protocol; the text says why."""


class Frame(NamedTuple):
    """One frame from a server."""

    opcode: int
    is_last: bool
    payload: bytes


class Handshake:
    """One upgrade: `request` to send, and `check` for the answer's head."""

    __slots__ = ("_accept", "request")

    def __init__(self, host: str, path: str, token: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()

    def check(self, head: bytes) -> None:
        """Reads the head of the answer.

        Raises:
            BrokenStreamError: it is no upgrade, with its status.
        """
        lines = head.split(b"\r\n")
        status = lines[0].split(b" ", 2)[1:2]
        if status != [b"101"]:
            raise BrokenStreamError(f"the upgrade was answered with {lines[0][:80].decode('latin-1')}")
        headers = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
        accept = next((value.strip() for name, value in headers.items() if name.lower() == b"sec-websocket-accept"), b"")
        if accept != self._accept:
            raise BrokenStreamError("the upgrade was answered with another Sec-WebSocket-Accept")


def client_frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """A whole masked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126, size >> 8, size & 0xFF))
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = random.randbytes(4)
    if not size:
        return head + mask
    pattern = (mask * ((size + 3) >> 2))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return head + mask + masked.to_bytes(size, "little")


def split_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Cuts whole frames off the front; returns them and the rest.

    Raises:
        BrokenStreamError: a frame is masked, uses a reserved bit or is larger than 16 MiB.
    """
    frames = []
    start, end = 0, len(data)
    while end - start >= 2:
        first, second = data[start], data[start + 1]
        if first & 0x70 or second & 0x80:
            raise BrokenStreamError("a server may not mask, and no extension was agreed on")
        size, body = second, start + 2
        if size == 126:
            size, body = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
        elif size == 127:
            size, body = int.from_bytes(data[start + 2 : start + 10], "big"), start + 10
        if body > end or body + size > end:
            if body <= end and size > MAX_FRAME_BYTES:
                raise BrokenStreamError(f"a frame of {size} bytes")
            break
        frames.append(Frame(first & 0x0F, bool(first & 0x80), data[body : body + size]))
        start = body + size
    return frames, data[start:] if start else data


def close_code(payload: bytes) -> int:
    """The code of a close frame; 1005 when it has none."""
    return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
