"""The plain head of an upgrade: read as Tornado reads it, or left to Tornado."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError, parse_request_start_line

from edge.http.request_head import read_head

PLAIN = b"GET /ws?groups=a,b&delivery=inline HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nsec-WebSocket-Key:  k== \r\n\r\n"


def test_a_plain_head_is_read() -> None:
    head = read_head(PLAIN)
    assert head is not None
    assert (head.path, head.query) == ("/ws", "groups=a,b&delivery=inline")
    assert head.headers.get("Sec-WebSocket-Key", "") == head.headers["SEC-WEBSOCKET-KEY"] == "k=="
    assert head.headers.get("Origin", "none") == "none"
    assert sorted(head.headers) == ["host", "sec-websocket-key", "upgrade"]
    assert len(head.headers) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET ", b"POST "),
        (b"GET ", b"GET  "),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"HTTP/2"),
        (b"Host: h:1\r\n", b""),
        (b"Host: h:1\r\n", b"Host: h:1\r\nhost: h:2\r\n"),
        (b"Host: h:1\r\n", b"Host : h:1\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\n folded\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\nContent-Length: 3\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\nTransfer-Encoding: chunked\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\nX: \xe9\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\nX: \x00\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\nno colon\r\n"),
        (b"Host: h:1\r\n", b"Host: h:1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(60))),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\nbehind"),
    ],
)
def test_what_is_not_plain_is_left_to_tornado(old: bytes, new: bytes) -> None:
    assert read_head(PLAIN.replace(old, new, 1)) is None


@given(st.lists(st.tuples(st.sampled_from(PLAIN.split(b"\r\n")), st.binary(max_size=6)), max_size=8), st.binary(max_size=4))
def test_whatever_is_read_tornado_reads_alike(lines: list[tuple[bytes, bytes]], tail: bytes) -> None:
    """Two readers that differ are how requests are smuggled."""
    data = PLAIN[:-2] + b"".join(line + extra + b"\r\n" for line, extra in lines) + tail + b"\r\n\r\n"
    head = read_head(data)
    if head is None:
        return
    text = data.decode("latin-1")
    start, _, rest = text.partition("\r\n")
    try:
        line, headers = parse_request_start_line(start), HTTPHeaders.parse(rest)
    except HTTPInputError:
        raise AssertionError(f"Tornado refuses {data!r}") from None
    assert line.path == f"{head.path}?{head.query}"
    assert {name.lower(): value for name, value in headers.get_all()} == dict(head.headers)
