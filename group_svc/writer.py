"""The writer: commits candidates in batches, waits out an absent store, sorts out what it cannot take (hop 4)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import structlog

from group_svc.core.commit_queue import CommitQueue
from group_svc.core.completion import Completion
from group_svc.core.hot_groups import HotGroups
from group_svc.core.pending import Pending
from group_svc.finisher import Finisher
from group_svc.metrics import GroupMetrics
from group_svc.ports import MessageStore, Outcome, Refused
from throng.domain.errors import ErrorCode, ThrongError
from throng.ports.clock import Clock

_log = structlog.get_logger("group.writer")
MAX_BATCH = 500
_IDLE_SECONDS = 0.25
_BUSY_FROM, _FULL_FROM, _GATHER_SECONDS = 20, 200, 0.02
"""After a batch of so many messages a moment passes before the next: a commit costs the same for one message as for fifty. Whoever
is alone never waits, and above `_FULL_FROM` a larger batch would save little."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 2.0


class _Abandoned(Exception):
    """The writer was told to stop while the store was away."""


class Writer:
    """One thread. What it took and could not commit before `stop` gives up is not answered, and comes again from the log."""

    def __init__(
        self,
        queue: CommitQueue,
        store: MessageStore,
        completion: Completion,
        finisher: Finisher,
        hot: HotGroups,
        clock: Clock,
        metrics: GroupMetrics,
    ) -> None:
        self._queue = queue
        self._store = store
        self._completion = completion
        self._finisher = finisher
        self._hot = hot
        self._clock = clock
        self._metrics = metrics
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread, and the finisher's."""
        self._finisher.start()
        self._thread.start()

    def stop(self, deadline_seconds: float) -> bool:
        """Closes the queue, commits and finishes what is in it, at most so long; False when something was left. Idempotent."""
        deadline = time.monotonic() + deadline_seconds
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(deadline_seconds)
        self._abandon.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._finisher.stop(max(deadline - time.monotonic(), 2.0))
        return len(self._queue) == 0

    def _run(self) -> None:
        try:
            while not self._abandon.is_set():
                batch = self._queue.take(MAX_BATCH, _IDLE_SECONDS)
                if batch:
                    self.write(batch)
                    if _BUSY_FROM <= len(batch) < _FULL_FROM and not self._queue.closed:
                        self._abandon.wait(_GATHER_SECONDS)
                elif self._queue.closed:
                    return
        except _Abandoned:
            _log.warning("writer_gave_up", waiting=len(self._queue))

    def write(self, batch: Sequence[Pending]) -> None:
        """Commits one batch and has it finished."""
        for group_id in self._hot.note(pending.candidate.submission.group_id for pending in batch):
            _log.info("group_hot", group_id=group_id)
        self._metrics.persist_batch_messages.observe(len(batch))
        self._finisher.finish(batch, self._commit(batch))

    def _commit(self, batch: Sequence[Pending]) -> list[Outcome]:
        """Commits a batch; on INTERNAL halves it until what cannot be stored stands alone and is refused. Order is kept."""
        try:
            return self._commit_patiently(batch)
        except ThrongError as error:
            if len(batch) == 1:
                submission = batch[0].candidate.submission
                _log.error(
                    "message_cannot_be_stored",
                    group_id=submission.group_id,
                    user_id=submission.user_id,
                    client_msg_id=submission.client_msg_id,
                    exc_info=error,
                )
                return [Refused(ThrongError(ErrorCode.INTERNAL, "The message could not be stored.", retry_after_ms=1000))]
        middle = len(batch) // 2
        return self._commit(batch[:middle]) + self._commit(batch[middle:])

    def _commit_patiently(self, batch: Sequence[Pending]) -> list[Outcome]:
        """Repeats one call for as long as the store is away; the candidates stay, and the way up to the uplink fills."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            started = self._clock.monotonic()
            try:
                self._completion.prepare(batch)
                outcomes = self._store.commit([pending.candidate for pending in batch], now_ms=self._clock.now_ms())
            except ThrongError as error:
                if error.code is not ErrorCode.UNAVAILABLE:
                    raise
                self._metrics.persist_retries.inc()
                _log.warning("store_away", messages=len(batch), retry_in_seconds=pause_seconds)
            except Exception as error:
                raise ThrongError(ErrorCode.INTERNAL, "the store failed in an unknown way") from error
            else:
                self._metrics.persist_seconds.observe(self._clock.monotonic() - started)
                return outcomes
            if self._abandon.wait(pause_seconds * random.uniform(0.5, 1.0)):
                raise _Abandoned
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
