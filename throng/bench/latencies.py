"""Latencies counted in buckets of a millisecond: bounded, mergeable, exact enough for percentiles."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

_TOP_MS = 60_000


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; all 0 when nothing was measured. A value is the end of its bucket of 1 ms; above 60 s only `max_ms` tells."""

    count: int = 0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class Latencies:
    """A histogram up to a minute; longer ones share the last bucket, and the largest is kept."""

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * (_TOP_MS + 1)))
        self._max_ns = 0

    def add(self, latency_ns: int) -> None:
        """Counts one, in nanoseconds."""
        place = latency_ns // 1_000_000
        self._buckets[place if 0 <= place < _TOP_MS else (_TOP_MS if place > 0 else 0)] += 1
        if latency_ns > self._max_ns:
            self._max_ns = latency_ns

    def pack(self) -> tuple[dict[int, int], int]:
        """What another process can merge."""
        return {place: count for place, count in enumerate(self._buckets) if count}, self._max_ns

    def merge(self, packed: tuple[dict[int, int], int]) -> None:
        """Adds what another process counted."""
        for place, count in packed[0].items():
            self._buckets[place] += count
        self._max_ns = max(self._max_ns, packed[1])

    def percentiles(self) -> Percentiles:
        """The percentiles of all that was counted."""
        count = sum(self._buckets)
        if not count:
            return Percentiles()
        largest = self._max_ns / 1e6
        found = [min(self._at(count * part), largest) for part in (0.5, 0.9, 0.99)]
        p50, p90, p99 = (round(value, 3) for value in found)
        return Percentiles(count, p50, p90, p99, round(largest, 3))

    def _at(self, rank: float) -> float:
        seen = 0
        for place, bucket in enumerate(self._buckets):
            seen += bucket
            if bucket and seen >= rank:
                return float("inf") if place == _TOP_MS else place + 1.0
        return float("inf")
