"""Sends blocks when they are due, to routers and to unread_svc, in the order of each group (hops 5 and 5b)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from group_svc.core.blocks import BlockFormer
from group_svc.metrics import GroupMetrics
from group_svc.ports import BlockPublication, Publisher, UnreadObserver
from throng.domain.group import GroupSettings
from throng.domain.ids import GroupId
from throng.domain.message import StoredMessage
from throng.domain.quick_values import quick_value
from throng.ports.clock import Clock

_LONGEST_WAIT_SECONDS = 0.5


@quick_value(frozen=True, slots=True)
class Stored:
    """What a batch stored in one group: messages rising by seq, and (target, event) for each recall among them."""

    group_id: GroupId
    epoch: int
    messages: Sequence[StoredMessage]
    recalls: Sequence[tuple[int, int]]
    settings: GroupSettings


class BlockPump:
    """A `BlockFormer`, its lock, and the thread that waits for its deadlines."""

    def __init__(self, publisher: Publisher, observer: UnreadObserver, clock: Clock, metrics: GroupMetrics) -> None:
        self._former = BlockFormer()
        self._publisher = publisher
        self._observer = observer
        self._clock = clock
        self._metrics = metrics
        self._changed = threading.Condition()
        self._stopping = False
        self._wakes_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="group-blocks", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def add(self, stored: Sequence[Stored]) -> None:
        """Takes what one batch stored, group by group; what goes at once goes in one publication."""
        with self._changed:
            now = self._clock.monotonic()
            ready: list[BlockPublication] = []
            for each in stored:
                ready += self._former.add(each.group_id, each.epoch, each.messages, each.recalls, each.settings, now)
            self._send(ready)
            deadline = self._former.next_deadline()
            if deadline is not None and deadline < self._wakes_at:
                self._changed.notify_all()

    def flush_due(self) -> None:
        """Sends the blocks whose time has come."""
        with self._changed:
            self._send(self._former.due(self._clock.monotonic()))

    def _send(self, blocks: list[BlockPublication]) -> None:
        """Runs under the lock, so that blocks of one group keep their order; neither port blocks."""
        if not blocks:
            return
        self._publisher.publish(blocks)
        for block in blocks:
            self._observer.observe(block)
            self._metrics.blocks.inc()
            self._metrics.block_messages.inc(len(block.messages))

    def _run(self) -> None:
        while not self._stopping:
            self.flush_due()
            with self._changed:
                deadline = self._former.next_deadline()
                wait_seconds = _LONGEST_WAIT_SECONDS
                if deadline is not None:
                    wait_seconds = min(max(deadline - self._clock.monotonic(), 0.0), _LONGEST_WAIT_SECONDS)
                if not self._stopping and wait_seconds:
                    self._wakes_at = self._clock.monotonic() + wait_seconds
                    self._changed.wait(wait_seconds)
                    self._wakes_at = float("-inf")

    def stop(self) -> None:
        """Sends what waits and ends the thread. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(5.0)
        with self._changed:
            self._send(self._former.flush_all(self._clock.monotonic()))
