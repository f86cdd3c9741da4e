"""The parser of client frames: what RFC 6455 allows, what it forbids, and that cuts between reads change nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from edge.protocol.events import Close, Event, Failed, Message, Ping, Pong
from edge.protocol.masking import unmask
from edge.protocol.parser import Partial, parse
from throng.domain.close_codes import CloseCode

MASK = b"\x11\x22\x33\x44"


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK) -> bytes:
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def parse_pieces(pieces: list[bytes], *, binary: bool = True, limit: int = 65_536) -> tuple[list[Event], Partial | None]:
    events: list[Event] = []
    partial: Partial | None = None
    for piece in pieces:
        new, partial = parse(piece, partial, binary=binary, max_message_bytes=limit)
        events += new
        if events and isinstance(events[-1], Close | Failed):
            break
    return events, partial


def failure(data: bytes, *, binary: bool = True, limit: int = 65_536) -> CloseCode:
    events, partial = parse(data, None, binary=binary, max_message_bytes=limit)
    assert partial is None
    assert isinstance(events[-1], Failed)
    return events[-1].code


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 4_096, 65_535, 65_536, 70_000])
def test_a_whole_message_of_any_length_form_leaves_no_state(size):
    payload = bytes(i % 251 for i in range(size))
    assert parse(client_frame(2, payload), None, binary=True, max_message_bytes=70_000) == ([Message(payload)], None)


def test_several_frames_in_one_read_come_in_order():
    data = client_frame(2, b"a") + client_frame(9, b"p") + client_frame(10, b"q") + client_frame(2, b"b")
    assert parse_pieces([data]) == ([Message(b"a"), Ping(b"p"), Pong(b"q"), Message(b"b")], None)


def test_control_frames_may_come_between_fragments():
    data = client_frame(2, b"a", fin=False) + client_frame(9, b"p") + client_frame(0, b"", fin=False) + client_frame(0, b"b")
    assert parse_pieces([data]) == ([Ping(b"p"), Message(b"ab")], None)


def test_fragments_are_kept_between_reads_and_then_forgotten():
    events, partial = parse_pieces([client_frame(2, b"a", fin=False)])
    assert events == []
    assert partial is not None
    events, partial = parse(client_frame(0, b"b"), partial, binary=True, max_message_bytes=10)
    assert (events, partial) == ([Message(b"ab")], None)


def test_text_is_checked_over_its_fragments():
    euro = "€".encode()
    assert parse_pieces([client_frame(1, euro[:1], fin=False) + client_frame(0, euro[1:])], binary=False)[0] == [Message(euro)]
    assert failure(client_frame(1, euro[:2]), binary=False) is CloseCode.INVALID_UTF8
    assert failure(client_frame(1, b"\xed\xa0\x80"), binary=False) is CloseCode.INVALID_UTF8


@pytest.mark.parametrize(
    ("data", "binary", "code"),
    [
        (client_frame(2, b"x", rsv=4), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(2, b"x", rsv=1), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(3, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(11, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (b"\x82\x01x", True, CloseCode.PROTOCOL_ERROR),
        (client_frame(9, b"x", fin=False), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(9, b"x" * 126), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(0, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(2, b"x", fin=False) + client_frame(2, b"y"), True, CloseCode.PROTOCOL_ERROR),
        (b"\x82\xfe\x00\x05" + MASK + b"xxxxx", True, CloseCode.PROTOCOL_ERROR),
        (b"\x82\xff" + (65_535).to_bytes(8, "big") + MASK, True, CloseCode.PROTOCOL_ERROR),
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + MASK, True, CloseCode.PROTOCOL_ERROR),
        (client_frame(1, b"x"), True, CloseCode.UNSUPPORTED_DATA),
        (client_frame(2, b"x"), False, CloseCode.UNSUPPORTED_DATA),
        (client_frame(8, b"x"), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(8, (1005).to_bytes(2, "big")), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(8, (999).to_bytes(2, "big")), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(8, (5000).to_bytes(2, "big")), True, CloseCode.PROTOCOL_ERROR),
        (client_frame(8, (1000).to_bytes(2, "big") + b"\xff"), True, CloseCode.INVALID_UTF8),
    ],
)
def test_what_breaks_the_protocol_has_its_code(data, binary, code):
    assert failure(data, binary=binary) is code


def test_a_frame_above_the_limit_is_refused_by_its_header_alone():
    header_only = client_frame(2, b"x" * 101)[:6]
    assert failure(header_only, limit=100) is CloseCode.FRAME_TOO_LARGE
    assert failure(client_frame(2, b"x" * 60, fin=False) + client_frame(0, b"x" * 41), limit=100) is CloseCode.FRAME_TOO_LARGE
    assert parse_pieces([client_frame(2, b"x" * 60, fin=False) + client_frame(0, b"x" * 40)], limit=100)[0] == [Message(b"x" * 100)]


def test_events_before_a_failure_still_count_and_nothing_after_it():
    events, partial = parse_pieces([client_frame(2, b"a") + client_frame(3) + client_frame(2, b"b")])
    assert events[0] == Message(b"a")
    assert isinstance(events[1], Failed)
    assert (len(events), partial) == (2, None)


def test_close_without_code_and_with():
    assert parse_pieces([client_frame(8)])[0] == [Close(None, "")]
    assert parse_pieces([client_frame(8, struct.pack(">H", 4001) + "où".encode())])[0] == [Close(4001, "où")]
    assert parse_pieces([client_frame(8) + client_frame(2, b"late")])[0] == [Close(None, "")]


def test_byte_by_byte_gives_the_same():
    data = client_frame(2, b"a" * 300, fin=False) + client_frame(9, b"p") + client_frame(0, b"b" * 200) + client_frame(8)
    assert parse_pieces([bytes((byte,)) for byte in data]) == (
        [Ping(b"p"), Message(b"a" * 300 + b"b" * 200), Close(None, "")],
        None,
    )


@given(st.binary(max_size=600), st.binary(min_size=4, max_size=4))
def test_unmask_is_the_xor_of_the_rfc(payload, mask):
    assert unmask(payload, mask) == bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


# Text is ASCII here: wsproto decodes fragment by fragment and fails earlier than a check at the end of the message does.
ascii_bytes = st.binary(max_size=140).map(lambda data: bytes(byte & 0x7F for byte in data))
data_frames = st.tuples(st.sampled_from([0, 1, 2, 2, 1]), ascii_bytes, st.booleans())
other_frames = st.tuples(st.sampled_from([3, 8, 9, 10, 9, 10]), st.binary(max_size=140), st.booleans())
frames = st.lists(
    st.one_of(data_frames, data_frames, other_frames).map(lambda drawn: client_frame(drawn[0], drawn[1], fin=drawn[2])), max_size=6
)


def _wsproto_outcome(data: bytes, *, binary: bool) -> tuple[list[tuple[str, bytes | int | None]], str | None]:
    """Messages and control frames that wsproto sees until it fails, and in what way it does."""
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    seen: list[tuple[str, bytes | int | None]] = []
    message = bytearray()
    try:
        for frame in protocol.received_frames():
            if frame.opcode is Opcode.PING:
                seen.append(("ping", bytes(frame.payload)))
            elif frame.opcode is Opcode.PONG:
                seen.append(("pong", bytes(frame.payload)))
            elif frame.opcode is Opcode.CLOSE:
                code = frame.payload[0]
                seen.append(("close", None if code == CloseReason.NO_STATUS_RCVD else int(code)))
                return seen, None
            else:
                if (frame.opcode is Opcode.BINARY) != binary:
                    return seen, "kind"
                message += frame.payload if isinstance(frame.payload, bytes | bytearray) else frame.payload.encode()
                if frame.message_finished:
                    seen.append(("message", bytes(message)))
                    message.clear()
    except Exception:
        return seen, "failed"
    return seen, None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames, st.booleans(), st.data())
def test_random_frames_mean_what_wsproto_takes_them_for(pieces, binary, data):
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    split = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events, _ = parse_pieces(split, binary=binary)
    ours: list[tuple[str, bytes | int | None]] = []
    failed = None
    for event in events:
        match event:
            case Message(payload):
                ours.append(("message", payload))
            case Ping(payload):
                ours.append(("ping", payload))
            case Pong(payload):
                ours.append(("pong", payload))
            case Close(code):
                ours.append(("close", code))
            case Failed(code):
                failed = code
    theirs, error = _wsproto_outcome(stream, binary=binary)
    assert ours == theirs[: len(ours)]
    if failed is None:
        assert (theirs, error) == (ours, None)
    else:
        # wsproto allows some close codes that may not be sent.
        assert error is not None or theirs[len(ours) :]
