"""Where answers go: to the caller that waits in this process or in another group service, or by a router to an edge (hop 5)."""

from __future__ import annotations

from collections.abc import Sequence

from group_svc.ports import AnswerForwarder, AnswerPublication, AnswerWaiters, Publisher


class Answers:
    """Sends answers. Any thread; never blocks."""

    def __init__(self, waiters: AnswerWaiters, forwarder: AnswerForwarder, publisher: Publisher) -> None:
        self._waiters = waiters
        self._forwarder = forwarder
        self._publisher = publisher

    def send(self, answers: Sequence[AnswerPublication]) -> None:
        """Sends answers in order."""
        elsewhere = [answer for answer in answers if not self._waiters.deliver(answer)]
        remote = [answer for answer in elsewhere if not self._forwarder.forward(answer)]
        if remote:
            self._publisher.publish(remote)
