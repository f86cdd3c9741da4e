"""Two group services over one store: a caller waits in one, its message is handled by the other."""

from __future__ import annotations

import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
import pytest
from prometheus_client import CollectorRegistry

import group_svc.app
from group_svc.app import GroupApp, Uplink
from group_svc.core.internal_origin import address_of, internal_edge_id
from group_svc.settings import GroupServiceSettings
from throng.adapters.memory_uplink import MemoryUplink
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.edge.v1 import edge_pb2
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as m
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.domain.errors import ErrorCode
from throng.domain.message import Submission
from throng.ports.uplink import AppendDone
from throng.runtime.rpc_status import from_rpc_error
from throng.runtime.settings import SettingsError, load


class Partition:
    """The log of the group service that handles everything; `change` sees each record on its way in."""

    def __init__(self) -> None:
        self.log = MemoryUplink()
        self.change: Callable[[Submission], Submission] = lambda submission: submission

    def append(self, submission: Submission, done: AppendDone) -> None:
        self.log.append(self.change(submission), done)

    def close(self, deadline_seconds: float) -> None:
        """The handling service closes its own log."""


class Pair:
    """`asked` takes the calls; `owner` reads the log into which both append."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partition = Partition()
        idle = MemoryUplink()
        made = iter([Uplink(self.partition.log, self.partition.log), Uplink(self.partition, idle)])
        monkeypatch.setattr(group_svc.app, "_open_uplink", lambda *_: next(made))
        self.redis_url = f"embedded://{uuid.uuid4().hex}"
        self.folder = folder
        self.registries = [CollectorRegistry(), CollectorRegistry()]
        self.owner, self.asked = (self.make(registry) for registry in self.registries)
        starts = [threading.Thread(target=app.start) for app in (self.owner, self.asked)]
        for start in starts:
            start.start()
        for start in starts:
            start.join(20)
        self.channel = grpc.insecure_channel(self.asked.grpc_address)
        self.messages = message_pb2_grpc.MessageServiceStub(self.channel)
        self.groups = group_pb2_grpc.GroupServiceStub(self.channel)
        settings = common.GroupSettings(open=True, block_max_messages=1)
        self.groups.UpdateGroup(g.UpdateGroupRequest(group_id="lobby", settings=settings), timeout=5)
        self.groups.AddMembers(g.AddMembersRequest(group_id="lobby", members=[common.Member(user_id="bot")]), timeout=5)

    def make(self, registry: CollectorRegistry) -> GroupApp:
        values = {
            "port": 0,
            "data_dir": self.folder,
            "redis_url": self.redis_url,
            "router_addresses": "",
            "unread_addresses": "",
            "default_group": "lobby",
            "drain_seconds": 1,
        }
        return GroupApp(load(GroupServiceSettings, flags=values), registry=registry)

    def send(self, msg_id: str = "", *, seconds: float = 10.0, unlimited: bool = True) -> int:
        request = m.SendMessageRequest(
            group_id="lobby",
            user_id="bot",
            client_msg_id=msg_id or str(uuid.uuid4()),
            body=pb.Message(text=pb.Text(text="hi")),
            unlimited=unlimited,
        )
        return int(self.messages.SendMessage(request, timeout=seconds).position.seq)

    def counted(self, result: str) -> float:
        return self.registries[0].get_sample_value("throng_group_answers_forwarded_total", {"result": result}) or 0.0

    def stop(self) -> None:
        self.channel.close()
        self.asked.stop()
        self.owner.stop()


@pytest.fixture
def pair(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    running = Pair(tmp_path, monkeypatch)
    yield running
    running.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return from_rpc_error(refused.value).code


def test_the_answer_finds_the_caller_in_the_other_group_service(pair: Pair) -> None:
    msg_id = str(uuid.uuid4())
    assert [pair.send(msg_id), pair.send(), pair.send(msg_id)] == [1, 2, 1]
    wait_for(lambda: pair.counted("delivered") == 3)
    recalled = pair.messages.RecallMessage(m.RecallMessageRequest(group_id="lobby", user_id="bot", seq=2), timeout=5)
    assert recalled.position.seq == 3


def test_refusals_find_it_too(pair: Pair) -> None:
    pair.send(unlimited=False)
    assert code_of(lambda: pair.send(unlimited=False)) is ErrorCode.RATE_LIMITED
    request = g.RemoveMembersRequest(group_id="lobby", user_ids=["bot"])
    pair.groups.RemoveMembers(request, timeout=5)
    deadline = time.monotonic() + 10  # the other one knows members for 3 s
    refusal: ErrorCode | None = None
    while refusal is None and time.monotonic() < deadline:
        try:
            pair.send()
        except grpc.RpcError as error:
            refusal = from_rpc_error(error).code
    assert refusal is ErrorCode.NOT_A_MEMBER


def test_a_hundred_callers_at_once(pair: Pair) -> None:
    seqs: list[int] = []
    callers = [threading.Thread(target=lambda: seqs.extend(pair.send() for _ in range(10))) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert sorted(seqs) == list(range(1, 101))


def test_an_answer_that_is_lost_ends_in_deadline_exceeded_and_the_repeat_is_exact_i2(pair: Pair) -> None:
    msg_id = str(uuid.uuid4())
    gone = internal_edge_id("127.0.0.1:9", uuid.uuid4().hex)  # nobody listens there
    pair.partition.change = lambda one: replace(one, origin=replace(one.origin, edge_id=gone))
    assert code_of(lambda: pair.send(msg_id, seconds=1.0)) is ErrorCode.DEADLINE_EXCEEDED
    pair.partition.change = lambda one: one
    assert pair.send(msg_id) == 1
    wait_for(lambda: pair.counted("lost") == 1)


def test_answers_for_another_life_are_dropped_and_batches_are_bounded(pair: Pair) -> None:
    answer = edge_pb2.Answer(conn_id="call-1")
    other = m.DeliverAnswersRequest(edge_id=internal_edge_id(pair.asked.grpc_address, "00000000"), answers=[answer])
    assert pair.messages.DeliverAnswers(other, timeout=5).taken == 0
    for request in (
        m.DeliverAnswersRequest(edge_id="internal:h:1:x"),
        m.DeliverAnswersRequest(edge_id="internal:h:1:x", answers=[answer] * 1_001),
    ):
        assert code_of(lambda request=request: pair.messages.DeliverAnswers(request, timeout=5)) is ErrorCode.LIMIT_EXCEEDED  # type: ignore[misc]


def test_an_edge_cannot_name_a_group_service_as_its_origin(pair: Pair) -> None:
    record = uplink_pb2.SubmittedMessage(
        group_id="lobby",
        user_id="bot",
        client_msg_id=str(uuid.uuid4()),
        body=pb.Message(text=pb.Text(text="hi")),
        origin=uplink_pb2.Origin(edge_id="internal:127.0.0.1:22:00000000", incarnation=1, conn_id="c"),
    )
    batches = iter([uplink_pb2.AppendRequest(batch_id=1, records=[record])])
    (response,) = uplink_pb2_grpc.UplinkServiceStub(pair.channel).Append(batches, timeout=5)
    assert [failure.error.code for failure in response.failures] == [ErrorCode.INVALID_ARGUMENT]


@pytest.mark.parametrize(
    ("address", "edge_id"),
    [
        ("10.1.2.3:7001", "internal:10.1.2.3:7001:ab12cd34"),
        ("group-0.group:7001", "internal:group-0.group:7001:ab12cd34"),
        ("[fd00::12]:7001", "internal:fd00::12:7001:ab12cd34"),
        ("[1234:1234:1234:1234:1234:1234:1234:1234]:65535", "internal:1234:1234:1234:1234:1234:1234:1234:1234:65535:ab12cd34"),
    ],
)
def test_an_origin_names_an_address(address: str, edge_id: str) -> None:
    assert internal_edge_id(address, "ab12cd34") == edge_id
    assert address_of(edge_id) == address


@pytest.mark.parametrize(
    "edge_id", ["edge-1", "internal:", "internal:x", "internal:0123456789abcdef", "internal:h:0:a", "internal:h:x:a"]
)
def test_other_origins_name_none(edge_id: str) -> None:
    assert address_of(edge_id) is None


@pytest.mark.parametrize("address", ["no port", "h:x", ":1", f"{'h' * 41}:7001", "h/:7001"])
def test_an_address_that_does_not_fit_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"group\.internal_address"):
        load(GroupServiceSettings, flags={"internal_address": address})
