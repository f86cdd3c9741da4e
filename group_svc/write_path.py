"""The write path put together from ports: uplink in, commits, blocks and answers out (hops 3 to 5b)."""

from __future__ import annotations

from dataclasses import dataclass

from group_svc.core.admission import Admission
from group_svc.core.answers import Answers
from group_svc.core.block_pump import BlockPump
from group_svc.core.commit_queue import CommitQueue
from group_svc.core.completion import Completion
from group_svc.core.history import History
from group_svc.core.membership_cache import MembershipCache
from group_svc.core.offsets import OffsetTracker
from group_svc.core.rate_limits import RateLimits
from group_svc.ingest import Ingest
from group_svc.metrics import GroupMetrics
from group_svc.ports import (
    AnswerForwarder,
    AnswerWaiters,
    BodyInspector,
    MembershipStore,
    MessageStore,
    Publisher,
    RecentMessages,
    SafetyCheck,
    UnreadObserver,
)
from group_svc.writer import Writer
from throng.ports.clock import Clock
from throng.ports.uplink import UplinkConsumer


@dataclass(frozen=True, slots=True)
class WritePathPorts:
    """Everything outside that the write path touches."""

    consumer: UplinkConsumer
    messages: MessageStore
    groups: MembershipStore
    recent: RecentMessages
    publisher: Publisher
    observer: UnreadObserver
    waiters: AnswerWaiters
    forwarder: AnswerForwarder
    inspector: BodyInspector
    safety: SafetyCheck
    clock: Clock


class WritePath:
    """Starts and stops the threads in order; `history` and `members` are shared with the servicers."""

    def __init__(
        self,
        ports: WritePathPorts,
        metrics: GroupMetrics,
        *,
        lanes: int = 4,
        lane_capacity: int = 1_000,
        membership_ttl_seconds: float = 3.0,
    ) -> None:
        clock = ports.clock
        self.members = MembershipCache(ports.groups, clock, ttl_seconds=membership_ttl_seconds)
        self.history = History(ports.messages, ports.groups, ports.recent, clock, metrics)
        rates = RateLimits(clock)
        offsets = OffsetTracker()
        queue = CommitQueue()
        metrics.watch_queue("commit", lambda: len(queue))
        self._pump = BlockPump(ports.publisher, ports.observer, clock, metrics)
        answers = Answers(ports.waiters, ports.forwarder, ports.publisher)
        completion = Completion(self.history, ports.groups, self._pump, answers, rates, offsets, metrics)
        self._writer = Writer(queue, ports.messages, completion, self.history, clock, metrics)
        admission = Admission(self.members, ports.inspector, ports.safety, rates, clock)
        self._ingest = Ingest(ports.consumer, admission, queue, offsets, metrics, lanes=lanes, lane_capacity=lane_capacity)

    def start(self) -> None:
        """Starts from the end of the path, so that nothing waits for a thread that is not there."""
        self._pump.start()
        self._writer.start()
        self._ingest.start()

    def stop(self, deadline_seconds: float) -> None:
        """Reads, checks and writes what was submitted, at most so long; then sends the blocks that wait. Idempotent."""
        self._ingest.stop(deadline_seconds, self._writer.stop)
        self._pump.stop()
