"""A histogram that hot paths can afford: one search among a few bounds, one plain integer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class LatencyCounts:
    """Durations by upper bound. Written by one thread, read by any.

    Attributes:
        bounds: upper bounds of the buckets, seconds, rising; what is above the last goes into one bucket more.
        counts: durations per bucket, not added up; one longer than `bounds`.
        seconds: all durations together.
    """

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration, seconds; a bound belongs to the bucket that it ends."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound as Prometheus writes it, durations up to it), the last one `+Inf` with all of them."""
        total, found = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], list(self.counts), strict=True):
            total += count
            found.append((bound, float(total)))
        return found
