"""The upgrade request."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from edge.protocol.handshake import UpgradeRefused, accept_key, choose_subprotocol, read_upgrade, upgrade_response

GOOD = {
    "Upgrade": "WebSocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "bearer.aaa.bbb.ccc, throng.v1.protobuf",
}


def test_the_example_of_the_rfc():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_good_request_gives_key_subprotocol_and_token():
    upgrade = read_upgrade("GET", HTTPHeaders(GOOD))
    assert (upgrade.subprotocol, upgrade.token, upgrade.binary) == ("throng.v1.protobuf", "aaa.bbb.ccc", True)
    answer = upgrade_response(upgrade)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"Sec-WebSocket-Protocol: throng.v1.protobuf\r\n\r\n")
    assert b"aaa" not in answer


@pytest.mark.parametrize(
    ("offered", "chosen", "token"),
    [
        ("throng.v1.json", "throng.v1.json", None),
        ("throng.v1.json, throng.v1.protobuf", "throng.v1.json", None),
        ("chat, bearer.", None, None),
        ("", None, None),
        ("bearer.x,throng.v1.json,bearer.y", "throng.v1.json", "x"),
    ],
)
def test_subprotocol_is_the_clients_first_that_is_ours(offered, chosen, token):
    assert choose_subprotocol(offered) == (chosen, token)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Upgrade", "h2c", 400),
        ("Connection", "close", 400),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Key", "c2hvcnQ=", 400),
        ("Sec-WebSocket-Key", "*", 400),
    ],
)
def test_a_bad_header_is_refused_with_its_status(name, value, status):
    with pytest.raises(UpgradeRefused) as refused:
        read_upgrade("GET", HTTPHeaders({**GOOD, name: value}))
    assert refused.value.status == status


def test_only_get():
    with pytest.raises(UpgradeRefused):
        read_upgrade("POST", HTTPHeaders(GOOD))
