"""GroupApp, with its real stores and real gRPC, is stopped and started again; its store, its routers and its callers go away (I3, I4)."""

from __future__ import annotations

import pathlib
import threading
import uuid
from collections.abc import Iterator

import grpc
import pytest
from group_bench import FakeRouter, GroupBench, code_of, record

from group_svc.adapters import grpc_publisher
from group_svc.app import GroupApp, Stores, open_sqlite
from group_svc.settings import GroupServiceSettings
from throng.api.common.v1 import message_pb2 as pb
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import message_pb2 as m
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.runtime.settings import load


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[GroupBench]:
    running = GroupBench(tmp_path)
    yield running
    running.stop()


def test_a_restart_keeps_what_was_acked_and_the_default_group_i3(tmp_path: pathlib.Path) -> None:
    first = GroupBench(tmp_path)
    first.create("g", "ann")
    msg_id = str(uuid.uuid4())
    sent = first.send("ann", msg_id=msg_id)
    first.stop()
    second = GroupBench(tmp_path)
    try:
        assert second.send("ann", msg_id=msg_id) == sent
        assert [one.client_msg_id for one in second.page().messages] == [msg_id]
        assert second.groups.GetGroup(g.GetGroupRequest(group_id="lobby"), timeout=5).group.settings.open
    finally:
        second.stop()


class FaultyStore:
    """A message store that is away for its first commits."""

    def __init__(self, inner, faults: int) -> None:
        self._inner = inner
        self.faults = faults

    def commit(self, candidates, *, now_ms):
        if self.faults:
            self.faults -= 1
            raise unavailable("away")
        return self._inner.commit(candidates, now_ms=now_ms)

    def __getattr__(self, name: str):
        return getattr(self._inner, name)


def test_a_store_that_is_away_for_a_while_loses_nothing_i3_i4(tmp_path: pathlib.Path) -> None:
    def open_stores(settings: GroupServiceSettings) -> Stores:
        stores = open_sqlite(settings)
        return Stores(FaultyStore(stores.messages, 4), stores.groups, stores.close)

    bench = GroupBench(tmp_path, open_stores=open_stores)
    try:
        bench.create("g", "ann", "bob")
        ids = [str(uuid.uuid4()) for _ in range(200)]
        users = ["ann", "bob"] * 100
        records = [record(user, msg_id) for user, msg_id in zip(users, ids, strict=True)]
        requests = [uplink_pb2.AppendRequest(batch_id=1 + at // 50, records=records[at : at + 50]) for at in range(0, 200, 50)]
        assert all(not response.failures for response in bench.uplink.Append(iter(requests), timeout=10))
        bench.router.wait(lambda: len(bench.router.answers()) == 200)
        seqs = {answer.ack.client_msg_id: answer.ack.seq for answer in bench.router.answers()}
        assert sorted(seqs.values()) == list(range(1, 201))
        for user in ("ann", "bob"):
            mine = [seqs[msg_id] for one, msg_id in zip(users, ids, strict=True) if one == user]
            assert mine == sorted(mine)
        bench.router.wait(lambda: len(bench.router.seqs()) == 200)
        assert bench.router.seqs() == list(range(1, 201))
    finally:
        bench.stop()


def test_a_router_that_comes_back_gets_what_was_published_meanwhile(bench: GroupBench) -> None:
    bench.create("g", "ann")
    bench.send("ann")
    bench.router.wait(lambda: bench.router.seqs() == [1])
    port = bench.router.port
    bench.router.stop()
    bench.send("ann")
    bench.send("ann")
    bench.router = FakeRouter(port)
    bench.router.wait(lambda: bench.router.seqs()[-2:] == [2, 3], 20.0)


def test_a_router_that_never_answers_is_left_for_the_next_one(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_publisher, "_ACK_SECONDS", 0.3)
    deaf = FakeRouter()
    deaf.deaf = True
    good = FakeRouter()
    addresses = f"127.0.0.1:{deaf.port},127.0.0.1:{good.port}"
    bench = GroupBench(tmp_path, router_addresses=addresses)
    try:
        bench.create("g", "ann")
        bench.send("ann")
        good.wait(lambda: good.seqs() == [1])
        assert deaf.events == []
    finally:
        bench.stop()
        deaf.stop()
        good.stop()


def test_a_caller_with_a_short_deadline_learns_that_it_is_not_known(tmp_path: pathlib.Path) -> None:
    def open_stores(settings: GroupServiceSettings) -> Stores:
        stores = open_sqlite(settings)
        return Stores(FaultyStore(stores.messages, 10_000), stores.groups, stores.close)

    bench = GroupBench(tmp_path, open_stores=open_stores, drain_seconds=0.2)
    try:
        bench.create("g", "ann")
        body = pb.Message(text=pb.Text(text="hi"))
        request = m.SendMessageRequest(group_id="g", user_id="ann", client_msg_id=str(uuid.uuid4()), body=body)
        assert code_of(lambda: bench.messages.SendMessage(request, timeout=0.4)) is ErrorCode.DEADLINE_EXCEEDED
    finally:
        bench.stop()


def test_stop_ends_uplink_streams_and_leaves_no_thread(tmp_path: pathlib.Path) -> None:
    bench = GroupBench(tmp_path)
    bench.create("g", "ann")
    more = threading.Event()

    def requests() -> Iterator[uplink_pb2.AppendRequest]:
        yield uplink_pb2.AppendRequest(batch_id=1, records=[record("ann")])
        more.wait(20)

    stream = bench.uplink.Append(requests())
    assert next(stream).batch_id == 1
    bench.app.stop()
    bench.app.stop()
    with pytest.raises(grpc.RpcError):
        next(stream)
    more.set()
    assert [one.name for one in threading.enumerate() if one.name.startswith("group-")] == []
    bench.stop()


def test_a_taken_port_is_said(bench: GroupBench, tmp_path: pathlib.Path) -> None:
    port = int(bench.app.grpc_address.rsplit(":", 1)[1])
    second = GroupApp(load(GroupServiceSettings, flags={"port": port, "data_dir": tmp_path / "b", "redis_url": "embedded://x"}))
    with pytest.raises(ThrongError) as refused:
        second.start()
    second.stop()
    assert refused.value.code is ErrorCode.UNAVAILABLE
