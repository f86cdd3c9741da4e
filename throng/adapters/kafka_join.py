"""Leads the joins of a `KafkaConsumer` to their end, and lets partitions be handed over only while its owner polls.

kafka-python 3.0.12 joins within `poll` and gives up when the time of that poll is over. What then becomes of the join:
its answer, if it comes between two polls, is thrown away; and when the join had begun because the topic's metadata had changed
(as it does whenever the first join was answered before the metadata), `need_rejoin` is False from the moment the leader has
assigned: nobody takes the assignment any more, the heartbeats stay off, and the member has no partition for ever.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from kafka.errors import KafkaError

_METADATA_SECONDS, _METADATA_MS = 5.0, 1_000


class Joins:
    """The joins of one consumer: each is one task of kafka-python's I/O thread, without the time limit of a poll."""

    def __init__(self, consumer: Any, topic: str) -> None:
        """Takes the place of two methods of the consumer's coordinator; before the first poll."""
        self._coordinator = consumer._coordinator
        self._topic = topic
        self._task: Any = None
        self._ended = False
        self._needed = self._coordinator.need_rejoin
        self._coordinator.need_rejoin = self._need_rejoin
        self._coordinator.ensure_active_group = self._ensure_active_group

    def end(self) -> None:
        """No join begins any more, and one under way is not repeated: who left must not come back. Any thread. Idempotent."""
        self._ended = True

    def _need_rejoin(self) -> bool:
        if self._ended:
            return False
        task = self._task
        return (task is not None and not task.is_done) or self._needed()

    def _ensure_active_group(self, timeout_ms: float | None = None) -> bool:
        """Called within a poll: begins a join unless one is under way, and waits for its end; False when that is not in time."""
        if self._task is None:
            self._coordinator.request_rejoin()
            self._task = self._coordinator._manager.call_soon(self._join)
        task, ended = self._task, threading.Event()
        task.add_both(lambda _: ended.set())
        ended.wait(None if timeout_ms is None else timeout_ms / 1000)
        if not task.is_done:
            return False
        self._task = None
        if task.exception is not None:
            raise task.exception
        return True

    async def _join(self) -> None:
        await self._learn_partitions()
        await self._coordinator.ensure_active_group_async()

    async def _learn_partitions(self) -> None:
        """Without the topic's metadata a leader would assign nothing, and the whole group would join once more."""
        cluster, manager = self._coordinator._cluster, self._coordinator._manager
        deadline = time.monotonic() + _METADATA_SECONDS
        while not cluster.partitions_for_topic(self._topic) and time.monotonic() < deadline and not self._ended:
            try:
                # An update that was asked for while an older one was under way is lost: it is asked for again.
                await manager.wait_for(cluster.request_update(), _METADATA_MS)
            except KafkaError:
                continue


class HandOvers:
    """Lets callbacks begin only while somebody polls, and lets nobody leave a poll while one runs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._polled = False
        self._running = 0

    def begin(self) -> bool:
        """A callback may run now; `finish` must follow."""
        with self._changed:
            self._running += self._polled
            return self._polled

    def finish(self) -> None:
        """A callback has returned. Any thread."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def open(self) -> None:
        """A poll begins."""
        with self._changed:
            self._polled = True

    def close(self, timeout_seconds: float) -> None:
        """A poll ends: waits so long for what runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, timeout_seconds)
            self._polled = False
