"""Adapter `grpc` of `UnreadObserver`: blocks as observations, on one stream to unread_svc (hop 5b)."""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import structlog

from group_svc.metrics import GroupMetrics
from group_svc.ports import BlockPublication
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_log = structlog.get_logger("group.observer")
_MAX_BATCH = 1_000
_MAX_ENTRIES = 10_000
"""Messages and recalls in one batch, about 0.8 MB."""

_WAIT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0


class GrpcUnreadObserver:
    """One stream to one unread_svc at a time, to the next when it breaks: any of them may take any block, for all share Redis.

    Overflow policy: the oldest block is dropped and counted; unread_svc sees the gap by `prev_seq` and reads.

    What was on its way when the stream broke is lost in the same manner.
    """

    def __init__(
        self, addresses: Sequence[str], metrics: GroupMetrics, *, max_blocks: int = 10_000, security: RpcSecurity = PLAIN
    ) -> None:
        self._addresses = list(addresses)
        self._security = security
        self._metrics = metrics
        self._changed = threading.Condition()
        self._blocks: collections.deque[BlockPublication] = collections.deque(maxlen=max_blocks)
        self._stopping = threading.Event()
        self._life = 0
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="group-observer", daemon=True)
        metrics.watch_queue("observe", lambda: len(self._blocks))

    def observe(self, block: BlockPublication) -> None:
        """Queues one block; never blocks."""
        with self._changed:
            if len(self._blocks) == self._blocks.maxlen:
                self._metrics.overflows["observe"].inc()
            self._blocks.append(block)
            self._changed.notify()

    def start(self) -> None:
        """Starts the thread; without an address of unread_svc nothing is ever sent."""
        if self._addresses:
            self._thread.start()

    def _run(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        turn = random.randrange(len(self._addresses))
        while not self._stopping.is_set():
            channel = rpc_sync.channel([self._addresses[turn % len(self._addresses)]], self._security)
            turn += 1
            try:
                with self._changed:
                    self._life += 1
                self._call = unread_pb2_grpc.UnreadServiceStub(channel).Observe.future(self._requests(self._life))
                self._call.result()
                pause_seconds = _FIRST_PAUSE_SECONDS
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                if not self._stopping.is_set():
                    self._metrics.observe_breaks.inc()
                    _log.warning("observe_stream_broke", reason=type(error).__name__)
            finally:
                with self._changed:
                    self._life += 1
                    self._changed.notify_all()
                channel.close()
            if self._stopping.wait(pause_seconds * random.uniform(0.5, 1.0)):
                return
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _requests(self, life: int) -> Iterator[unread_pb2.ObserveRequest]:
        """Runs in gRPC's own thread, for one life of the stream."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._blocks or self._life != life or self._stopping.is_set(), _WAIT_SECONDS)
                if self._life != life or (self._stopping.is_set() and not self._blocks):
                    return
                taken = self._take()
            if taken:
                yield unread_pb2.ObserveRequest(observations=[to_observation(block) for block in taken])

    def _take(self) -> list[BlockPublication]:
        """The oldest blocks, as many as one message may hold."""
        taken: list[BlockPublication] = []
        entries = 0
        while self._blocks and len(taken) < _MAX_BATCH:
            entries += len(self._blocks[0].messages) + len(self._blocks[0].recalled)
            if taken and entries > _MAX_ENTRIES:
                break
            taken.append(self._blocks.popleft())
        return taken

    def stop(self, deadline_seconds: float) -> None:
        """Sends what waits, at most so long, and ends the stream. Idempotent."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if not self._thread.is_alive():
            return
        self._thread.join(deadline_seconds)
        if self._thread.is_alive() and self._call is not None:
            self._call.cancel()
            self._thread.join(2.0)


def to_observation(block: BlockPublication) -> unread_pb2.Observation:
    """Makes the proto of what a block changes for unread counts."""
    return unread_pb2.Observation(
        group_id=block.group_id,
        epoch=block.epoch,
        prev_seq=block.prev_seq,
        head_seq=block.messages[-1].seq,
        added=[
            unread_pb2.CountableMessage(seq=message.seq, sender_id=message.sender_id)
            for message in block.messages
            if message.kind.counts_as_unread and not message.recalled_by_seq
        ],
        removed_seqs=block.recalled,
    )
