"""Neighbours of a router under test: edges that misbehave as told, their report streams, a publisher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry

from throng.api.edge.v1 import edge_pb2
from throng.api.edge.v1.edge_pb2_grpc import EdgeServiceServicer, add_EdgeServiceServicer_to_server
from throng.api.router.v1 import router_pb2
from throng.api.router.v1.router_pb2_grpc import RouterServiceStub
from throng.runtime import rpc_aio
from throng.runtime.rpc_aio import AioServer
from throng.runtime.rpc_metrics import RpcMetrics

DEADLINE_SECONDS = 20.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)


async def until_async(condition: Callable[[], Any], what: str) -> None:
    """Waits for a condition that has to be asked for."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


class FakeEdge(EdgeServiceServicer):
    """Serves Deliver and keeps what comes; reads nothing while `reading` is cleared."""

    def __init__(self, edge_id: str, *, incarnation: int = 1_000, address: str = "127.0.0.1:0") -> None:
        self.edge_id = edge_id
        self.incarnation = incarnation
        self.address = address
        self.events: list[bytes] = []
        self.online: list[dict[str, int]] = []
        self.greetings: list[tuple[str, int]] = []
        self.streams = 0
        self.reading = asyncio.Event()
        self.reading.set()
        self._server: AioServer | None = None
        self._ending = asyncio.Event()

    async def start(self) -> FakeEdge:
        """Listens; again on the same address after `stop`."""
        self._ending = asyncio.Event()
        self._server = AioServer(RpcMetrics("edge", CollectorRegistry()))
        self._server.add(add_EdgeServiceServicer_to_server, self, "throng.edge.v1.EdgeService")
        port = await self._server.start(self.address)
        self.address = f"127.0.0.1:{port}"
        return self

    async def stop(self) -> None:
        """Ends all streams and closes the port."""
        if self._server is not None:
            self._ending.set()
            self.reading.set()
            await self._server.server.stop(0)
            self._server = None

    async def Deliver(self, request_iterator: Any, context: Any) -> AsyncIterator[edge_pb2.DeliverResponse]:  # noqa: N802
        self.streams += 1
        accepted = 0
        try:
            async for request in request_iterator:
                if request.edge_id:
                    self.greetings.append((request.edge_id, request.incarnation))
                for event in request.events:
                    self._keep(event)
                accepted += len(request.events)
                await self.reading.wait()
                yield edge_pb2.DeliverResponse(accepted_events=accepted)
        finally:
            self.streams -= 1

    def _keep(self, event: bytes) -> None:
        """Online counts come when they like and are kept apart; other events may be no EdgeEvents."""
        try:
            proto = edge_pb2.EdgeEvent.FromString(event)
        except DecodeError:
            proto = edge_pb2.EdgeEvent()
        if proto.WhichOneof("event") == "online":
            self.online.append({group.group_id: group.online for group in proto.online.groups})
        else:
            self.events.append(event)

    async def Drain(self, request: edge_pb2.DrainRequest, context: Any) -> edge_pb2.DrainResponse:  # noqa: N802
        return edge_pb2.DrainResponse()


class ReportStream:
    """An edge's ReportRoutes stream, one report at a time."""

    def __init__(self, router_address: str, edge: FakeEdge) -> None:
        self.edge = edge
        self.applied = 0
        self.snapshots_wanted = 0
        self.order: router_pb2.EdgeOrder | None = None
        self.error: grpc.aio.AioRpcError | None = None
        self._last_id = 0
        self._channel = rpc_aio.channel([router_address])
        self._call = RouterServiceStub(self._channel).ReportRoutes()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self.applied = response.applied_report_id
                self.snapshots_wanted += response.snapshot_wanted
                self.order = response.order if response.HasField("order") else None
        except grpc.aio.AioRpcError as error:
            self.error = error

    async def send(self, **report: Any) -> int:
        """Writes one report."""
        self._last_id += 1
        await self._call.write(router_pb2.ReportRoutesRequest(report_id=self._last_id, **report))
        return self._last_id

    async def applied_up_to(self, report_id: int) -> None:
        """Waits until a report stands in the registry."""
        await until(lambda: self.applied >= report_id or self._reader.done(), f"report {report_id} to be applied")
        assert self.applied >= report_id, self.error

    async def begin(self, groups: dict[str, int] | None = None, **identity: Any) -> ReportStream:
        """Sends identity and a snapshot and waits until both are applied."""
        await self.introduce(**identity)
        await self.applied_up_to(await self.snapshot(groups or {}))
        return self

    async def introduce(self, **identity: Any) -> None:
        """Sends the identity alone."""
        who = {
            "edge_id": self.edge.edge_id,
            "incarnation": self.edge.incarnation,
            "internal_address": self.edge.address,
            "public_url": f"ws://{self.edge.edge_id}",
        }
        await self.send(identity=router_pb2.EdgeIdentity(**(who | identity)))

    async def snapshot(self, groups: dict[str, int]) -> int:
        """Sends everything."""
        return await self.send(snapshot=router_pb2.RouteSnapshot(groups=counts(groups), complete=True))

    async def change(self, groups: dict[str, int]) -> None:
        """Sends a delta and waits until it is applied."""
        await self.applied_up_to(await self.send(delta=router_pb2.RouteDelta(groups=counts(groups))))

    async def beat(self, **load: Any) -> None:
        """Sends a load and waits until it is applied."""
        await self.applied_up_to(await self.send(load=router_pb2.EdgeLoad(**load)))

    async def good_bye(self) -> None:
        """Closes the stream as an edge that stops."""
        await self._call.done_writing()
        await asyncio.wait_for(asyncio.shield(self._reader), DEADLINE_SECONDS)
        await self._channel.close()

    async def ended(self) -> grpc.aio.AioRpcError | None:
        """Waits until the router ends the stream; returns with what."""
        await until(self._reader.done, "the report stream to end")
        return self.error

    async def break_off(self) -> None:
        """Breaks the stream as an edge that dies."""
        self._call.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()


class PublishStream:
    """group_svc's Publish stream."""

    def __init__(self, router_address: str) -> None:
        self.queued = 0
        self.error: grpc.aio.AioRpcError | None = None
        self._last_id = 0
        self._channel = rpc_aio.channel([router_address])
        self._call = RouterServiceStub(self._channel).Publish()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self.queued = response.batch_id
        except grpc.aio.AioRpcError as error:
            self.error = error

    async def publish(self, *publications: router_pb2.Publication) -> None:
        """Publishes a batch and waits until it is queued, or the stream ended with an error (then raises it)."""
        self._last_id += 1
        batch = router_pb2.PublishRequest(batch_id=self._last_id, publications=publications)
        await self._call.write(batch)
        await until(lambda: self.queued >= self._last_id or self._reader.done(), "a batch to be queued")
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        """Ends the stream."""
        self._call.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()


def counts(groups: dict[str, int]) -> list[router_pb2.GroupCount]:
    """Groups as protos."""
    return [router_pb2.GroupCount(group_id=group_id, connections=held) for group_id, held in groups.items()]


def block(group_id: str, seq: int, *, size_bytes: int = 20) -> router_pb2.Publication:
    """A block of one message, as far as a router sees."""
    event = edge_pb2.EdgeEvent(group_id=group_id, published_at_ms=seq, block=b"b" * size_bytes).SerializeToString()
    return router_pb2.Publication(group_id=group_id, epoch=1, head_seq=seq, event=event)


def heads(events: list[bytes], group_id: str) -> list[int]:
    """Seqs of the head notices of a group among events."""
    parsed = [edge_pb2.EdgeEvent.FromString(event) for event in events]
    return [event.head.head_seq for event in parsed if event.WhichOneof("event") == "head" and event.group_id == group_id]
