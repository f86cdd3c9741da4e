"""What the parser reports, in the order in which it came."""

from __future__ import annotations

from dataclasses import dataclass

from throng.domain.close_codes import CloseCode


@dataclass(slots=True)
class Message:
    """A whole message of the kind that the connection speaks; text is checked UTF-8."""

    payload: bytes


@dataclass(slots=True)
class Ping:
    """Answer with a pong of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """The client is alive."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The client closes; answer with its code and end. `code` None: it gave none. Always the last event."""

    code: int | None
    reason: str


@dataclass(slots=True)
class Failed:
    """The client broke the protocol: close with this code and read no more. Always the last event."""

    code: CloseCode
    reason: str


Event = Message | Ping | Pong | Close | Failed
