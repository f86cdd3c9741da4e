"""Client bytes to events: RFC 6455 frames, fragments, limits and checks, with state only while something is incomplete."""

from __future__ import annotations

from typing import Final

from edge.protocol.deflate import RSV1, BadDeflateError, TooLargeError, inflate
from edge.protocol.events import Close, Event, Failed, Message, Ping, Pong
from edge.protocol.frames import BINARY, CLOSE, CONTINUATION, MAX_CONTROL_BYTES, PING, PONG, TEXT
from edge.protocol.masking import unmask
from throng.domain.close_codes import CloseCode

_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_VALID_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class Partial:
    """What is kept between two calls: bytes of an incomplete frame, and the fragments of an incomplete message.

    Both are plain buffers, so that a client that sends byte by byte costs no more than the bytes it sent.
    """

    __slots__ = ("_held", "compressed", "fragments", "in_message", "needed_bytes")

    def __init__(self) -> None:
        self._held = bytearray()
        self.needed_bytes = 0
        self.in_message = False
        self.compressed = False
        self.fragments = bytearray()

    @property
    def held_bytes(self) -> int:
        """Bytes of the incomplete frame that are here."""
        return len(self._held)

    @property
    def enough(self) -> bool:
        """Whether the bytes held are as many as the incomplete frame needs to get further."""
        return len(self._held) >= self.needed_bytes

    def hold(self, data: bytes) -> None:
        """Adds bytes that came."""
        self._held += data

    def take(self) -> bytes:
        """All bytes held, once."""
        data = bytes(self._held)
        self._held = bytearray()
        return data

    def begin_or_go_on(self, first: int, payload: bytes) -> None:
        """Adds a fragment whose frame begins with the byte `first`."""
        if not self.in_message:
            self.in_message = True
            self.compressed = bool(first & RSV1)
        self.fragments += payload

    def end_message(self) -> bytes:
        """The fragments as one payload; the message is complete."""
        payload = bytes(self.fragments)
        self.in_message = False
        self.fragments = bytearray()
        return payload


class _Failure(Exception):
    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.event = Failed(code, reason)


def parse(
    data: bytes, partial: Partial | None, *, binary: bool, max_message_bytes: int, deflate: bool = False
) -> tuple[list[Event], Partial | None]:
    """Reads what came; pass the returned partial to the next call.

    Args:
        data: bytes as the socket gave them, cut anywhere.
        partial: what the last call returned; None at the start.
        binary: messages must be binary frames; otherwise text frames.
        max_message_bytes: largest payload of a message, over all its fragments, and inflated.
        deflate: whether permessage-deflate was negotiated, so that messages may be compressed.

    Returns:
        The events in order, and None unless a frame or a message is incomplete. After `Close` or `Failed` the rest of
        the input is forgotten, and the caller must not call again. Never raises.
    """
    if partial is not None:
        partial.hold(data)
        if not partial.enough:
            return [], partial
        data = partial.take()
    events: list[Event] = []
    at, size, needed = 0, len(data), 2
    try:
        while size - at >= 2:
            first, second = data[at], data[at + 1]
            length = second & 0x7F
            start = at + 6
            if length == 126:
                start = at + 8
            elif length == 127:
                start = at + 14
            _check_header(first, second, deflate=deflate)
            if size < start:
                needed = start - at
                break
            if length >= 126:
                length = _extended_length(data[at + 2 : start - 4], short=length == 126)
            _check_size(first, length, partial, binary=binary, max_message_bytes=max_message_bytes)
            end = start + length
            if size < end:
                needed = end - at
                break
            payload = unmask(data[start:end], data[start - 4 : start])
            at = end
            opcode = first & 0xF
            if opcode >= CLOSE:
                events.append(event := _control(opcode, payload))
                if isinstance(event, Close):
                    return events, None
            elif opcode != CONTINUATION and first & 0x80:
                payload = _inflated(payload, max_message_bytes) if first & RSV1 else payload
                events.append(Message(_checked(payload, binary=binary)))
            else:
                partial = partial or Partial()
                partial.begin_or_go_on(first, payload)
                if first & 0x80:
                    payload = partial.end_message()
                    payload = _inflated(payload, max_message_bytes) if partial.compressed else payload
                    events.append(Message(_checked(payload, binary=binary)))
    except _Failure as failure:
        events.append(failure.event)
        return events, None
    return events, _keep(data, at, needed, partial)


def _keep(data: bytes, at: int, needed: int, partial: Partial | None) -> Partial | None:
    if at == len(data):
        if partial is None or not partial.in_message:
            return None
        partial.needed_bytes = 2
        return partial
    partial = partial or Partial()
    partial.hold(data[at:])
    partial.needed_bytes = needed
    return partial


def _check_header(first: int, second: int, *, deflate: bool) -> None:
    opcode = first & 0xF
    if first & 0x70 and not (deflate and first & 0x70 == RSV1 and opcode in (TEXT, BINARY)):
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
    if opcode not in _OPCODES:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "unknown opcode")
    if not second & 0x80:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a client frame is not masked")
    if opcode >= CLOSE:
        if not first & 0x80:
            raise _Failure(CloseCode.PROTOCOL_ERROR, "a control frame is fragmented")
        if second & 0x7F > MAX_CONTROL_BYTES:
            raise _Failure(CloseCode.PROTOCOL_ERROR, "a control frame is longer than 125 bytes")


def _extended_length(encoded: bytes, *, short: bool) -> int:
    length = int.from_bytes(encoded, "big")
    if length < (126 if short else 0x10000):
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a length is not encoded in the fewest bytes")
    if length >> 63:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a length has its highest bit set")
    return length


def _check_size(first: int, length: int, partial: Partial | None, *, binary: bool, max_message_bytes: int) -> None:
    opcode = first & 0xF
    if opcode >= CLOSE:
        return
    in_message = partial is not None and partial.in_message
    if (opcode == CONTINUATION) != in_message:
        text = "a message begins inside another" if in_message else "nothing to continue"
        raise _Failure(CloseCode.PROTOCOL_ERROR, text)
    if opcode != CONTINUATION and opcode != (BINARY if binary else TEXT):
        text = "this subprotocol speaks binary frames" if binary else "this subprotocol speaks text frames"
        raise _Failure(CloseCode.UNSUPPORTED_DATA, text)
    held = len(partial.fragments) if partial is not None and in_message else 0
    if held + length > max_message_bytes:
        raise _Failure(CloseCode.FRAME_TOO_LARGE, f"a message may have {max_message_bytes} bytes")


def _inflated(payload: bytes, max_message_bytes: int) -> bytes:
    try:
        return inflate(payload, max_bytes=max_message_bytes)
    except TooLargeError:
        raise _Failure(CloseCode.FRAME_TOO_LARGE, f"a message may have {max_message_bytes} bytes") from None
    except BadDeflateError:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a compressed message is damaged") from None


def _checked(payload: bytes, *, binary: bool) -> bytes:
    if not binary and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise _Failure(CloseCode.INVALID_UTF8, "a text message is not UTF-8") from None
    return payload


def _control(opcode: int, payload: bytes) -> Event:
    if opcode == PING:
        return Ping(payload)
    if opcode == PONG:
        return Pong(payload)
    if not payload:
        return Close(None, "")
    if len(payload) == 1:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a close code has two bytes")
    code = int.from_bytes(payload[:2], "big")
    if code not in _VALID_CLOSE_CODES and not 3000 <= code <= 4999:
        raise _Failure(CloseCode.PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise _Failure(CloseCode.INVALID_UTF8, "a close reason is not UTF-8") from None
