"""How many messages per second a group accepts in all: two token buckets per group (hop 4)."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass

from throng.domain.ids import GroupId
from throng.domain.limits import HIGH_RESERVE_PERCENT

MAX_LAG_SECONDS = 15.0
"""What waited longer was answered with DEADLINE_EXCEEDED; an edge whose clock is behind gets no larger burst than this."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    reserve: float
    filled_at: float


class Budgets:
    """Buckets that hold one second's worth, for the newest `max_groups` groups. Not locked: see `RateLimits`.

    The second bucket is a reserve for the HIGH lane, on top of the budget. What waited in the log has come in over a longer time
    than it takes to check it: a bucket then holds the waiting time's worth more, so that a backlog which edges let in within the
    budget is not refused here.
    """

    def __init__(self, *, max_groups: int = 50_000) -> None:
        self._max_groups = max_groups
        self._buckets: collections.OrderedDict[GroupId, _Bucket] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, group_id: GroupId, *, per_second: int, now_seconds: float, high: bool = False, lag_seconds: float = 0.0) -> int:
        """Takes one token: 0. When there is none, milliseconds until there will be one, and nothing is taken.

        `high`: the reserve is used first, then what is left for all. `lag_seconds`: time since the message came to an edge.
        """
        if per_second <= 0:
            return 0
        bucket = self._filled(group_id, float(per_second), now_seconds, min(max(lag_seconds, 0.0), MAX_LAG_SECONDS))
        if high and bucket.reserve >= 1.0:
            bucket.reserve -= 1.0
            return 0
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0
        return max(1, math.ceil((1.0 - bucket.tokens) * 1000 / per_second))

    def give_back(self, group_id: GroupId) -> None:
        """Returns a token that was taken for nothing."""
        bucket = self._buckets.get(group_id)
        if bucket is not None:
            bucket.tokens += 1.0

    def _filled(self, group_id: GroupId, per_second: float, now: float, lag_seconds: float) -> _Bucket:
        reserve_per_second = per_second * HIGH_RESERVE_PERCENT / 100
        span = 1.0 + lag_seconds
        bucket = self._buckets.pop(group_id, None)
        if bucket is None:
            bucket = _Bucket(per_second * span, max(1.0, reserve_per_second * span), now)
        else:
            elapsed = max(now - bucket.filled_at, 0.0)
            bucket.tokens = min(per_second * span, bucket.tokens + elapsed * per_second)
            bucket.reserve = min(max(1.0, reserve_per_second * span), bucket.reserve + elapsed * reserve_per_second)
            bucket.filled_at = now
        self._buckets[group_id] = bucket
        if len(self._buckets) > self._max_groups:
            self._buckets.popitem(last=False)
        return bucket
