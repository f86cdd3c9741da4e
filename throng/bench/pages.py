"""What the judge keeps of messages: a digest and the time of writing, and what a text of its own looks like."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

TEXT_MARK = "throng-bench"
MIN_TEXT_BYTES = 120


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages as they came in one frame, a block or an answer.

    Attributes:
        group_id: the group that the frame names.
        epoch: epoch of all seqs.
        after_seq: seq just before the first message, as the frame says.
        last_seq: seq of the last message; `after_seq` when there is none.
        digests: one per message, in the order of the frame.
        created_ns: per message when its sender wrote it (the machine's monotonic clock); 0: not one of this run.
        flaw: why the frame breaks the protocol by itself; empty when it does not.
        foreign: seqs of messages in it that this run wrote to another group.
    """

    group_id: str
    epoch: int
    after_seq: int
    last_seq: int
    digests: tuple[int, ...] = ()
    created_ns: tuple[int, ...] = ()
    flaw: str = ""
    foreign: tuple[int, ...] = ()


class OwnText(NamedTuple):
    """What a text of a bench says."""

    run_id: str
    group_id: str
    created_ns: int


def make_text(run_id: str, group_id: str, number: int, created_ns: int, text_bytes: int) -> str:
    """A text that says whose it is; padded to `text_bytes` when that is more than it needs."""
    return f"{TEXT_MARK} {run_id} {group_id} {number} {created_ns} ".ljust(text_bytes, "x")


def read_text(text: str) -> OwnText | None:
    """What a text says; None when no bench wrote it."""
    if not text.startswith(TEXT_MARK):
        return None
    parts = text.split(" ", 5)
    if len(parts) < 5 or not parts[4].isdecimal():
        return None
    return OwnText(parts[1], parts[2], int(parts[4]))


def digest(sender_id: str, client_msg_id: str, text: str) -> int:
    """64 bits that stand for a message; never 0."""
    data = f"{sender_id}\0{client_msg_id}\0{text}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


def flaw_of(after_seq: int, seqs: list[int]) -> str:
    """Why seqs are not `after_seq` + 1, + 2 and so on; empty when they are."""
    for place, seq in enumerate(seqs, 1):
        if seq != after_seq + place:
            return f"seq {seq} stands where {after_seq + place} belongs, after {after_seq}"
    return ""
