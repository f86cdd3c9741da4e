"""The least time between two messages of one user in one group, over all edges (hop 4)."""

from __future__ import annotations

import collections
from dataclasses import dataclass

from throng.domain.ids import GroupId, UserId

_TOLERANCE_MS = 50
"""Two edges, or an edge and this process, do not measure alike: this much (at most a twentieth of the interval) is forgiven."""


@dataclass(slots=True)
class _Last:
    received_at_ms: int
    checked_at_ms: int
    client_msg_id: str
    before: tuple[int, int, str] | None


class SendIntervals:
    """When each user last sent, for the newest `max_entries` users. Not locked: `RateLimits` holds its lock around it.

    Time counts by the edge's receive time or by the time of the check, whichever is further on: what waited in the uplink during
    an outage keeps its distances, and an edge whose clock is behind does not lock its users out.
    """

    def __init__(self, *, max_entries: int = 200_000) -> None:
        self._max_entries = max_entries
        self._last: collections.OrderedDict[tuple[GroupId, UserId], _Last] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def is_repeat(self, group_id: GroupId, user_id: UserId, client_msg_id: str) -> bool:
        """The id is the one that was accepted last: it costs nothing again."""
        last = self._last.get((group_id, user_id))
        return last is not None and last.client_msg_id == client_msg_id

    def wait_ms(self, group_id: GroupId, user_id: UserId, *, interval_ms: int, received_at_ms: int, checked_at_ms: int) -> int:
        """Milliseconds until the user may send; 0: now."""
        last = self._last.get((group_id, user_id))
        if last is None or interval_ms <= 0:
            return 0
        elapsed_ms = max(received_at_ms - last.received_at_ms, checked_at_ms - last.checked_at_ms)
        if elapsed_ms >= interval_ms - min(_TOLERANCE_MS, interval_ms // 20):
            return 0
        return interval_ms - max(elapsed_ms, 0)

    def accept(
        self,
        group_id: GroupId,
        user_id: UserId,
        client_msg_id: str,
        *,
        interval_ms: int,
        received_at_ms: int,
        checked_at_ms: int,
    ) -> None:
        """Notes that a message was accepted. Receive time moves on by the interval at least: two edges do not give two shares."""
        key = (group_id, user_id)
        last = self._last.pop(key, None)
        before, newest_ms = None, received_at_ms
        if last is not None:
            before = (last.received_at_ms, last.checked_at_ms, last.client_msg_id)
            newest_ms = max(received_at_ms, last.received_at_ms + interval_ms)
        self._last[key] = _Last(newest_ms, checked_at_ms, client_msg_id, before)
        if len(self._last) > self._max_entries:
            self._last.popitem(last=False)

    def release(self, group_id: GroupId, user_id: UserId, client_msg_id: str) -> None:
        """Takes back the newest acceptance, if it is this one: a refused attempt does not use up the interval."""
        last = self._last.get((group_id, user_id))
        if last is None or last.client_msg_id != client_msg_id:
            return
        if last.before is None:
            del self._last[(group_id, user_id)]
        else:
            last.received_at_ms, last.checked_at_ms, last.client_msg_id = last.before
            last.before = None
