"""Plain upgrades straight from the accepted socket (hop 1): in a storm Tornado's own work is most of what a handshake costs.

    accept --> peek: a plain, complete `GET /ws`? --yes--> gate --> hub
                                                  --no---> Tornado, which finds everything still unread

Nothing waits here: a request that has not come yet is Tornado's, as is any that is not plain.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

import structlog

from edge.http.admission import Refusal, UpgradeRequest
from edge.http.request_head import read_head
from edge.http.upgrade_gate import UpgradeGate

_PEEK_BYTES = 8_192
_STARTS = (b"GET /ws?", b"GET /ws ")
_END = b"\r\n\r\n"
_TOKEN_ARGUMENT = "access_token"
_log = structlog.get_logger("throng.edge.http")


class QuickUpgrades:
    """Takes accepted sockets whose upgrade request is there and plain."""

    def __init__(self, gate: UpgradeGate) -> None:
        self._gate = gate

    def take(self, sock: socket.socket) -> bool:
        """Serves an accepted socket; False: it is left as it was."""
        try:
            data = sock.recv(_PEEK_BYTES, socket.MSG_PEEK)
        except OSError:
            return False
        if not data.startswith(_STARTS) or not data.endswith(_END) or data.find(_END) != len(data) - len(_END):
            return False
        try:
            self._gate.take_turn()
            head = read_head(data)
            if head is None:
                return False
            sock.recv(len(data))
            admission = self._gate.admit(UpgradeRequest(head.headers, _arguments(head.query)))
        except Refusal as refusal:
            _refuse(sock, refusal)
            return True
        except Exception:
            _log.exception("http_request_failed", path="/ws")
            sock.close()
            return True
        self._gate.hand_over(sock, admission)
        return True


def _arguments(query: str) -> Mapping[str, Sequence[str]]:
    """Most clients name the same groups; what may hold a token is not kept."""
    if not query:
        return {}
    return _parsed(query) if _TOKEN_ARGUMENT in query or "%" in query else _known(query)


def _parsed(query: str) -> Mapping[str, Sequence[str]]:
    return parse_qs(query, keep_blank_values=True, errors="replace")


_known = functools.lru_cache(256)(_parsed)


def _refuse(sock: socket.socket, refusal: Refusal) -> None:
    """Answers as the JSON handlers do, and ends the connection."""
    body = json.dumps({"code": refusal.code.name, "text": refusal.text}, ensure_ascii=False).encode()
    lines = [
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}",
        "Content-Type: application/json; charset=utf-8",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in refusal.headers.items()),
    ]
    with contextlib.suppress(OSError):
        while sock.recv(_PEEK_BYTES):  # a close with unread bytes would take the answer back
            pass
    with contextlib.suppress(OSError):  # the client has gone
        sock.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    sock.close()
