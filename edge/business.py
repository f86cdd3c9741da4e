"""Everything of an edge that speaks gRPC or Kafka, put together: the business thread's half of the composition root (`app.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import grpc.aio

from edge.adapters.grpc_upstream import GrpcUpstream
from edge.adapters.link_watch import LinkWatch
from edge.adapters.route_reporter import RouteReporter
from edge.adapters.router_client import RouterClient
from edge.metrics import EdgeMetrics
from edge.servicer import EdgeServicer
from edge.settings import EdgeSettings
from throng.adapters.grpc_uplink import GrpcUplinkProducer
from throng.api.edge.v1 import edge_pb2_grpc
from throng.ports.uplink import UplinkProducer
from throng.runtime import rpc_aio

_GRACE_SECONDS = 1.0


class OwnProducer(UplinkProducer, Protocol):
    """The way to the uplink that an edge opens and closes itself."""

    @property
    def records_in_flight(self) -> int:
        """Records appended and not settled."""
        ...


class Business:
    """Everything of an edge that speaks gRPC. All methods run in the business loop."""

    def __init__(self, settings: EdgeSettings, metrics: EdgeMetrics, producer: UplinkProducer | None) -> None:
        self._settings = settings
        self._metrics = metrics
        self.security = settings.rpc_security()
        self._loop = asyncio.get_running_loop()
        self._group_channel = rpc_aio.channel(settings.group_addresses, self.security)
        self._unread_channel = rpc_aio.channel(settings.unread_addresses, self.security)
        self._router_channels = [rpc_aio.channel([address], self.security) for address in settings.router_addresses]
        self.own_producer: OwnProducer | None = None
        if producer is None:
            producer = self.own_producer = self._make_producer()
        self.reporter: RouteReporter | None = None
        self.router = RouterClient(self._router_channels, self._loop)
        self.upstream = GrpcUpstream(
            self._group_channel,
            self._unread_channel,
            producer,
            report_routes=lambda changes: self.reporter.report(changes) if self.reporter is not None else None,
            call_ended=metrics.call_ended,
            call_timeout_seconds=settings.call_timeout_ms / 1000,
            max_calls_under_way=settings.max_calls_under_way,
        )
        self.upstream.start(self._loop)
        self._watch: LinkWatch | None = None
        self._server: rpc_aio.AioServer | None = None
        self._servicer: EdgeServicer | None = None

    def _make_producer(self) -> OwnProducer:
        settings = self._settings
        if settings.uplink == "grpc":
            return GrpcUplinkProducer(self._open_uplink, self._loop)
        from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer

        made = KafkaUplinkProducer(
            settings.kafka_access(), settings.kafka_topic_settings(), settings.kafka_limits(), name="throng-edge-producer"
        )
        self._metrics.kafka.watch_producer(made.sender)
        made.start()
        return made

    def _open_uplink(self) -> grpc.aio.Channel:
        return rpc_aio.channel(self._settings.group_addresses, self.security)

    def watch(self, on_change: Callable[[bool], None]) -> None:
        """Begins to look whether group_svc answers."""
        self._watch = LinkWatch(self._group_channel, on_change, replicas=len(self._settings.group_addresses))
        self._watch.start()

    async def serve(self, servicer: EdgeServicer) -> int:
        """Serves routers; returns the port."""
        self._servicer = servicer
        self._server = rpc_aio.AioServer(self._metrics.rpc, security=self.security)
        self._server.add(edge_pb2_grpc.add_EdgeServiceServicer_to_server, servicer, "throng.edge.v1.EdgeService")
        return await self._server.start(f"{self._settings.internal_host}:{self._settings.internal_port}")

    async def not_serving(self) -> None:
        """Tells health checks and routers that this edge takes no more clients."""
        if self._server is not None:
            await self._server.set_serving(serving=False)
        if self.reporter is not None:
            self.reporter.report_load()

    async def close(self) -> None:
        """Ends streams, then servers, then what is under way."""
        if self._servicer is not None:
            self._servicer.end_streams()
        if self.reporter is not None:
            await self.reporter.stop()
        if self._watch is not None:
            await self._watch.stop()
        if self._server is not None:
            await self._server.stop(_GRACE_SECONDS)
        await self.upstream.stop()
        for channel in (self._group_channel, self._unread_channel, *self._router_channels):
            await channel.close(None)
