"""Cuts ranges to what one answer may hold: a larger one would fill a client's outbox."""

from __future__ import annotations

from edge.core.range_reader import Range


def oldest_within(page: Range, max_messages: int, max_bytes: int) -> Range:
    """The first messages that fit, at least one; the client pulls the rest."""
    messages = page.messages[:max_messages]
    kept = _fitting(messages, max_bytes)
    return Range(page.after_seq, messages[:kept])


def newest_within(page: Range, max_messages: int, max_bytes: int) -> Range:
    """The last messages that fit, at least one; what lies before is history."""
    messages = page.messages[-max_messages:]
    kept = _fitting(messages[::-1], max_bytes)
    cut = len(page.messages) - kept
    return Range(page.after_seq + cut, page.messages[cut:])


def _fitting(messages: list[bytes], max_bytes: int) -> int:
    size = 0
    for count, message in enumerate(messages):
        size += len(message)
        if size > max_bytes and count:
            return count
    return len(messages)
