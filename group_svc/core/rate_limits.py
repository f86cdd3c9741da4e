"""Interval and budget together: either both are used up by a message or none is (hop 4)."""

from __future__ import annotations

import threading

from group_svc.core.budgets import Budgets
from group_svc.core.send_intervals import SendIntervals
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import GroupSettings, Role
from throng.domain.message import Lane, MessageKind, Submission
from throng.ports.clock import Clock


class RateLimits:
    """Decides for one submission at a time. Any thread."""

    def __init__(self, clock: Clock, *, max_users: int = 200_000, max_groups: int = 50_000) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._intervals = SendIntervals(max_entries=max_users)
        self._budgets = Budgets(max_groups=max_groups)

    def admit(self, submission: Submission, settings: GroupSettings, role: Role, lane: Lane = Lane.NORMAL) -> bool:
        """Uses up interval and budget; True when something was used up, and `release` may give it back.

        Recalls and `unlimited` submissions are free, and so is a repeat of the message that was accepted last. Owner and
        administrators keep an interval, in slow mode a shorter one, and are free of the budget; other messages of the HIGH lane
        have a reserve. Which random share of a storm is let in has been decided by the edges; here who comes first is.

        Raises:
            ThrongError: RATE_LIMITED or GROUP_BUSY, with a retry time; then nothing was used up.
        """
        if submission.unlimited or submission.kind is MessageKind.RECALL:
            return False
        group_id, user_id = submission.group_id, submission.user_id
        now_seconds, now_ms = self._clock.monotonic(), self._clock.now_ms()
        checked_at_ms = int(now_seconds * 1000)
        received_at_ms = min(submission.received_at_ms, now_ms)
        interval_ms = settings.send_interval_ms_of(role)
        with self._lock:
            if self._intervals.is_repeat(group_id, user_id, submission.client_msg_id):
                return False
            wait_ms = self._intervals.wait_ms(
                group_id,
                user_id,
                interval_ms=interval_ms,
                received_at_ms=received_at_ms,
                checked_at_ms=checked_at_ms,
            )
            if wait_ms:
                raise ThrongError(ErrorCode.RATE_LIMITED, "You are sending too fast; wait a moment.", retry_after_ms=wait_ms)
            if not role.moderates:
                wait_ms = self._budgets.take(
                    group_id,
                    per_second=settings.budget_per_second,
                    now_seconds=now_seconds,
                    high=lane is Lane.HIGH,
                    lag_seconds=(now_ms - received_at_ms) / 1000,
                )
                if wait_ms:
                    raise ThrongError(
                        ErrorCode.GROUP_BUSY, "The group is very busy right now; try again in a moment.", retry_after_ms=wait_ms
                    )
            self._intervals.accept(
                group_id,
                user_id,
                submission.client_msg_id,
                interval_ms=interval_ms,
                received_at_ms=received_at_ms,
                checked_at_ms=checked_at_ms,
            )
        return True

    def release(self, submission: Submission, role: Role) -> None:
        """Gives back what `admit` used up for a submission that was not stored after all."""
        with self._lock:
            self._intervals.release(submission.group_id, submission.user_id, submission.client_msg_id)
            if not role.moderates:
                self._budgets.give_back(submission.group_id)
