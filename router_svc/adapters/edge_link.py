"""One link: a bounded queue for one life of an edge, and the Deliver stream that empties it (hop 6)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog

from router_svc.core.delivery_queue import DeliveryQueue, HeadNotice, Item, OnlineNotice, Push
from router_svc.core.task_end import end_tasks
from router_svc.metrics import RouterMetrics
from router_svc.ports import EdgeInfo, Outgoing
from throng.api.edge.v1 import edge_pb2, edge_pb2_grpc
from throng.domain.ids import GroupId
from throng.ports.clock import Clock
from throng.runtime import rpc_aio
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_log = structlog.get_logger("throng.router.link")


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Bounds of a queue and of one message, and times in seconds.

    Attributes:
        queue_events: events that wait for one edge.
        queue_bytes: their bytes.
        batch_events: events in one message.
        batch_bytes: their bytes; stays below what an edge accepts in one message.
        window_bytes: written to an edge and not taken over by it yet; above it events wait in the queue, where they can
            shrink. (gRPC itself takes some megabytes off our hands that nobody reads.)
        write_seconds: how long an edge may take nothing before its stream is broken off and dialled anew.
        reconnect_seconds: first pause before dialling again; doubles up to `max_reconnect_seconds`.
    """

    queue_events: int = 20_000
    queue_bytes: int = 32 << 20
    batch_events: int = 500
    batch_bytes: int = 1 << 20
    window_bytes: int = 2 << 20
    write_seconds: float = 20.0
    reconnect_seconds: float = 0.1
    max_reconnect_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was written in one message; `last` counts the events of the stream up to its end."""

    last: int
    size_bytes: int
    items: Sequence[Item]


class EdgeLink:
    """Dials until it is closed; what is pushed goes out at once when the stream is idle, in batches when it is not."""

    def __init__(
        self, info: EdgeInfo, policy: LinkPolicy, clock: Clock, metrics: RouterMetrics, *, security: RpcSecurity = PLAIN
    ) -> None:
        self.info = info
        self._security = security
        self.queue = DeliveryQueue(max_events=policy.queue_events, max_bytes=policy.queue_bytes)
        self.failing = False
        """The last attempt to reach the edge failed."""
        self.connected = False
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._unaccepted: deque[_Batch] = deque()
        self._unaccepted_bytes = 0
        self._accepted = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"router-link-{info.edge_id}")

    def push(self, item: Outgoing) -> None:
        """Queues one event."""
        shrunk_before = self.queue.shrunk_blocks
        push = self.queue.push(item)
        if push is not Push.QUEUED:
            self._metrics.overflows[push].inc()
            self._metrics.shrunk_blocks.inc(self.queue.shrunk_blocks - shrunk_before)
            if push is Push.CONTROL_DROPPED:
                _log.error("deliver_control_dropped", edge_id=self.info.edge_id)
        self._filled.set()
        self._drained.clear()

    def tell_online(self, counts: Mapping[GroupId, int]) -> bool:
        """Queues online counts; False: not now."""
        if not self.connected or not self.queue.push_online(OnlineNotice(counts)):
            return False
        self._filled.set()
        self._drained.clear()
        return True

    async def flush(self, timeout_seconds: float) -> bool:
        """Waits until the edge has taken over everything; False: not in that time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends the stream and forgets what waits."""
        await end_tasks(self._task)

    async def _run(self) -> None:
        channel = rpc_aio.channel([self.info.address], self._security)
        pause = self._policy.reconnect_seconds
        try:
            while True:
                opened_at = self._clock.monotonic()
                reason = await self._serve(channel)
                self.connected = False
                self.failing = True
                self._metrics.link_breaks[reason].inc()
                if self._clock.monotonic() - opened_at > 5 * self._policy.max_reconnect_seconds:
                    pause = self._policy.reconnect_seconds
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, self._policy.max_reconnect_seconds)
        finally:
            self.connected = False
            await channel.close()

    async def _serve(self, channel: grpc.aio.Channel) -> str:
        """Keeps one stream until it ends; returns why it did."""
        call = edge_pb2_grpc.EdgeServiceStub(channel).Deliver()
        pump = asyncio.create_task(self._pump(call), name=f"router-pump-{self.info.edge_id}")
        reader = asyncio.create_task(self._read(call), name=f"router-reader-{self.info.edge_id}")
        try:
            await asyncio.wait({pump, reader}, return_when=asyncio.FIRST_COMPLETED)
            stalled = pump.done() and not pump.cancelled() and isinstance(pump.exception(), TimeoutError)
            reason = "stalled" if stalled else "broken" if self.connected else "refused"
            code = await call.code() if call.done() else None
            _log.info("deliver_stream_ended", edge_id=self.info.edge_id, reason=reason, code=code.name if code else "")
            return reason
        finally:
            await end_tasks(pump, reader)
            call.cancel()
            # They may not have arrived: once more on the next stream. Receivers drop by seq what they have.
            self.queue.put_back([item for batch in self._unaccepted for item in batch.items])
            self._unaccepted.clear()
            self._unaccepted_bytes = 0

    async def _pump(self, call: Any) -> None:
        policy = self._policy
        greeting = edge_pb2.DeliverRequest(edge_id=self.info.edge_id, incarnation=self.info.incarnation)
        async with asyncio.timeout(policy.write_seconds):
            await call.write(greeting)
        self.connected = True
        self.failing = False
        written = 0
        while True:
            await self._wait_for_window()
            items = self.queue.take(max_events=policy.batch_events, max_bytes=policy.batch_bytes)
            if not items:
                self._filled.clear()
                await self._filled.wait()
                continue
            events = [item.event if isinstance(item, Outgoing) else self._made_here(item) for item in items]
            written += len(events)
            batch = _Batch(written, sum(map(len, events)), items)
            self._unaccepted.append(batch)
            self._unaccepted_bytes += batch.size_bytes
            async with asyncio.timeout(policy.write_seconds):
                await call.write(edge_pb2.DeliverRequest(events=events))
            self._metrics.delivered_events.inc(len(items))
            self._metrics.delivered_batches.inc()

    async def _wait_for_window(self) -> None:
        while self._unaccepted_bytes > self._policy.window_bytes:
            self._accepted.clear()
            async with asyncio.timeout(self._policy.write_seconds):
                await self._accepted.wait()

    async def _read(self, call: Any) -> None:
        """Reads how far the edge has taken over, until the stream ends."""
        async for response in call:
            while self._unaccepted and self._unaccepted[0].last <= response.accepted_events:
                self._unaccepted_bytes -= self._unaccepted.popleft().size_bytes
            self._accepted.set()
            if not self._unaccepted and not self.queue:
                self._drained.set()

    def _made_here(self, item: HeadNotice | OnlineNotice) -> bytes:
        event = edge_pb2.EdgeEvent(published_at_ms=self._clock.now_ms())
        if isinstance(item, HeadNotice):
            event.group_id = item.group_id
            event.head.CopyFrom(edge_pb2.Head(epoch=item.epoch, head_seq=item.head_seq))
        else:
            groups = [edge_pb2.GroupOnline(group_id=group_id, online=online) for group_id, online in item.counts.items()]
            event.online.CopyFrom(edge_pb2.OnlineEvent(groups=groups))
        return event.SerializeToString()
