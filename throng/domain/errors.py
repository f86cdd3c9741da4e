"""The closed list of error codes (same names and numbers as throng.common.v1.ErrorCode) and the exception that carries them.

ThrongError    code, text for people, retry_after_ms, fields; the cause is chained
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class ErrorCode(enum.IntEnum):
    """Why something was refused; docs/protocol.md gives each code's rule for clients."""

    INVALID_ARGUMENT = 1
    MALFORMED_FRAME = 2
    UNAUTHENTICATED = 3
    PERMISSION_DENIED = 4
    NOT_A_MEMBER = 5
    GROUP_NOT_FOUND = 6
    GROUP_EXISTS = 7
    MUTED = 8
    TOO_LARGE = 9
    EMPTY_MESSAGE = 10
    BLOCKED_CONTENT = 11
    RATE_LIMITED = 12
    GROUP_BUSY = 13
    CLIENT_MSG_ID_REUSED = 14
    EPOCH_MISMATCH = 15
    MESSAGE_NOT_FOUND = 16
    LIMIT_EXCEEDED = 17
    UNAVAILABLE = 18
    DEADLINE_EXCEEDED = 19
    INTERNAL = 20
    NOT_ENTERED = 21
    CONFLICT = 22

    @property
    def retryable(self) -> bool:
        """The same request, with the same ids, may succeed later."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        ErrorCode.MUTED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.GROUP_BUSY,
        ErrorCode.UNAVAILABLE,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.INTERNAL,
    }
)


class ThrongError(Exception):
    """A refusal with a code from the closed list.

    Attributes:
        code: why.
        text: one sentence for people, in English, without secrets and without message bodies.
        retry_after_ms: milliseconds after which a retry makes sense; 0: see the code's rule.
        fields: what it is about, such as `field`, `group_id`, `limit`.
    """

    def __init__(
        self,
        code: ErrorCode,
        text: str,
        *,
        retry_after_ms: int = 0,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text
        self.retry_after_ms = retry_after_ms
        self.fields: Mapping[str, str] = dict(fields or {})

    @property
    def retryable(self) -> bool:
        """The same request, with the same ids, may succeed later."""
        return self.code.retryable


def unavailable(text: str, *, retry_after_ms: int = 1000) -> ThrongError:
    """Makes the error for a part that is away or full."""
    return ThrongError(ErrorCode.UNAVAILABLE, text, retry_after_ms=retry_after_ms)
