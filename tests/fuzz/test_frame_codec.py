"""Whatever bytes come, cut wherever, the parser returns documented events and bounded state, and raises nothing."""

from __future__ import annotations

import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.protocol.deflate import BadDeflateError, TooLargeError, choose_deflate, deflated, inflate
from edge.protocol.events import Close, Failed, Message, Ping, Pong
from edge.protocol.frames import binary_frame
from edge.protocol.handshake import UpgradeRefused, read_upgrade
from edge.protocol.parser import parse
from throng.domain.close_codes import CloseCode

LIMIT = 200
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with other tests."""
DOCUMENTED = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_UTF8, CloseCode.UNSUPPORTED_DATA, CloseCode.FRAME_TOO_LARGE}

first_bytes = st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC2, 0xC1, 0x42, 0x41])


def _deflate(message: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


deflated_payloads = st.one_of(
    st.binary(max_size=60).map(_deflate),
    st.integers(0, 5_000).map(lambda size: _deflate(bytes(size))),
    st.tuples(st.binary(max_size=60).map(_deflate), st.integers(0, 59), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
)
likely_bytes = st.one_of(
    deflated_payloads.map(lambda payload: bytes((0xC2, 0x80 | min(len(payload), 125))) + bytes(4) + payload[:125]),
    st.binary(max_size=40),
    st.tuples(first_bytes, st.integers(0, 255), st.binary(max_size=150)).map(lambda parts: bytes(parts[:2]) + parts[2]),
    st.tuples(first_bytes, st.binary(max_size=125)).map(
        lambda parts: bytes((parts[0], 0x80 | len(parts[1]))) + bytes(4) + parts[1]
    ),
)


@settings(BUSY, max_examples=1_000)
@given(st.lists(likely_bytes, max_size=8), st.booleans(), st.booleans())
def test_only_documented_results_come_out(pieces, binary, deflate):
    partial = None
    for piece in pieces:
        events, partial = parse(piece, partial, binary=binary, max_message_bytes=LIMIT, deflate=deflate)
        for event in events[:-1]:
            assert isinstance(event, Message | Ping | Pong)
        for event in events:
            if isinstance(event, Message):
                assert len(event.payload) <= LIMIT
                assert binary or event.payload.decode() is not None
        if events and isinstance(events[-1], Failed):
            assert events[-1].code in DOCUMENTED
        if events and isinstance(events[-1], Failed | Close):
            assert partial is None
            return
        if partial is not None:
            assert len(partial.fragments) <= LIMIT
            assert partial.held_bytes <= LIMIT + 14


@settings(BUSY, max_examples=300)
@given(st.lists(st.binary(max_size=60) | likely_bytes, max_size=8), st.booleans(), st.booleans())
def test_cuts_do_not_change_the_outcome(pieces, binary, deflate):
    whole, _ = parse(b"".join(pieces), None, binary=binary, max_message_bytes=LIMIT, deflate=deflate)
    events, partial = [], None
    for piece in pieces:
        new, partial = parse(piece, partial, binary=binary, max_message_bytes=LIMIT, deflate=deflate)
        events += new
        if events and isinstance(events[-1], Failed | Close):
            break
    assert events == whole


@settings(BUSY, max_examples=300)
@given(deflated_payloads | st.binary(max_size=80), st.integers(0, 300))
def test_inflating_gives_a_bounded_message_or_a_documented_error(payload, limit):
    try:
        message = inflate(payload, max_bytes=limit)
    except (BadDeflateError, TooLargeError):
        return
    assert len(message) <= limit
    assert zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") == message


@settings(BUSY, max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 200))
def test_compressed_frames_hold_what_was_put_in_and_are_never_longer(piece, times):
    message = (piece * times)[:70_000]
    frame = binary_frame(message)
    shrunk = deflated(frame)
    assert len(shrunk) <= len(frame)
    if shrunk is not frame:
        start = 2 if shrunk[1] < 126 else 4
        assert len(shrunk) - start == (shrunk[1] if shrunk[1] < 126 else int.from_bytes(shrunk[2:4], "big"))
        assert inflate(shrunk[start:], max_bytes=len(message)) == message


@settings(BUSY, max_examples=300)
@given(st.text('permessage-deflate;,="_ 159windowbitsclientserverno', max_size=80) | st.text(max_size=20))
def test_any_offer_is_taken_or_passed_over(offer):
    answer = choose_deflate(offer)
    assert answer is None or answer.startswith("permessage-deflate; ")


header_names = st.sampled_from(["Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"])
header_values = st.one_of(
    st.binary(max_size=30).map(lambda data: data.decode("latin-1")),
    st.sampled_from(["websocket", "Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ=="]),
)


@settings(BUSY)
@given(st.sampled_from(["GET", "POST"]), st.dictionaries(header_names, header_values))
def test_upgrade_requests_are_taken_or_refused(method, headers):
    refused_with = None
    try:
        upgrade = read_upgrade(method, headers)
    except UpgradeRefused as refused:
        refused_with = refused.status
    else:
        assert upgrade.accept
    assert refused_with in (None, 400, 426)
