"""Where answers go: to the caller that waits in this process, or by a router to the edge they came from (hop 5)."""

from __future__ import annotations

from collections.abc import Sequence

from group_svc.ports import AnswerPublication, AnswerWaiters, Publisher


class Answers:
    """Sends answers. Any thread; never blocks."""

    def __init__(self, waiters: AnswerWaiters, publisher: Publisher) -> None:
        self._waiters = waiters
        self._publisher = publisher

    def send(self, answers: Sequence[AnswerPublication]) -> None:
        """Sends answers in order."""
        remote = [answer for answer in answers if not self._waiters.deliver(answer)]
        if remote:
            self._publisher.publish(remote)
