"""A whole edge between fake neighbours: real gRPC, real sockets, a client that wsproto judges."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from edge_client import EdgeClient, Refused
from edge_neighbours import DEADLINE_SECONDS, Delivery, Neighbours, block_event
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edge.app import EdgeApp
from edge.native import library
from edge.settings import EdgeSettings
from throng.adapters.jwt_tokens import TokenIssuer
from throng.adapters.memory_uplink import MemoryUplink
from throng.api.client.v1 import client_pb2
from throng.api.edge.v1 import edge_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.aio_thread import AioThread
from throng.runtime.settings import load


class Running:
    """An edge that runs, and its neighbours."""

    def __init__(self, folder: pathlib.Path, *, uplink: MemoryUplink | None = None, **flags: Any) -> None:
        self.neighbours = Neighbours()
        self.neighbours.start()
        self.key = folder / "token.key"
        self.key.write_text("ab" * 32)
        self.aio = AioThread()
        self.aio.start()
        address = self.neighbours.address
        settings = {
            "port": 0,
            "edge_id": "edge-1",
            "group_addresses": address,
            "router_addresses": address,
            "unread_addresses": address,
            "jwt_secret_file": self.key,
            "dev_login": True,
            "uplink": "grpc" if uplink is None else "memory",
            "static_dir": folder / "absent",
            "drain_window_ms": 0,
            **flags,
        }
        self.registry = CollectorRegistry()
        self.app = EdgeApp(
            load(EdgeSettings, flags=settings, environment={}), self.aio, uplink_producer=uplink, registry=self.registry
        )
        self.app.start()
        assert self.app.wait_ready(DEADLINE_SECONDS)
        self.delivery = Delivery(self.app.grpc_address, self.app.edge_id, self.app.incarnation)
        self.delivery.open()
        self._clients: list[EdgeClient] = []

    def token(self, user: str = "alice") -> str:
        return TokenIssuer.from_file(self.key).issue(user, ttl_seconds=60, name=user.title())

    def client(self, user: str = "alice", *, binary: bool = False, path: str = "/ws?groups=lobby", **more: Any) -> EdgeClient:
        subprotocols = ("throng.v1.protobuf",) if binary else ("throng.v1.json",)
        client = EdgeClient(self.app.http_address, token=self.token(user), path=path, subprotocols=subprotocols, **more)
        self._clients.append(client)
        return client

    def entered(self, user: str = "alice", *, binary: bool = False) -> EdgeClient:
        client = self.client(user, binary=binary)
        client.expect("welcome")
        client.expect("entered")
        return client

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.app.http_address, timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.app.stop()
        self.app.stop()
        self.delivery.close()
        self.neighbours.stop()
        self.aio.stop()


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(**more: Any) -> Running:
        started.append(Running(tmp_path, **more))
        return started[-1]

    yield make
    for running in started:
        running.close()


def answer(record: Any, *, seq: int) -> edge_pb2.EdgeEvent:
    """The ACK of an appended record."""
    event = edge_pb2.EdgeEvent(group_id=record.group_id)
    event.answer.conn_id, event.answer.request_id = record.origin.conn_id, record.origin.request_id
    ack = event.answer.ack
    ack.group_id, ack.client_msg_id, ack.epoch, ack.seq, ack.sent_at_ms = record.group_id, record.client_msg_id, 1, seq, 5
    return event


def test_a_named_user_comes_in_and_is_welcomed(start: Callable[..., Running]) -> None:
    running = start()
    running.neighbours.groups.add("hello")
    client = running.client()
    welcome = client.expect("welcome")
    assert (welcome["userId"], welcome["edgeId"]) == ("alice", "edge-1")
    entered = client.expect("entered")
    assert entered["group"]["groupId"] == "lobby"
    assert [message["text"]["text"] for message in entered["messages"]] == ["hello"]
    running.neighbours.router.wait_for(lambda: running.neighbours.router.routes.get("lobby") == 1)


def test_a_submission_travels_up_and_its_ack_comes_back(start: Callable[..., Running]) -> None:
    running = start()
    client = running.entered()
    message_id = str(uuid.uuid4())
    client.send({"requestId": "9", "send": {"groupId": "lobby", "clientMsgId": message_id, "text": {"text": "hi"}}})
    record = running.neighbours.groups.appended.get(timeout=DEADLINE_SECONDS)
    assert (record.user_id, record.client_msg_id, record.body.text.text) == ("alice", message_id, "hi")
    assert (record.origin.edge_id, record.origin.incarnation) == ("edge-1", running.app.incarnation)
    running.delivery.send(answer(record, seq=1))
    frame = client.receive()
    assert frame["requestId"] == "9"
    assert (frame["ack"]["clientMsgId"], frame["ack"]["seq"]) == (message_id, "1")


def test_a_log_that_refuses_is_a_reject_not_silence(start: Callable[..., Running]) -> None:
    running = start()
    running.neighbours.groups.refuse_appends = True
    client = running.entered()
    client.send({"requestId": "9", "send": {"groupId": "lobby", "clientMsgId": str(uuid.uuid4()), "text": {"text": "hi"}}})
    reject = client.expect("reject")
    assert (reject["code"], reject["retryAfterMs"]) == ("ERROR_CODE_UNAVAILABLE", 7)


def test_the_memory_uplink_needs_no_stream(start: Callable[..., Running]) -> None:
    uplink = MemoryUplink()
    running = start(uplink=uplink)
    client = running.entered()
    client.send({"requestId": "1", "send": {"groupId": "lobby", "clientMsgId": str(uuid.uuid4()), "text": {"text": "hi"}}})
    (record,) = uplink.poll(DEADLINE_SECONDS, 10)
    assert record.submission is not None
    assert record.submission.user_id == "alice"
    assert running.neighbours.groups.streams == 0


def test_a_block_reaches_every_client_in_its_own_format(start: Callable[..., Running]) -> None:
    running = start()
    old, new = running.entered("alice"), running.entered("bob", binary=True)
    groups = running.neighbours.groups
    running.delivery.send(block_event([groups.add("one"), groups.add("two")]))
    in_json = old.expect("block")
    assert [message["text"]["text"] for message in in_json["messages"]] == ["one", "two"]
    in_protobuf = new.expect("block")
    assert [(message.seq, message.text.text) for message in in_protobuf.messages] == [(1, "one"), (2, "two")]
    assert in_protobuf.prev_seq == 0


def test_a_lost_delivery_is_healed_without_another_message(start: Callable[..., Running]) -> None:
    """I6: nothing is delivered; heads are compared."""
    running = start()
    client = running.entered()
    running.neighbours.groups.add("lost on its way")
    assert [message["seq"] for message in client.expect("block")["messages"]] == ["1"]


def test_a_restarted_router_is_told_again_and_what_was_missed_is_pulled(start: Callable[..., Running]) -> None:
    running = start()
    router = running.neighbours.router
    client = running.entered()
    router.wait_for(lambda: router.routes.get("lobby") == 1)
    running.neighbours.stop()
    with router.changed:
        router.routes = {}
    running.neighbours.groups.add("missed")
    running.neighbours.start()
    router.wait_for(lambda: len(router.identities) >= 2 and router.routes.get("lobby") == 1)
    assert client.expect("block")["messages"][0]["text"]["text"] == "missed"
    assert len({identity.incarnation for identity in router.identities}) == 1


def test_read_cursors_are_flushed_at_stop(start: Callable[..., Running]) -> None:
    running = start()
    running.neighbours.groups.add("one")
    client = running.entered()
    client.send({"reportRead": {"groupId": "lobby", "readSeq": "1"}})
    client.send({"requestId": "2", "ping": {}})
    client.expect("pong")
    running.app.stop()
    assert running.neighbours.unread.cursors == {("alice", "lobby"): 1}


def test_stop_sends_clients_away_with_a_code_that_brings_them_back(start: Callable[..., Running]) -> None:
    running = start()
    client = running.entered()
    stopping = threading.Thread(target=running.app.stop)
    stopping.start()
    assert client.expect_close() == CloseCode.DRAINING
    stopping.join(DEADLINE_SECONDS)
    assert not stopping.is_alive()
    assert running.neighbours.router.loads[-1].draining


def test_a_drain_turns_new_clients_away_and_tells_those_who_are_in(start: Callable[..., Running]) -> None:
    running = start()
    client = running.entered()
    response = running.delivery.stub.Drain(edge_pb2.DrainRequest(window_ms=50), timeout=DEADLINE_SECONDS)
    assert response.connections == 1
    assert client.expect("drain").get("reconnectAfterMs", 0) <= 50
    with pytest.raises(Refused) as caught:
        running.client("bob")
    assert caught.value.status == 503
    assert running.get("/readyz")[0] == 503
    router = running.neighbours.router
    router.wait_for(lambda: router.loads and router.loads[-1].draining)
    assert client.expect_close() == CloseCode.DRAINING


def test_one_clients_nonsense_disturbs_no_other(start: Callable[..., Running]) -> None:
    running = start()
    good = running.entered("bob")
    bad = running.client("eve", early=b"\x01\x02\x03 no frame at all")
    assert bad.expect_close() == CloseCode.PROTOCOL_ERROR
    mixed = running.entered("mallory")
    mixed.send(client_pb2.ClientFrame(request_id=1))
    assert mixed.expect_close() == CloseCode.UNSUPPORTED_DATA
    odd = running.entered("olga")
    odd.send({"requestId": "5", "fly": {}})
    assert odd.expect("failure")["code"] == "ERROR_CODE_MALFORMED_FRAME"
    good.send({"requestId": "1", "ping": {}})
    assert good.expect("pong")


def test_frames_sent_right_behind_the_upgrade_are_not_lost(start: Callable[..., Running]) -> None:
    running = start()
    payload = json.dumps({"requestId": "3", "ping": {}}).encode()
    early = bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
    assert running.client(early=early).expect("pong")


def test_connections_of_one_user_are_limited(start: Callable[..., Running]) -> None:
    running = start(max_connections_per_user=2)
    for _ in range(2):
        running.entered()
    assert running.client().expect_close() == CloseCode.TOO_MANY_CONNECTIONS
    running.entered("bob")


def test_a_large_frame_is_refused_with_its_code(start: Callable[..., Running]) -> None:
    running = start(max_frame_bytes=2_048)
    client = running.entered()
    client.send({"requestId": "1", "send": {"groupId": "lobby", "clientMsgId": "x", "text": {"text": "a" * 3_000}}})
    assert client.expect_close() == CloseCode.FRAME_TOO_LARGE


def test_metrics_tell_what_happened(start: Callable[..., Running]) -> None:
    running = start()
    client = running.entered()
    running.delivery.send(block_event([running.neighbours.groups.add("one")], published_at_ms=1))
    client.expect("block")
    with pytest.raises(Refused):
        EdgeClient(running.app.http_address)
    status, text = running.get("/metrics")
    assert status == 200
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples[("throng_edge_connections",)] == 1
    assert samples["throng_edge_handshakes_total", ("outcome", "accepted")] == 1
    assert samples["throng_edge_handshakes_total", ("outcome", "no_token")] == 1
    assert samples["throng_edge_events_total", ("outcome", "read")] == 1
    assert samples["throng_edge_upstream_calls_total", ("code", "OK"), ("method", "BatchEnter")] == 1
    assert samples[("throng_edge_router_connected",)] == 1
    assert samples["throng_edge_rooms", ("size", "<=1")] == 1
    assert samples[("throng_edge_publish_to_last_send_seconds_count",)] == 1
    assert all(name[0].startswith("throng_edge_") for name in samples)


def test_a_taken_port_is_named(start: Callable[..., Running], tmp_path: pathlib.Path) -> None:
    running = start()
    settings = load(
        EdgeSettings,
        flags={"port": int(running.app.http_address.rsplit(":", 1)[1]), "jwt_secret_file": running.key},
        environment={},
    )
    second = EdgeApp(settings, running.aio)
    with pytest.raises(ThrongError, match="is the port taken"):
        second.start()
    second.stop()


def test_a_native_part_that_is_wanted_and_not_there_is_named(
    start: Callable[..., Running], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "folders", lambda: (tmp_path,))
    running = start()
    flags = {"port": 0, "jwt_secret_file": running.key, "native_fan_out": "on"}
    second = EdgeApp(load(EdgeSettings, flags=flags, environment={}), running.aio)
    with pytest.raises(ThrongError, match=r"run python -m edge\.native\.build") as caught:
        second.start()
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    second.stop()


def test_the_memory_uplink_without_a_producer_is_refused(tmp_path: pathlib.Path) -> None:
    settings = load(EdgeSettings, flags={"uplink": "memory", "jwt_secret_file": tmp_path / "k"}, environment={})
    with pytest.raises(ThrongError) as caught:
        EdgeApp(settings, AioThread())
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_an_edge_leaves_a_shared_port_when_it_drains_and_still_answers_operators(start: Callable[..., Running]) -> None:
    running = start(reuse_port=True, metrics_port=0)
    client = running.entered()
    assert ask(running.app.operations_address, "/readyz") == 200
    running.delivery.stub.Drain(edge_pb2.DrainRequest(window_ms=50), timeout=DEADLINE_SECONDS)
    client.expect("drain")
    with pytest.raises(ConnectionRefusedError):
        running.client("bob")  # the kernel deals nobody out to it any more
    assert ask(running.app.operations_address, "/readyz") == 503
    assert ask(running.app.operations_address, "/healthz") == 200
    assert ask(running.app.operations_address, "/metrics") == 200
    assert ask(running.app.operations_address, "/v1/config") == 404


def test_metrics_may_be_kept_from_clients(start: Callable[..., Running]) -> None:
    running = start(public_metrics=False, metrics_port=0)
    assert ask(running.app.http_address, "/metrics") == 404
    assert ask(running.app.http_address, "/readyz") == 200
    assert ask(running.app.operations_address, "/metrics") == 200


def test_edges_that_share_a_port_have_names_of_their_own(start: Callable[..., Running]) -> None:
    running = start(reuse_port=True, edge_id="")
    assert running.app.edge_id.endswith(f":{running.app.http_address.rpartition(':')[2]}.{os.getpid()}")
    assert running.client().expect("welcome")["edgeId"] == running.app.edge_id


def ask(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
