"""Adapter `grpc` of `Publisher`: one stream to one router at a time; what it did not acknowledge goes to the next (hop 5)."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import structlog

from group_svc.adapters.publish_queue import PublishQueue
from group_svc.metrics import GroupMetrics
from group_svc.ports import PublicationItem
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.ports.clock import Clock
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_log = structlog.get_logger("group.publisher")
_WINDOW_BATCHES = 32
_ACK_SECONDS = 10.0
_WAIT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0


class _Stream:
    """One life of the stream: what was sent on it and not acknowledged, oldest first."""

    def __init__(self, carried_over: Sequence[Sequence[router_pb2.Publication]]) -> None:
        self.unacknowledged: collections.deque[tuple[int, float, Sequence[router_pb2.Publication]]] = collections.deque()
        self.carried_over = collections.deque(carried_over)
        self.next_batch_id = 1
        self.ended = False
        self.taking = False
        self.acknowledged_something = False
        self.call: Any = None

    def left(self) -> list[Sequence[router_pb2.Publication]]:
        """What the next stream must send first."""
        return [batch for _, _, batch in self.unacknowledged] + list(self.carried_over)


class GrpcPublisher:
    """Keeps the stream up for ever; nothing is dialled before `start`. Order per group holds across streams."""

    def __init__(self, addresses: Sequence[str], clock: Clock, metrics: GroupMetrics, *, security: RpcSecurity = PLAIN) -> None:
        self._addresses = list(addresses)
        self._security = security
        self._metrics = metrics
        self._queue = PublishQueue(clock, metrics)
        self._changed = threading.Condition()
        self._stream = _Stream(())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group-publisher", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="group-publish-watch", daemon=True)

    def publish(self, items: Sequence[PublicationItem]) -> None:
        """Queues publications; never blocks."""
        self._queue.put(items)

    def start(self) -> None:
        """Starts the thread; without an address of a router nothing is ever sent."""
        if self._addresses:
            self._thread.start()
            self._watcher.start()

    def _run(self) -> None:
        turn = random.randrange(len(self._addresses))  # several group services spread over the routers
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            if self._serve(address):
                pause_seconds = _FIRST_PAUSE_SECONDS
            if self._stopping.wait(pause_seconds * random.uniform(0.5, 1.0)):
                return
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _serve(self, address: str) -> bool:
        """Runs one stream until it ends; True when it had acknowledged something."""
        stream = _Stream(self._stream.left())
        with self._changed:
            self._stream = stream
        channel = rpc_sync.channel([address], self._security)
        try:
            stream.call = router_pb2_grpc.RouterServiceStub(channel).Publish(self._requests(stream), wait_for_ready=False)
            for response in stream.call:
                self._acknowledge(stream, response.batch_id)
        except grpc.RpcError as error:
            if not self._stopping.is_set():
                self._metrics.publish_breaks.inc()
                _log.warning("publish_stream_broke", address=address, code=error.code().name)
        finally:
            channel.close()
            with self._changed:
                stream.ended = True
                self._queue.wake()
                self._changed.wait_for(lambda: not stream.taking, _ACK_SECONDS)
        return stream.acknowledged_something

    def _acknowledge(self, stream: _Stream, batch_id: int) -> None:
        with self._changed:
            stream.acknowledged_something = True
            while stream.unacknowledged and stream.unacknowledged[0][0] <= batch_id:
                stream.unacknowledged.popleft()
            self._changed.notify_all()

    def _requests(self, stream: _Stream) -> Iterator[router_pb2.PublishRequest]:
        """Runs in gRPC's own thread: hands over batches while the window has room; ends with the stream."""
        while True:
            with self._changed:
                if stream.ended:
                    return
                if len(stream.unacknowledged) >= _WINDOW_BATCHES:
                    self._changed.wait(_WAIT_SECONDS)
                    continue
                stream.taking = True
            batch = stream.carried_over.popleft() if stream.carried_over else self._queue.take(_WAIT_SECONDS)
            with self._changed:
                stream.taking = False
                request = self._sent(stream, batch) if batch else None
                self._changed.notify_all()
            if request is not None:
                self._metrics.publish_batches.inc()
                yield request
            elif self._stopping.is_set():
                return

    @staticmethod
    def _sent(stream: _Stream, batch: Sequence[router_pb2.Publication]) -> router_pb2.PublishRequest:
        """Notes a batch as sent; the next stream waits for this, so nothing newer overtakes it there."""
        request = router_pb2.PublishRequest(batch_id=stream.next_batch_id, publications=batch)
        stream.unacknowledged.append((stream.next_batch_id, time.monotonic(), batch))
        stream.next_batch_id += 1
        return request

    def _watch(self) -> None:
        """Leaves a router that takes and never answers for the next one."""
        while not self._stopping.wait(_WAIT_SECONDS):
            with self._changed:
                stream = self._stream
                oldest = stream.unacknowledged[0][1] if stream.unacknowledged else None
            if oldest is not None and stream.call is not None and time.monotonic() - oldest > _ACK_SECONDS:
                stream.call.cancel()

    def flush(self, deadline_seconds: float) -> bool:
        """Waits until everything is acknowledged, at most so long."""
        deadline = time.monotonic() + deadline_seconds
        with self._changed:
            while len(self._queue) or self._stream.unacknowledged or self._stream.carried_over:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._changed.wait(min(left, 0.05))
            return True

    def stop(self, deadline_seconds: float) -> None:
        """Flushes, at most so long, and ends the stream. Idempotent."""
        if not self._thread.is_alive():
            return
        flushed = self.flush(deadline_seconds)
        if not flushed:
            _log.warning("publications_left", items=len(self._queue))
        self._stopping.set()
        self._queue.close()
        with self._changed:
            self._changed.notify_all()
        if self._stream.call is not None and not flushed:
            self._stream.call.cancel()
        self._thread.join(2.0)
        if self._thread.is_alive() and self._stream.call is not None:
            self._stream.call.cancel()
            self._thread.join(2.0)
        self._watcher.join(2.0)
