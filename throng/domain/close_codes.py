"""WebSocket close codes: 4000-4099 reconnect with backoff, 4100-4199 with a new token, 4200-4299 not at all.

`python -m throng.domain.close_codes` prints the table as JSON; the page and docs/protocol.md are checked against it.
"""

from __future__ import annotations

import enum
import json


class Reconnect(enum.StrEnum):
    """What a client does after a close."""

    BACKOFF = "backoff"
    NEW_TOKEN = "new_token"
    NEVER = "never"


class CloseCode(enum.IntEnum):
    """Why an edge closes a connection; standard codes of RFC 6455 below 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_UTF8 = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    DRAINING = 4000
    HEARTBEAT_TIMEOUT = 4001
    IDLE_TIMEOUT = 4002
    OVERLOADED = 4003
    TOO_SLOW = 4008
    TOKEN_EXPIRED = 4100
    TOKEN_INVALID = 4101
    TOO_MANY_CONNECTIONS = 4200
    ABUSIVE = 4201
    FRAME_TOO_LARGE = 4202

    @property
    def reconnect(self) -> Reconnect:
        """The rule for clients."""
        if 4100 <= self < 4200:
            return Reconnect.NEW_TOKEN
        if self >= 4200 or self in _NEVER:
            return Reconnect.NEVER
        return Reconnect.BACKOFF


_NEVER = frozenset({CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA, CloseCode.INVALID_UTF8})

REASONS: dict[CloseCode, str] = {
    CloseCode.NORMAL: "closed by the client",
    CloseCode.GOING_AWAY: "the edge stops or the page is left",
    CloseCode.PROTOCOL_ERROR: "a frame breaks RFC 6455",
    CloseCode.UNSUPPORTED_DATA: "text on a binary subprotocol or the reverse",
    CloseCode.INVALID_UTF8: "text is not UTF-8",
    CloseCode.MESSAGE_TOO_BIG: "reserved for proxies; the edge itself uses 4202",
    CloseCode.INTERNAL_ERROR: "a defect of the edge",
    CloseCode.DRAINING: "the edge empties itself",
    CloseCode.HEARTBEAT_TIMEOUT: "a protocol ping went unanswered until the next was due",
    CloseCode.IDLE_TIMEOUT: "nothing was entered in time",
    CloseCode.OVERLOADED: "the edge is full",
    CloseCode.TOO_SLOW: "the client took nothing for 20 s",
    CloseCode.TOKEN_EXPIRED: "the token has expired",
    CloseCode.TOKEN_INVALID: "the token is not valid any more",
    CloseCode.TOO_MANY_CONNECTIONS: "the user has too many connections; the newest is refused",
    CloseCode.ABUSIVE: "too many malformed or refused requests",
    CloseCode.FRAME_TOO_LARGE: "a frame is larger than max_frame_bytes",
}


def table() -> list[dict[str, str | int]]:
    """The codes in order, each with name, rule and reason."""
    return [
        {"code": int(code), "name": code.name, "reconnect": code.reconnect.value, "reason": REASONS[code]}
        for code in sorted(CloseCode)
    ]


if __name__ == "__main__":
    print(json.dumps(table(), indent=2))
