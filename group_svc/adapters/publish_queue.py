"""What waits for the stream to a router: bounded, urgent things first, blocks shrink to heads (hop 5)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

from group_svc.adapters.event_codec import to_acks, to_head, to_publication
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication, BlockPublication, GroupPublication, MemberPublication, PublicationItem
from throng.api.router.v1 import router_pb2
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock

MAX_BATCH = 1_000
MAX_BATCH_BYTES = 2 << 20
_ACKS_TOGETHER = 200
"""ACKs for one edge in one publication, about 25 KB."""


class PublishQueue:
    """Any thread puts, one takes.

    Overflow policy: a block becomes its head, the newest per group (at most `max_items` groups, then the oldest head is dropped:
    edges compare heads); an answer is dropped, and its sender asks again. Changes of members and groups wait in a queue of their
    own that goes first, so that no flood of messages delays a removal (I9); when that is full too the oldest is dropped. All are
    counted.
    """

    def __init__(
        self, clock: Clock, metrics: GroupMetrics, *, max_items: int = 50_000, max_bytes: int = 64 << 20, max_urgent: int = 20_000
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._items: collections.deque[router_pb2.Publication] = collections.deque()
        self._bytes = 0
        self._urgent: collections.deque[router_pb2.Publication] = collections.deque(maxlen=max_urgent)
        self._heads: dict[GroupId, tuple[int, int]] = {}
        self._closed = False
        metrics.watch_queue("publish", lambda: len(self._items))
        metrics.watch_queue("publish_urgent", lambda: len(self._urgent))

    def __len__(self) -> int:
        return len(self._items) + len(self._urgent) + len(self._heads)

    def put(self, items: Sequence[PublicationItem]) -> None:
        """Queues publications; never blocks. ACKs for one edge go together."""
        now_ms = self._clock.now_ms()
        acks: dict[tuple[EdgeId, int], list[AnswerPublication]] = {}
        with self._changed:
            for item in items:
                if isinstance(item, AnswerPublication) and item.position is not None:
                    acks.setdefault((item.origin.edge_id, item.origin.incarnation), []).append(item)
                elif isinstance(item, MemberPublication | GroupPublication):
                    if len(self._urgent) == self._urgent.maxlen:
                        self._metrics.overflows["publish_urgent"].inc()
                    self._urgent.append(to_publication(item, now_ms=now_ms))
                elif len(self._items) >= self._max_items or self._bytes >= self._max_bytes:
                    self._shrink(item)
                else:
                    self._append(to_publication(item, now_ms=now_ms))
            for of_edge in acks.values():
                self._put_acks(of_edge, now_ms)
            self._changed.notify_all()

    def _append(self, publication: router_pb2.Publication) -> None:
        self._bytes += len(publication.event)
        self._items.append(publication)

    def _put_acks(self, acks: Sequence[AnswerPublication], now_ms: int) -> None:
        for start in range(0, len(acks), _ACKS_TOGETHER):
            some = acks[start : start + _ACKS_TOGETHER]
            if len(self._items) >= self._max_items or self._bytes >= self._max_bytes:
                self._metrics.overflows["publish"].inc(len(some))
            elif len(some) == 1:
                self._append(to_publication(some[0], now_ms=now_ms))
            else:
                self._append(to_acks(some, now_ms=now_ms))

    def _shrink(self, item: AnswerPublication | BlockPublication) -> None:
        self._metrics.overflows["publish"].inc()
        if isinstance(item, BlockPublication):
            newest = max(self._heads.pop(item.group_id, (0, 0)), (item.epoch, item.messages[-1].seq))
            self._heads[item.group_id] = newest
            if len(self._heads) > self._max_items:
                del self._heads[next(iter(self._heads))]

    def take(self, timeout_seconds: float) -> list[router_pb2.Publication]:
        """Takes the next batch, at most `MAX_BATCH` and about `MAX_BATCH_BYTES`; waits for something at most so long."""
        with self._changed:
            if not len(self) and not self._closed:
                self._changed.wait(timeout_seconds)
            batch: list[router_pb2.Publication] = []
            size_bytes = 0
            while self._urgent and len(batch) < MAX_BATCH and size_bytes < MAX_BATCH_BYTES:
                publication = self._urgent.popleft()
                size_bytes += len(publication.event)
                batch.append(publication)
            while self._items and len(batch) < MAX_BATCH and size_bytes < MAX_BATCH_BYTES:
                publication = self._items.popleft()
                size_bytes += len(publication.event)
                self._bytes -= len(publication.event)
                batch.append(publication)
            now_ms = self._clock.now_ms()
            while not self._items and self._heads and len(batch) < MAX_BATCH:
                group_id = next(iter(self._heads))
                epoch, head_seq = self._heads.pop(group_id)
                batch.append(to_head(group_id, epoch, head_seq, now_ms=now_ms))
            return batch

    def wake(self) -> None:
        """Ends a waiting `take`."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """From now on `take` does not wait. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
