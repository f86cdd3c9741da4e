"""The write path put together from ports: uplink in, commits, blocks and answers out (hops 3 to 5b)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from group_svc.checks import Checks, InlineChecks
from group_svc.core.admission import Admission
from group_svc.core.answers import Answers
from group_svc.core.block_pump import BlockPump
from group_svc.core.commit_queue import CommitQueue
from group_svc.core.completion import Completion
from group_svc.core.history import History
from group_svc.core.hot_groups import HotGroups
from group_svc.core.membership_cache import MembershipCache
from group_svc.core.offsets import OffsetTracker
from group_svc.core.rate_limits import RateLimits
from group_svc.core.safety_gate import SafetyGate, SafetyPolicy
from group_svc.finisher import Finisher
from group_svc.ingest import Ingest
from group_svc.lanes import Lanes
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
    SafetyHook,
    UnreadObserver,
)
from group_svc.writer import Writer
from throng.ports.clock import Clock
from throng.ports.uplink import MAX_PACK, UplinkConsumer


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
    hook: SafetyHook | None = None


class WritePath:
    """Starts and stops the threads in order; `history` and `members` are shared with the servicers."""

    def __init__(
        self,
        ports: WritePathPorts,
        metrics: GroupMetrics,
        *,
        lanes: int = 0,
        lane_capacity: int = 1_000,
        membership_ttl_seconds: float = 3.0,
        hot_group_per_second: float = 20.0,
        hook_policy: SafetyPolicy | None = None,
    ) -> None:
        """Takes its neighbours; `lanes` 0: checks run in the thread that reads, none of them may wait then."""
        clock = ports.clock
        self.members = MembershipCache(ports.groups, clock, ttl_seconds=membership_ttl_seconds)
        self.history = History(ports.messages, ports.groups, ports.recent, clock, metrics)
        rates = RateLimits(clock)
        offsets = OffsetTracker(parts=MAX_PACK)
        queue = CommitQueue()
        metrics.watch_queue("commit", lambda: len(queue))
        self._pump = BlockPump(ports.publisher, ports.observer, clock, metrics)
        answers = Answers(ports.waiters, ports.forwarder, ports.publisher)
        completion = Completion(self.history, ports.groups, self._pump, answers, rates, offsets, metrics)
        hot = HotGroups(clock, hot_per_second=hot_group_per_second)
        metrics.watch_groups(lambda: [rate for _, rate in hot.rates()], lambda: queue.groups)
        self._writer = Writer(queue, ports.messages, completion, Finisher(completion, self.history), hot, clock, metrics)
        admission = Admission(self.members, ports.inspector, ports.safety, rates, clock)
        self._gate = None if ports.hook is None else SafetyGate(queue, ports.hook, hook_policy)
        metrics.watch_queue("safety", lambda: 0 if self._gate is None else len(self._gate))
        committing = queue if self._gate is None else self._gate
        checks: Checks = InlineChecks(admission, committing)
        if lanes:
            checks = Lanes(admission, committing, metrics, lanes=lanes, lane_capacity=lane_capacity)
        self._ingest = Ingest(ports.consumer, checks, offsets, metrics)

    def start(self) -> None:
        """Starts from the end of the path, so that nothing waits for a thread that is not there."""
        self._pump.start()
        self._writer.start()
        self._ingest.start()

    def stop(self, deadline_seconds: float) -> None:
        """Reads, checks and writes what was submitted, at most so long; then sends the blocks that wait. Idempotent."""
        self._ingest.stop(deadline_seconds, self._write_rest)
        self._pump.stop()

    def _write_rest(self, deadline_seconds: float) -> None:
        """What the hook has not decided in half of the time is left for the next reader of the log."""
        deadline = time.monotonic() + deadline_seconds
        if self._gate is not None:
            self._gate.finish(deadline_seconds / 2)
        self._writer.stop(max(deadline - time.monotonic(), 0.1))
