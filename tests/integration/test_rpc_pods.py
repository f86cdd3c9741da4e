"""A name that stands for several replicas: one that is added is found while streams stay where they are, as behind a headless Service."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from rpc_stage import SECONDS, AioHandlers, Handlers

from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.runtime import rpc_aio, rpc_limits, rpc_sync
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_metrics import RpcMetrics
from throng.testing.servers import free_port

AGE_MS, ADDRESS_MS = 300, 50
HOSTS = ("127.0.81.1", "127.0.81.2")


class NameServer:
    """Answers every question for an address with those that are in `hosts`, and any other question with nothing."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            question, client = self._socket.recvfrom(512)
            if not question:
                return
            end = question.index(b"\0", 12) + 5
            (kind,) = struct.unpack(">H", question[end - 4 : end - 2])
            hosts = self.hosts if kind == 1 else []
            answers = b"".join(struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(host) for host in hosts)
            head = question[:2] + struct.pack(">HHHHH", 0x8580, 1, len(hosts), 0, 0)
            self._socket.sendto(head + question[12:end] + answers, client)

    def stop(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(SECONDS)
        self._socket.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options with other figures."""
    shorter = {"grpc.max_connection_age_ms": AGE_MS, "grpc.dns_min_time_between_resolutions_ms": ADDRESS_MS}
    for name in ("SERVER_OPTIONS", "CLIENT_OPTIONS"):
        options = tuple((key, shorter.get(key, value)) for key, value in getattr(rpc_limits, name))
        for module in (rpc_sync, rpc_aio):
            monkeypatch.setattr(module, name, options)
    assert set(shorter) <= {key for key, _ in (*rpc_limits.SERVER_OPTIONS, *rpc_limits.CLIENT_OPTIONS)}


class Replica:
    """A server of one colour at one address."""

    def __init__(self, colour: str, aio: AioThread, address: str) -> None:
        self.handlers = AioHandlers() if colour == "aio" else Handlers()
        self._aio = aio if colour == "aio" else None
        metrics = RpcMetrics("router", CollectorRegistry())
        self._server: Any = None
        if self._aio is not None:
            self._aio.run(self._start(metrics, address), SECONDS)
            return
        self._server = rpc_sync.SyncServer(metrics, threads=8)
        self._add()
        self._server.start(address)

    async def _start(self, metrics: RpcMetrics, address: str) -> None:
        self._server = rpc_aio.AioServer(metrics)
        self._add()
        await self._server.start(address)

    def _add(self) -> None:
        self._server.add(router_pb2_grpc.add_RouterServiceServicer_to_server, self.handlers, "throng.router.v1.RouterService")

    @property
    def unary_calls(self) -> int:
        return self.handlers.calls.count("AssignEdge")

    def stop(self) -> None:
        if self._aio is None:
            self._server.stop(0)
        else:
            self._aio.run(self._server.stop(0), SECONDS)


@pytest.mark.parametrize("colour", ["sync", "aio"])
def test_a_replica_that_is_added_is_found_and_streams_stay(colour: str, names: NameServer, aio: AioThread) -> None:
    port = free_port()
    with contextlib.ExitStack() as running:
        first = Replica(colour, aio, f"{HOSTS[0]}:{port}")
        running.callback(first.stop)
        names.hosts = [HOSTS[0]]
        channel = running.enter_context(rpc_sync.channel([f"dns://127.0.0.1:{names.port}/replicas.throng.test:{port}"]))
        stub = router_pb2_grpc.RouterServiceStub(channel)
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        responses = iter(stub.Publish(iter(requests.get, None)))
        requests.put(router_pb2.PublishRequest(batch_id=1))
        assert next(responses).batch_id == 1
        assert stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=SECONDS).edge_id == "e"

        second = Replica(colour, aio, f"{HOSTS[1]}:{port}")
        running.callback(second.stop)
        names.hosts = list(HOSTS)
        deadline = threading.Event()
        for _ in range(600):
            stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=SECONDS)
            if second.unary_calls >= 5:
                break
            deadline.wait(0.02)
        assert second.unary_calls >= 5, "the added replica gets calls"
        assert first.unary_calls >= 5

        requests.put(router_pb2.PublishRequest(batch_id=2))
        assert next(responses).batch_id == 2, "the stream has outlived several ages of its connection"
        assert first.handlers.calls.count("Publish") == 1
        requests.put(None)
        assert list(responses) == []
