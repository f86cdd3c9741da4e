"""How many messages per second a group accepts in all: one token bucket per group (hop 4)."""

from __future__ import annotations

import collections
import math

from throng.domain.ids import GroupId


class Budgets:
    """Token buckets that hold one second's worth, for the newest `max_groups` groups. Not locked: see `RateLimits`."""

    def __init__(self, *, max_groups: int = 50_000) -> None:
        self._max_groups = max_groups
        self._buckets: collections.OrderedDict[GroupId, tuple[float, float]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, group_id: GroupId, *, per_second: int, now_seconds: float) -> int:
        """Takes one token: 0. When there is none, milliseconds until there will be one, and nothing is taken."""
        if per_second <= 0:
            return 0
        tokens, updated_at = self._buckets.pop(group_id, (float(per_second), now_seconds))
        tokens = min(float(per_second), tokens + max(now_seconds - updated_at, 0.0) * per_second)
        wait_ms = 0 if tokens >= 1.0 else max(1, math.ceil((1.0 - tokens) * 1000 / per_second))
        self._buckets[group_id] = (tokens if wait_ms else tokens - 1.0, now_seconds)
        if len(self._buckets) > self._max_groups:
            self._buckets.popitem(last=False)
        return wait_ms

    def give_back(self, group_id: GroupId) -> None:
        """Returns a token that was taken for nothing."""
        bucket = self._buckets.get(group_id)
        if bucket is not None:
            self._buckets[group_id] = (bucket[0] + 1.0, bucket[1])
