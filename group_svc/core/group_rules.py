"""What groups, members and pages may be; pure."""

from __future__ import annotations

from collections.abc import Sequence

from throng.domain import limits
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import GroupSettings

MAX_SEQ = 2**53
"""Larger seqs cannot exist: pages and Redis count in doubles."""

_RANGES = {
    "send_interval_ms": limits.MAX_SEND_INTERVAL_MS,
    "budget_per_second": limits.MAX_BUDGET_PER_SECOND,
    "block_max_messages": limits.MAX_BLOCK_MESSAGES,
    "block_interval_ms": limits.MAX_BLOCK_INTERVAL_MS,
}


def check_settings(settings: GroupSettings) -> GroupSettings:
    """Returns the settings.

    Raises:
        ThrongError: INVALID_ARGUMENT that names the field that is out of range.
    """
    for name, most in _RANGES.items():
        if not 0 <= getattr(settings, name) <= most:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{name} must be 0 to {most}", fields={"field": name, "limit": str(most)})
    return settings


def check_length(text: str, field: str, most: int) -> str:
    """Returns the text.

    Raises:
        ThrongError: TOO_LARGE when it has more than `most` characters.
    """
    if len(text) > most:
        raise ThrongError(
            ErrorCode.TOO_LARGE, f"{field} may have at most {most} characters", fields={"field": field, "limit": str(most)}
        )
    return text


def page_limit(asked: int, *, default: int, most: int) -> int:
    """The limit in force; 0 asks for the default.

    Raises:
        ThrongError: LIMIT_EXCEEDED above `most`.
    """
    if asked > most:
        raise ThrongError(ErrorCode.LIMIT_EXCEEDED, f"limit may be at most {most}", fields={"field": "limit", "limit": str(most)})
    return asked or default


def check_count(items: Sequence[object], field: str) -> None:
    """Refuses an empty list and one longer than `limits.CHANGES_MAX`.

    Raises:
        ThrongError: INVALID_ARGUMENT or LIMIT_EXCEEDED.
    """
    if not items:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{field} must not be empty", fields={"field": field})
    if len(items) > limits.CHANGES_MAX:
        raise ThrongError(
            ErrorCode.LIMIT_EXCEEDED,
            f"{field} may have at most {limits.CHANGES_MAX} entries",
            fields={"field": field, "limit": str(limits.CHANGES_MAX)},
        )


def check_seq(seq: int, field: str) -> int:
    """Returns the seq.

    Raises:
        ThrongError: INVALID_ARGUMENT when no message can ever have it.
    """
    if seq > MAX_SEQ:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{field} is beyond any seq", fields={"field": field})
    return seq


def check_time_ms(time_ms: int, field: str) -> int:
    """Returns the time.

    Raises:
        ThrongError: INVALID_ARGUMENT when it is negative or beyond any calendar.
    """
    if not 0 <= time_ms <= MAX_SEQ:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{field} is no time", fields={"field": field})
    return time_ms
