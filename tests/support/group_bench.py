"""A GroupApp that runs, with its stubs; a router in the test keeps what it publishes."""

from __future__ import annotations

import pathlib
import threading
import uuid
from collections.abc import Callable
from concurrent import futures

import grpc
import pytest
from prometheus_client import CollectorRegistry

from group_svc.app import GroupApp, Stores, open_sqlite
from group_svc.settings import GroupServiceSettings
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.edge.v1 import edge_pb2
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as m
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.domain.errors import ErrorCode
from throng.runtime.rpc_status import from_rpc_error
from throng.runtime.settings import load


class FakeRouter(router_pb2_grpc.RouterServiceServicer, unread_pb2_grpc.UnreadServiceServicer):
    """Keeps publications and observations. `deaf`: takes batches without acknowledging them."""

    def __init__(self, port: int = 0) -> None:
        self.changed = threading.Condition()
        self.events: list[edge_pb2.EdgeEvent] = []
        self.observations: list[unread_pb2.Observation] = []
        self.deaf = False
        self._pool = futures.ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        router_pb2_grpc.add_RouterServiceServicer_to_server(self, self._server)
        unread_pb2_grpc.add_UnreadServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def Publish(self, request_iterator, context):  # noqa: N802
        for request in request_iterator:
            if self.deaf:
                continue
            with self.changed:
                self.events += [edge_pb2.EdgeEvent.FromString(one.event) for one in request.publications]
                self.changed.notify_all()
            yield router_pb2.PublishResponse(batch_id=request.batch_id)

    def Observe(self, request_iterator, context):  # noqa: N802
        for request in request_iterator:
            with self.changed:
                self.observations += request.observations
                self.changed.notify_all()
        return unread_pb2.ObserveResponse(accepted=len(self.observations))

    def wait(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, seconds), self.events

    def seqs(self) -> list[int]:
        blocks = [pb.Block.FromString(event.block) for event in self.events if event.WhichOneof("event") == "block"]
        return [message.seq for block in blocks for message in block.messages]

    def answers(self) -> list[edge_pb2.Answer]:
        return [answer for event in self.events for answer in answers_of(event)]

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


def answers_of(event: edge_pb2.EdgeEvent) -> list[edge_pb2.Answer]:
    if event.WhichOneof("event") == "answer":
        return [event.answer]
    acks = event.acks
    columns = zip(acks.conn_ids, acks.request_ids, acks.group_ids, acks.client_msg_ids, acks.epochs, acks.seqs, strict=True)
    return [
        edge_pb2.Answer(
            conn_id=conn_id,
            request_id=request_id,
            ack=client_pb2.Ack(group_id=group_id, client_msg_id=client_msg_id, epoch=epoch, seq=seq),
        )
        for conn_id, request_id, group_id, client_msg_id, epoch, seq in columns
    ]


class GroupBench:
    """A running GroupApp, its router and its stubs."""

    def __init__(
        self, data_dir: pathlib.Path, *, open_stores: Callable[[GroupServiceSettings], Stores] = open_sqlite, **flags
    ) -> None:
        self.router = FakeRouter()
        address = f"127.0.0.1:{self.router.port}"
        values = {
            "port": 0,
            "data_dir": data_dir,
            "redis_url": f"embedded://{uuid.uuid4().hex}",
            "router_addresses": address,
            "unread_addresses": address,
            "default_group": "lobby",
            "membership_ttl_seconds": 60,
        }
        self.registry = CollectorRegistry()
        self.app = GroupApp(load(GroupServiceSettings, flags=values | flags), registry=self.registry, open_stores=open_stores)
        self.app.start()
        self.channel = grpc.insecure_channel(self.app.grpc_address)
        self.groups = group_pb2_grpc.GroupServiceStub(self.channel)
        self.messages = message_pb2_grpc.MessageServiceStub(self.channel)
        self.uplink = uplink_pb2_grpc.UplinkServiceStub(self.channel)

    def create(self, group_id: str, *users: str, **settings) -> None:
        values = {"send_interval_ms": 0, "budget_per_second": 0, "block_max_messages": 1} | settings
        self.groups.CreateGroup(g.CreateGroupRequest(group_id=group_id, settings=common.GroupSettings(**values)), timeout=5)
        if users:
            members = [common.Member(user_id=user, display_name=user.title()) for user in users]
            self.groups.AddMembers(g.AddMembersRequest(group_id=group_id, members=members), timeout=5)

    def send(self, user: str, text: str = "hi", *, group_id: str = "g", msg_id: str = "", **fields) -> m.SendMessageResponse:
        request = m.SendMessageRequest(
            group_id=group_id,
            user_id=user,
            client_msg_id=msg_id or str(uuid.uuid4()),
            body=pb.Message(text=pb.Text(text=text)),
            **fields,
        )
        return self.messages.SendMessage(request, timeout=10)

    def page(self, group_id: str = "g", **fields) -> m.ListMessagesResponse:
        return self.messages.ListMessages(m.ListMessagesRequest(group_id=group_id, **fields), timeout=5)

    def stop(self) -> None:
        self.channel.close()
        self.app.stop()
        self.router.stop()


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return from_rpc_error(refused.value).code


def record(
    user: str, msg_id: str = "", *, text: str = "hi", group_id: str = "g", request_id: int = 1
) -> uplink_pb2.SubmittedMessage:
    return uplink_pb2.SubmittedMessage(
        group_id=group_id,
        user_id=user,
        client_msg_id=msg_id or str(uuid.uuid4()),
        body=pb.Message(text=pb.Text(text=text)),
        origin=uplink_pb2.Origin(edge_id="edge-1", incarnation=3, conn_id="c9", request_id=request_id),
        received_at_ms=1,
    )
