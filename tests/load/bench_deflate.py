"""Measures what compressing one frame for a whole group costs: `edge.protocol.deflate` beside zlib as it comes, chat text of words.

One frame is compressed once for all, so divide by the receivers. Ends by itself.

    python tests/load/bench_deflate.py
"""

from __future__ import annotations

import pathlib
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from edge.protocol.deflate import deflated, inflate
from edge.protocol.frames import binary_frame

SIZES = (128, 208, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
ROUNDS = 31
TEXT = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were"
    " we when your can said there use an each which she do how their if will up other about out many then them these so some her would"
)


def chat(size: int) -> bytes:
    """Messages as the edge sends them: twenty random bytes of identity, then fifteen words."""
    chance = random.Random(size)
    text = b""
    while len(text) < size:
        text += chance.randbytes(20) + " ".join(chance.choices(TEXT.split(), k=15)).encode()
    return text[:size]


def microseconds(work: Callable[[], object], times: int) -> float:
    """Median of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            work()
        rounds.append((time.thread_time() - began) / times * 1e6)
    return statistics.median(rounds)


def as_it_comes(payload: bytes) -> bytes:
    """Level 6 and the full window, as most libraries have it."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
    return compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)


def main() -> int:
    """Prints the table."""
    print("| payload bytes | compressed | deflated µs | zlib as it comes µs | inflate µs |\n| --- | --- | --- | --- | --- |")
    for size in SIZES:
        payload = chat(size)
        frame = binary_frame(payload)
        shrunk = deflated(frame)
        start = 2 if shrunk[1] < 126 else 4
        times = max(3, 40_000 // size)
        ours = microseconds(lambda: deflated(frame), times)  # noqa: B023 (called at once)
        theirs = microseconds(lambda: as_it_comes(payload), times)  # noqa: B023
        back = microseconds(lambda: inflate(shrunk[start:], max_bytes=size), times) if shrunk is not frame else 0.0  # noqa: B023
        print(f"| {size} | {len(shrunk) - start} | {ours:.0f} | {theirs:.0f} | {back:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
