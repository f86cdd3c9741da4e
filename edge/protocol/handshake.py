"""The upgrade request: what makes it valid, which subprotocol is spoken, where a browser hides its token (hop 1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.protocol.deflate import choose_deflate

PROTOBUF_SUBPROTOCOL: Final = "throng.v1.protobuf"
JSON_SUBPROTOCOL: Final = "throng.v1.json"
BEARER_PREFIX: Final = "bearer."

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"


class UpgradeRefused(Exception):
    """A request that is no valid WebSocket upgrade.

    Attributes:
        status: HTTP status to answer with: 400, or 426 for another version of WebSocket.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid upgrade request.

    Attributes:
        accept: value of Sec-WebSocket-Accept.
        subprotocol: None when the client offered none of ours; refuse it.
        token: from a `bearer.<jwt>` subprotocol.
        extensions: value of Sec-WebSocket-Extensions to answer with; None: frames are not compressed.
    """

    accept: str
    subprotocol: str | None
    token: str | None
    extensions: str | None = None

    @property
    def binary(self) -> bool:
        """Whether the connection speaks binary frames."""
        return self.subprotocol == PROTOBUF_SUBPROTOCOL

    @property
    def deflate(self) -> bool:
        """Whether messages may be compressed, both ways."""
        return self.extensions is not None


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def choose_subprotocol(offered: str) -> tuple[str | None, str | None]:
    """The first of ours in a Sec-WebSocket-Protocol header, and the JWT of a `bearer.<jwt>` in it; None for what is not there."""
    chosen = token = None
    for name in (part.strip() for part in offered.split(",")):
        if chosen is None and name in (PROTOBUF_SUBPROTOCOL, JSON_SUBPROTOCOL):
            chosen = name
        elif token is None and name.startswith(BEARER_PREFIX) and len(name) > len(BEARER_PREFIX):
            token = name[len(BEARER_PREFIX) :]
    return chosen, token


def read_upgrade(method: str, headers: Mapping[str, str], *, deflate: bool = True) -> Upgrade:
    """Checks an upgrade request.

    Args:
        method: the HTTP method.
        headers: a mapping that ignores case, such as Tornado's; repeated headers are joined by commas.
        deflate: whether to accept permessage-deflate when it is offered.

    Raises:
        UpgradeRefused: with the status to answer.
    """
    if method != "GET":
        raise UpgradeRefused(400, "a WebSocket upgrade is a GET")
    if "websocket" not in _tokens(headers.get("Upgrade", "")):
        raise UpgradeRefused(400, "the Upgrade header must say websocket")
    if "upgrade" not in _tokens(headers.get("Connection", "")):
        raise UpgradeRefused(400, "the Connection header must say Upgrade")
    if headers.get("Sec-WebSocket-Version", "").strip() != _VERSION:
        raise UpgradeRefused(426, "only version 13 of WebSocket is spoken here")
    key = headers.get("Sec-WebSocket-Key", "").strip()
    if not _is_key(key):
        raise UpgradeRefused(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    subprotocol, token = choose_subprotocol(headers.get("Sec-WebSocket-Protocol", ""))
    extensions = choose_deflate(headers.get("Sec-WebSocket-Extensions", "")) if deflate else None
    return Upgrade(accept_key(key), subprotocol, token, extensions)


def upgrade_response(upgrade: Upgrade) -> bytes:
    """The 101 answer, ready to send."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {upgrade.accept}",
    ]
    if upgrade.subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {upgrade.subprotocol}")
    if upgrade.extensions is not None:
        lines.append(f"Sec-WebSocket-Extensions: {upgrade.extensions}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _tokens(header: str) -> list[str]:
    return [token.strip().lower() for token in header.split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
