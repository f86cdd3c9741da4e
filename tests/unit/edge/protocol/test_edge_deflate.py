"""permessage-deflate: what is negotiated, what goes out, what comes in; wsproto is the other side."""

from __future__ import annotations

import os
import zlib

import pytest
from tornado.httputil import HTTPHeaders
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from edge.protocol.deflate import (
    MAX_BYTES,
    MIN_BYTES,
    BadDeflateError,
    TooLargeError,
    choose_deflate,
    deflated,
    inflate,
)
from edge.protocol.events import Failed, Message
from edge.protocol.events import Ping as PingEvent
from edge.protocol.frames import binary_frame, text_frame
from edge.protocol.handshake import read_upgrade, upgrade_response
from edge.protocol.parser import parse
from throng.domain.close_codes import CloseCode

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"


def deflate(message: bytes, *, bits: int = -15) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, bits)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", None),
        ("permessage-deflate", PLAIN),
        ("permessage-deflate; client_max_window_bits", PLAIN),
        ('permessage-deflate; client_max_window_bits="12"; server_no_context_takeover', PLAIN),
        ("x-webkit-deflate-frame, permessage-deflate;client_no_context_takeover", PLAIN),
        ("permessage-deflate; server_max_window_bits=15", PLAIN + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", PLAIN),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; unknown", None),
        ('permessage-deflate; a="x, permessage-deflate', None),
        ('other; a="x, permessage-deflate", permessage-deflate', PLAIN),
        ("PERMESSAGE-DEFLATES", None),
    ],
)
def test_the_first_offer_that_can_be_kept_is_taken(offer: str, answer: str | None) -> None:
    assert choose_deflate(offer) == answer


@pytest.mark.parametrize("size", [MIN_BYTES, 200, 4_096, 4_097, MAX_BYTES])
@pytest.mark.parametrize("make", [binary_frame, text_frame])
def test_a_frame_is_compressed_and_says_so(size: int, make) -> None:
    message = (b"hello everybody in here %d " * (size // 20 + 1))[:size]
    frame = deflated(make(message))
    assert frame[0] == make(b"")[0] | 0x40
    assert len(frame) < size
    start = 2 if frame[1] < 126 else 4
    assert zlib.decompressobj(-15).decompress(frame[start:] + TAIL) == message


@pytest.mark.parametrize("message", [b"", b"a" * (MIN_BYTES - 1), b"a" * (MAX_BYTES + 1), b"a" * 70_000, os.urandom(500)])
def test_what_does_not_pay_stays_as_it_is(message: bytes) -> None:
    frame = binary_frame(message)
    assert deflated(frame) is frame


@pytest.mark.parametrize("bits", [-9, -15])
def test_a_message_is_inflated_up_to_its_bound(bits: int) -> None:
    message = b"abc" * 1_000
    assert inflate(deflate(message, bits=bits), max_bytes=3_000) == message
    with pytest.raises(TooLargeError):
        inflate(deflate(message), max_bytes=2_999)
    assert inflate(deflate(b""), max_bytes=0) == b""


def test_a_bomb_is_not_unpacked() -> None:
    bomb = deflate(bytes(50_000_000))
    assert len(bomb) < 65_536
    with pytest.raises(TooLargeError):
        inflate(bomb, max_bytes=65_536)


def test_a_last_block_of_the_client_may_end_the_data_and_nothing_may_follow() -> None:
    """RFC 7692, 7.2.3.4: a block with BFINAL, then an empty one."""
    hello = bytes.fromhex("f348cdc9c90700")
    assert inflate(hello + b"\x00", max_bytes=10) == b"Hello"
    assert inflate(hello, max_bytes=10) == b"Hello"
    with pytest.raises(BadDeflateError):
        inflate(hello + b"\x00more", max_bytes=10)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", deflate(os.urandom(300))[:-50], b"\x01", deflate(b"x" * 300) + b"\x07"])
def test_damaged_data_is_told(payload: bytes) -> None:
    with pytest.raises(BadDeflateError):
        inflate(payload, max_bytes=1_000)


def speak(offer: list[PerMessageDeflate]) -> tuple[WSConnection, str | None, bool]:
    """A client of wsproto after its handshake with ours; with what was answered, and whether it is on."""
    client = WSConnection(ConnectionType.CLIENT)
    request = client.send(Request(host="edge", target="/ws", subprotocols=["throng.v1.protobuf"], extensions=offer))
    headers = HTTPHeaders.parse(request.split(b"\r\n", 1)[1].decode())
    upgrade = read_upgrade("GET", headers)
    client.receive_data(upgrade_response(upgrade))
    (accepted,) = client.events()
    assert isinstance(accepted, AcceptConnection)
    return client, upgrade.extensions, upgrade.deflate


def test_with_wsproto_both_ways() -> None:
    client, answer, on = speak([PerMessageDeflate()])
    assert on
    assert answer is not None
    assert answer.startswith(PLAIN)
    messages = [b"one message " * 50, b"short", b"another message " * 300, b"y" * 126]
    client.receive_data(b"".join(deflated(binary_frame(message)) for message in messages))
    assert [bytes(event.data) for event in client.events() if isinstance(event, BytesMessage)] == messages
    sent = b"".join(client.send(BytesMessage(data=message)) for message in messages)
    events, partial = parse(sent, None, binary=True, max_message_bytes=65_536, deflate=True)
    assert (events, partial) == ([Message(message) for message in messages], None)


def test_fragments_of_a_compressed_message_and_a_ping_between_them() -> None:
    client, _, _ = speak([PerMessageDeflate()])
    message = "chat " * 100
    sent = client.send(TextMessage(data=message[:100], message_finished=False))
    sent += client.send(Ping(payload=b"p")) + client.send(TextMessage(data=message[100:]))
    partial, events = None, []
    for at in range(len(sent)):
        new, partial = parse(sent[at : at + 1], partial, binary=False, max_message_bytes=1_000, deflate=True)
        events += new
    assert events == [PingEvent(b"p"), Message(message.encode())]
    assert partial is None


def masked(first: int, payload: bytes) -> bytes:
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


@pytest.mark.parametrize(
    ("data", "deflate_on", "code"),
    [
        (masked(0xC2, deflate(b"x")), False, CloseCode.PROTOCOL_ERROR),
        (masked(0xA2, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (masked(0xE2, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (masked(0xC9, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (masked(0x02, b"x") + masked(0xC0, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (masked(0xC2, b"\xff\xff"), True, CloseCode.PROTOCOL_ERROR),
        (masked(0xC2, deflate(bytes(2_000))), True, CloseCode.FRAME_TOO_LARGE),
        (masked(0x42, deflate(bytes(2_000))) + masked(0x80, b""), True, CloseCode.FRAME_TOO_LARGE),
    ],
)
def test_what_breaks_the_rules_has_its_code(data: bytes, deflate_on: bool, code: CloseCode) -> None:
    events, partial = parse(data, None, binary=True, max_message_bytes=1_000, deflate=deflate_on)
    assert isinstance(events[-1], Failed)
    assert (events[-1].code, partial) == (code, None)


def test_inflated_text_is_checked() -> None:
    (event,), _ = parse(masked(0xC1, deflate(b"\xff")), None, binary=False, max_message_bytes=100, deflate=True)
    assert isinstance(event, Failed)
    assert event.code is CloseCode.INVALID_UTF8


def test_plain_messages_are_still_read_where_compression_was_negotiated() -> None:
    assert parse(masked(0x82, b"plain"), None, binary=True, max_message_bytes=100, deflate=True)[0] == [Message(b"plain")]
    first, partial = parse(masked(0x42, deflate(b"ab")), None, binary=True, max_message_bytes=100, deflate=True)
    rest, partial = parse(masked(0x80, b"") + masked(0x02, b"p"), partial, binary=True, max_message_bytes=100, deflate=True)
    last, partial = parse(masked(0x80, b"q"), partial, binary=True, max_message_bytes=100, deflate=True)
    assert (first, rest, last, partial) == ([], [Message(b"ab")], [Message(b"pq")], None)
