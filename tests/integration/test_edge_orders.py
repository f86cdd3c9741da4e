"""Orders of operators: from the command line to a router, to every replica, to the edge, which empties itself and comes back."""

from __future__ import annotations

import asyncio
import pathlib
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import click.testing
import pytest
from edge_client import EdgeClient, Refused
from edge_neighbours import Neighbours
from prometheus_client import CollectorRegistry
from router_stage import FakeEdge, ReportStream

from edge.app import EdgeApp
from edge.settings import EdgeSettings
from router_svc.app import RouterApp
from router_svc.settings import RouterSettings
from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.cli.main import main
from throng.domain.close_codes import CloseCode
from throng.runtime import rpc_sync
from throng.runtime.aio_thread import AioThread
from throng.runtime.settings import load

SECONDS = 15.0


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Stage:
    """Two routers over one Redis, which edges report to; everything ends in `close`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.aio = AioThread("orders-tests")
        self.aio.start()
        self.key = folder / "token.key"
        self.key.write_text("ab" * 32)
        url = f"embedded://{uuid.uuid4()}"
        self.routers = [self._router(url) for _ in range(2)]
        self.neighbours = Neighbours()
        self.neighbours.start()
        self._edges: list[EdgeApp] = []
        self._clients: list[EdgeClient] = []

    def _router(self, url: str) -> RouterApp:
        settings = RouterSettings(port=0, redis_url=url, channel_tick_seconds=0.2, drain_seconds=0.1)
        app = RouterApp(settings, self.aio, registry=CollectorRegistry())
        app.start()
        return app

    def edge(self, edge_id: str, **flags: Any) -> EdgeApp:
        """Starts an edge; one of an odd number reports to the second router."""
        router = self.routers[len(self._edges) % 2]
        values = {
            "port": 0,
            "edge_id": edge_id,
            "group_addresses": self.neighbours.address,
            "router_addresses": router.grpc_address,
            "unread_addresses": self.neighbours.address,
            "jwt_secret_file": self.key,
            "static_dir": self.key.parent / "absent",
            "drain_window_ms": 100,
        }
        app = EdgeApp(load(EdgeSettings, flags=values | flags, environment={}), self.aio)
        self._edges.append(app)
        app.start()
        assert app.wait_ready(SECONDS)
        return app

    def client(self, edge: EdgeApp, user: str = "ann") -> EdgeClient:
        token = TokenIssuer.from_file(self.key).issue(user, ttl_seconds=60, name=user)
        client = EdgeClient(edge.http_address, token=token, path="/ws?groups=lobby", subprotocols=("throng.v1.json",))
        self._clients.append(client)
        return client

    def run(self, *arguments: str, router: int = 0) -> str:
        """`throng edge …` at one of the routers; returns what it printed."""
        command = ["edge", *arguments, "--address", self.routers[router].grpc_address]
        done = click.testing.CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        return done.output

    def listed(self, edge_id: str, *, router: int = 0) -> list[str]:
        """The cells of one edge's line in `throng edge list`."""
        lines = [re.split(r"  +", line) for line in self.run("list", router=router).splitlines()]
        return next((cells for cells in lines if cells[0] == edge_id), [])

    def assign(self, router: int, times: int = 20) -> set[str]:
        with rpc_sync.channel([self.routers[router].grpc_address]) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            return {stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=5).edge_id for _ in range(times)}

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for edge in reversed(self._edges):
            edge.stop()
        for router in self.routers:
            router.stop()
        self.neighbours.stop()
        self.aio.stop()


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_an_edge_is_drained_by_hand_and_called_back(stage: Stage) -> None:
    one, two = stage.edge("one"), stage.edge("two")
    client = stage.client(one)
    client.expect("entered")
    until(lambda: stage.listed("one", router=1)[1:3] == ["serves", "1"], "the client is reported")
    assert int(stage.listed("one", router=1)[3]) > 1  # what it lets in at most
    assert "one drains; 1 connections leave" in stage.run("drain", "one", "--window-ms", "200", router=1)
    assert stage.listed("one", router=1)[1] == "drains"  # at once, where it was ordered
    assert stage.assign(1) == {"two"}
    assert client.expect("drain").get("reconnectAfterMs", 0) <= 200
    assert client.expect_close() == CloseCode.DRAINING
    with pytest.raises(Refused) as refused:
        stage.client(one, "bob")
    assert refused.value.status == 503
    stage.client(two, "bob").expect("entered")
    until(lambda: stage.listed("one")[1:3] == ["drains", "0"], "the edge is empty, and still there")

    stage.run("undrain", "one")
    until(lambda: one.readiness.ready, "the edge is back")
    stage.client(one, "cid").expect("entered")
    until(lambda: stage.assign(1) == {"one", "two"}, "the other router deals clients out to it")


def test_a_shared_port_is_given_up_by_a_drain_and_taken_again(stage: Stage) -> None:
    one = stage.edge("one", reuse_port=True)
    stage.client(one).expect("entered")
    stage.run("drain", "one")
    until(lambda: one.readiness.draining, "the edge drains")

    def gone() -> bool:
        try:
            stage.client(one)
        except ConnectionRefusedError:
            return True
        except (Refused, ConnectionResetError):
            pass
        return False

    until(gone, "the edge leaves the port")
    stage.run("undrain", "one")
    assert one.wait_ready(SECONDS)
    stage.client(one).expect("entered")


def test_a_weight_by_hand_is_known_to_every_router_until_it_is_cleared(stage: Stage) -> None:
    stage.edge("one")
    assert stage.run("weight", "one", "7").endswith("one: weight 7\n")
    assert stage.listed("one")[-2] == "7"
    until(lambda: stage.listed("one", router=1)[-2] == "7", "the other router knows")
    stage.run("weight", "one", "auto", router=1)
    until(lambda: stage.listed("one")[-2] == "-", "it is cleared")


@pytest.mark.parametrize("order", [("weight", "ghost", "5"), ("drain", "ghost"), ("undrain", "ghost")])
def test_an_unknown_edge_is_named(stage: Stage, order: tuple[str, ...]) -> None:
    command = ["edge", *order, "--address", stage.routers[0].grpc_address]
    done = click.testing.CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "No edge ghost is alive" in done.output


def test_what_cannot_be_a_weight_or_a_router_is_said(tmp_path: pathlib.Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = click.testing.CliRunner().invoke(main, ["edge", *arguments])
        return done.exit_code, done.output

    code, text = run("weight", "one", "1001")
    assert (code, "neither 1 to 1000 nor auto" in text) == (2, True)
    code, text = run("list", "--data-dir", str(tmp_path))
    assert (code, "No Throng runs on" in text) == (2, True)


def test_an_order_reaches_an_edge_on_a_stream_that_begins_later(stage: Stage) -> None:
    async def scenario() -> None:
        edge = await FakeEdge("late").start()
        stub_channel = rpc_sync.channel([stage.routers[0].grpc_address])
        stub = router_pb2_grpc.RouterServiceStub(stub_channel)
        try:
            stream = await ReportStream(stage.routers[0].grpc_address, edge).begin()
            await stream.break_off()
            with futures.ThreadPoolExecutor(1) as pool:
                request = router_pb2.DrainEdgeRequest(edge_id="late", window_ms=70)
                await asyncio.get_running_loop().run_in_executor(pool, lambda: stub.DrainEdge(request, timeout=5))
            stream = await ReportStream(stage.routers[1].grpc_address, edge).begin()
            await stream.beat(connections=1)
            assert stream.order is not None
            assert (stream.order.drain, stream.order.window_ms) == (True, 70)
            await stream.break_off()
        finally:
            stub_channel.close()
            await edge.stop()

    stage.aio.run(scenario(), 30)
