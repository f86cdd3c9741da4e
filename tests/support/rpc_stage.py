"""A service with one method of each kind that ours have, on a server of either colour, and clients of either colour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.runtime import rpc_aio, rpc_sync
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.testing.certificates import Certificate, CertificateAuthority

SECONDS = 10.0


def security(ca: CertificateAuthority, *names: str, trust: CertificateAuthority | None = None, **more: Any) -> RpcSecurity:
    """A certificate of `ca`, for 127.0.0.1 unless names are given, that trusts `ca`, or another one."""
    issued = ca.issue(*(names or ("127.0.0.1",)))
    return with_certificate(issued, trust or ca, **more)


def with_certificate(issued: Certificate, trust: CertificateAuthority, **more: Any) -> RpcSecurity:
    return RpcSecurity(trust.certificate_pem, issued.certificate_pem, issued.key_pem, **more)


class Handlers(router_pb2_grpc.RouterServiceServicer, unread_pb2_grpc.UnreadServiceServicer):
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def AssignEdge(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append("AssignEdge")
        return router_pb2.AssignEdgeResponse(edge_id="e")

    def Publish(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.calls.append("Publish")
        for request in request_iterator:
            yield router_pb2.PublishResponse(batch_id=request.batch_id)

    def Observe(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append("Observe")
        return unread_pb2.ObserveResponse(accepted=sum(len(request.observations) for request in request_iterator))


class AioHandlers(Handlers):
    """The same on asyncio."""

    async def AssignEdge(self, request: Any, context: Any) -> Any:  # type: ignore[override]  # noqa: N802
        return Handlers.AssignEdge(self, request, context)

    async def Publish(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # type: ignore[override]  # noqa: N802
        self.calls.append("Publish")
        async for request in request_iterator:
            yield router_pb2.PublishResponse(batch_id=request.batch_id)

    async def Observe(self, request_iterator: Any, context: Any) -> Any:  # type: ignore[override]  # noqa: N802
        self.calls.append("Observe")
        return unread_pb2.ObserveResponse(accepted=sum([len(request.observations) async for request in request_iterator]))


class Stage:
    """A server of one colour."""

    def __init__(self, colour: str, aio: AioThread) -> None:
        self.colour = colour
        self.aio = aio
        self.handlers = AioHandlers() if colour == "aio" else Handlers()
        self.registry = CollectorRegistry()
        self.address = ""
        self._server: Any = None

    def start(self, rules: RpcSecurity = PLAIN) -> Stage:
        self.registry = CollectorRegistry()
        metrics = RpcMetrics("router", self.registry)
        if self.colour == "aio":
            self.address = self.aio.run(self._start_aio(metrics, rules), SECONDS)
        else:
            self._server = rpc_sync.SyncServer(metrics, threads=8, security=rules)
            self._add()
            self.address = f"127.0.0.1:{self._server.start('127.0.0.1:0')}"
        return self

    async def _start_aio(self, metrics: RpcMetrics, rules: RpcSecurity) -> str:
        self._server = rpc_aio.AioServer(metrics, security=rules)
        self._add()
        return f"127.0.0.1:{await self._server.start('127.0.0.1:0')}"

    def _add(self) -> None:
        self._server.add(router_pb2_grpc.add_RouterServiceServicer_to_server, self.handlers, "throng.router.v1.RouterService")
        self._server.add(unread_pb2_grpc.add_UnreadServiceServicer_to_server, self.handlers, "throng.unread.v1.UnreadService")

    def stop(self) -> None:
        if self._server is None:
            return
        if self.colour == "aio":
            self.aio.run(self._server.stop(0), SECONDS)
        else:
            self._server.stop(0)

    def count(self, code: str) -> float:
        """Calls that ended with a code, whatever their method."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "throng_router_grpc_requests_total" and sample.labels["code"] == code
        )


def call_all(address: str, rules: RpcSecurity) -> list[Any]:
    """Calls one method of each kind by a channel for threads; gives what came, or the code of the refusal."""
    with rpc_sync.channel([address], rules) as channel:
        router, unread = router_pb2_grpc.RouterServiceStub(channel), unread_pb2_grpc.UnreadServiceStub(channel)
        request = unread_pb2.ObserveRequest(observations=[unread_pb2.Observation()])
        return [
            _outcome(lambda: router.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=SECONDS).edge_id),
            _outcome(lambda: [r.batch_id for r in router.Publish(iter([router_pb2.PublishRequest(batch_id=7)]), timeout=SECONDS)]),
            _outcome(lambda: unread.Observe(iter([request]), timeout=SECONDS).accepted),
            _outcome(lambda: unread.Observe.future(iter([request]), timeout=SECONDS).result().accepted),
        ]


async def call_all_aio(address: str, rules: RpcSecurity) -> list[Any]:
    """The same by a channel on asyncio, its streams fed by an iterator."""
    async with rpc_aio.channel([address], rules) as channel:
        router = router_pb2_grpc.RouterServiceStub(channel)
        outcomes: list[Any] = []
        try:
            outcomes.append((await router.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=SECONDS)).edge_id)
        except grpc.RpcError as error:
            outcomes.append(error.code())
        try:
            outcomes.append([response.batch_id async for response in router.Publish(_batches(), timeout=SECONDS)])
        except grpc.RpcError as error:
            outcomes.append(error.code())
        return outcomes


async def _batches() -> AsyncIterator[router_pb2.PublishRequest]:
    yield router_pb2.PublishRequest(batch_id=7)


def _outcome(call: Any) -> Any:
    try:
        return call()
    except grpc.RpcError as error:
        return error.code()
