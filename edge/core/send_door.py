"""Whether a message may go on to the uplink: the user's interval and this edge's share of the group's budget (hop 1, design 9).

What is refused here costs nothing behind the edge. The group service keeps the same limits over all edges.
"""

from __future__ import annotations

import random

from edge.core.budget_share import BudgetShare
from edge.core.room import Room
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import MODERATOR_INTERVAL_MS, OverBudget
from throng.domain.message import Lane
from throng.ports.clock import Clock

LEAST_RETRY_MS = 500
LEAST_SPREAD_MS = 1_000
LONGEST_SPREAD_MS = 30_000
_BUSY = "so many are talking at once that this message did not get through; try again in a moment"
_NOT_CHOSEN = (
    "so many are talking at once that only some messages are let through, and this was none of them; try again in a moment"
)


class SendDoor:
    """Refuses with a code, a sentence and a time to come again. Hub thread only; what it keeps of a group goes with the room."""

    def __init__(self, clock: Clock, random_source: random.Random, counters: SessionCounters, *, keeps_intervals: bool) -> None:
        self._clock = clock
        self._random = random_source
        self._counters = counters
        self._keeps_intervals = keeps_intervals

    def check_interval(self, session: Session, part: Part, client_msg_id: str) -> None:
        """Raises RATE_LIMITED while the user's interval in the group, or that of slow mode, is not over."""
        group = part.room.group
        interval_ms = group.settings.send_interval_ms_of(part.role) if self._keeps_intervals else 0
        if not interval_ms:
            return
        wait = session.user.wait_seconds(group.group_id, client_msg_id, interval_ms / 1000, self._clock.monotonic())
        if wait <= 0.0 or any(other.in_flight and client_msg_id in other.in_flight for other in session.user.sessions):
            return
        self._counters.count(self._counters.door_refusals, "interval")
        text = "you send too fast; wait a moment"
        if interval_ms > MODERATOR_INTERVAL_MS:
            text = f"this group is in slow mode: one message every {interval_ms / 1000:g} s"
        raise ThrongError(ErrorCode.RATE_LIMITED, text, retry_after_ms=max(1, round(wait * 1000)))

    def check_budget(self, part: Part, lane: Lane) -> None:
        """Raises GROUP_BUSY when a message is over this edge's share of the budget, or the lot fell upon others."""
        room, counters = part.room, self._counters
        per_second = share_per_second(room)
        if not per_second or part.role.moderates:
            return
        now = self._clock.monotonic()
        budget = room.budget
        if budget is None:
            budget = room.budget = BudgetShare(now)
        text, reason = _BUSY, "budget"
        if lane is Lane.HIGH:
            admitted, reason = budget.take_high(per_second, now), "high_budget"
        elif room.group.settings.over_budget is OverBudget.SAMPLE:
            admitted, text, reason = budget.sample(per_second, now, self._random), _NOT_CHOSEN, "sample"
        else:
            admitted = budget.take(per_second, now)
        if not admitted:
            counters.count(counters.door_refusals, reason)
            raise self._busy(text, per_second, budget.overload(per_second, now))

    def spread(self, part: Part | None, error: ThrongError) -> ThrongError:
        """A refusal of the group service; one of GROUP_BUSY gets a retry time that is spread like those of this door."""
        if error.code is not ErrorCode.GROUP_BUSY or part is None:
            return error
        per_second = share_per_second(part.room)
        if not per_second:
            return error
        budget = part.room.budget
        busy = self._busy(error.text, per_second, budget.overload(per_second, self._clock.monotonic()) if budget else 1.0)
        busy.retry_after_ms = max(busy.retry_after_ms, error.retry_after_ms)
        return busy

    def _busy(self, text: str, per_second: float, overload: float) -> ThrongError:
        """Those who are refused within a second shall come again over the time in which the share has room for them all."""
        least_ms = max(LEAST_RETRY_MS, min(round(1000 / per_second), LONGEST_SPREAD_MS))
        spread_ms = min(max(LEAST_SPREAD_MS, round(1000 * overload)), LONGEST_SPREAD_MS)
        return ThrongError(ErrorCode.GROUP_BUSY, text, retry_after_ms=least_ms + int(self._random.random() * spread_ms))


def share_per_second(room: Room) -> float:
    """This edge's share of the group's budget, by its part of the connections in the group; 0.0: there is no limit."""
    return room.group.settings.budget_per_second * room.holds / max(_connections(room), 1)


def _connections(room: Room) -> int:
    """Connections in the group on all edges: those of others as last told, those here as they are. Not told yet: those here."""
    return max(room.online - room.reported, 0) + room.holds
