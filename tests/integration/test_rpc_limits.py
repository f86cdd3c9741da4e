"""Every limit of every RPC, with one more than is allowed, against the real services; docs/security.md lists them."""

from __future__ import annotations

import pathlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from installation import Installation

from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.edge.v1 import edge_pb2 as e
from throng.api.edge.v1 import edge_pb2_grpc
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as m
from throng.api.router.v1 import router_pb2 as r
from throng.api.router.v1 import router_pb2_grpc
from throng.api.unread.v1 import unread_pb2 as u
from throng.api.unread.v1 import unread_pb2_grpc
from throng.api.uplink.v1 import uplink_pb2 as up
from throng.api.uplink.v1 import uplink_pb2_grpc
from throng.domain import limits
from throng.domain.errors import ErrorCode
from throng.runtime import rpc_limits
from throng.runtime.rpc_status import from_rpc_error

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 20.0
LIMIT, INVALID, TOO_LARGE = ErrorCode.LIMIT_EXCEEDED, ErrorCode.INVALID_ARGUMENT, ErrorCode.TOO_LARGE
LONG_ID = "x" * 65


@dataclass
class Services:
    """The four services of one installation, and a channel to each."""

    group: Any
    router: Any
    unread: Any
    edge: Any
    addresses: dict[str, str]
    edge_id: str
    incarnation: int

    def stub(self, name: str) -> Any:
        channel, kind = {
            "groups": (self.group, group_pb2_grpc.GroupServiceStub),
            "messages": (self.group, message_pb2_grpc.MessageServiceStub),
            "uplink": (self.group, uplink_pb2_grpc.UplinkServiceStub),
            "router": (self.router, router_pb2_grpc.RouterServiceStub),
            "unread": (self.unread, unread_pb2_grpc.UnreadServiceStub),
            "edge": (self.edge, edge_pb2_grpc.EdgeServiceStub),
        }[name]
        return kind(channel)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    running = Installation(tmp_path_factory.mktemp("limits"))
    try:
        running.start()
        channels = {name: running.channel(name) for name in running.addresses}
        yield Services(**channels, addresses=running.addresses, edge_id=running.edge.edge_id, incarnation=running.edge.incarnation)
    finally:
        running.stop()


def members(count: int) -> list[common.Member]:
    return [common.Member(user_id=f"u{number}") for number in range(count)]


def text(characters: int) -> pb.Message:
    return pb.Message(text=pb.Text(text="a" * characters))


def record(body: pb.Message | None = None, **origin_fields: Any) -> up.SubmittedMessage:
    origin = {"edge_id": "nobody", "incarnation": 1, "conn_id": "c"} | origin_fields
    return up.SubmittedMessage(
        group_id="lobby", user_id="a", client_msg_id=str(uuid.uuid4()), body=body or text(1), origin=up.Origin(**origin)
    )


def publication(**more: Any) -> r.Publication:
    return r.Publication(group_id="lobby", event=b"x", **more)


def identity(**more: Any) -> r.EdgeIdentity:
    values = {"edge_id": "e", "incarnation": 1, "internal_address": "127.0.0.1:1", "public_url": "ws://x"}
    return r.EdgeIdentity(**(values | more))


def counts(number: int) -> list[r.GroupCount]:
    return [r.GroupCount(group_id=f"g{index}", connections=1) for index in range(number)]


def observations(number: int, *, added: int = 0) -> list[u.Observation]:
    entries = [u.CountableMessage(seq=1, sender_id="a")] * added
    return [u.Observation(group_id="lobby", epoch=1, prev_seq=0, head_seq=1, added=entries) for _ in range(number)]


SETTINGS = {"send_interval_ms": 3_600_001, "budget_per_second": 1_000_001, "block_max_messages": 101, "block_interval_ms": 10_001}

UNARY: list[tuple[str, str, Any, ErrorCode]] = [
    ("groups", "CreateGroup", g.CreateGroupRequest(group_id=LONG_ID), INVALID),
    ("groups", "CreateGroup", g.CreateGroupRequest(group_id="g", owner_id=LONG_ID), INVALID),
    ("groups", "CreateGroup", g.CreateGroupRequest(group_id="g", name="n" * 101), TOO_LARGE),
    *(
        ("groups", "CreateGroup", g.CreateGroupRequest(group_id="g", settings=common.GroupSettings(**{name: value})), INVALID)
        for name, value in SETTINGS.items()
    ),
    ("groups", "GetGroup", g.GetGroupRequest(group_id=LONG_ID), INVALID),
    ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id=LONG_ID), INVALID),
    ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id="lobby", name="n" * 101), TOO_LARGE),
    ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id="lobby", announcement="n" * 2_001), TOO_LARGE),
    *(
        ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id="lobby", settings=common.GroupSettings(**{name: value})), INVALID)
        for name, value in SETTINGS.items()
    ),
    ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id="lobby", settings=common.GroupSettings(over_budget=9)), INVALID),  # type: ignore[arg-type]
    ("groups", "UpdateGroup", g.UpdateGroupRequest(group_id="lobby", settings=common.GroupSettings(delivery=9)), INVALID),  # type: ignore[arg-type]
    ("groups", "ListGroups", g.ListGroupsRequest(limit=501), LIMIT),
    ("groups", "ListGroups", g.ListGroupsRequest(after_group_id=LONG_ID), INVALID),
    ("groups", "ListMembers", g.ListMembersRequest(group_id="lobby", limit=1_001), LIMIT),
    ("groups", "ListMembers", g.ListMembersRequest(group_id="lobby", after_user_id=LONG_ID), INVALID),
    ("groups", "AddMembers", g.AddMembersRequest(group_id="lobby", members=members(1_001)), LIMIT),
    (
        "groups",
        "AddMembers",
        g.AddMembersRequest(group_id="lobby", members=[common.Member(user_id="a", display_name="n" * 101)]),
        TOO_LARGE,
    ),
    ("groups", "AddMembers", g.AddMembersRequest(group_id="lobby", members=[common.Member(user_id=LONG_ID)]), INVALID),
    ("groups", "RemoveMembers", g.RemoveMembersRequest(group_id="lobby", user_ids=["a"] * 1_001), LIMIT),
    ("groups", "RemoveMembers", g.RemoveMembersRequest(group_id="lobby", user_ids=[LONG_ID]), INVALID),
    ("groups", "UpdateMember", g.UpdateMemberRequest(group_id="lobby", user_id="a", display_name="n" * 101), TOO_LARGE),
    ("groups", "UpdateMember", g.UpdateMemberRequest(group_id="lobby", user_id="a", muted_until_ms=2**53 + 1), INVALID),
    ("groups", "GetMember", g.GetMemberRequest(group_id="lobby", user_id=LONG_ID), INVALID),
    ("groups", "ListUserGroups", g.ListUserGroupsRequest(user_id="a", limit=501), LIMIT),
    ("groups", "ListUserGroups", g.ListUserGroupsRequest(user_id="a", after_group_id=LONG_ID), INVALID),
    ("groups", "BatchEnter", g.BatchEnterRequest(entries=[g.EnterRequest(user_id="a", group_id="lobby")] * 1_001), LIMIT),
    ("groups", "BatchGetMembers", g.BatchGetMembersRequest(keys=[g.MemberKey(user_id="a", group_id="lobby")] * 1_001), LIMIT),
    ("groups", "GetHeads", g.GetHeadsRequest(group_ids=["lobby"] * 1_001), LIMIT),
    (
        "messages",
        "SendMessage",
        m.SendMessageRequest(group_id="lobby", user_id="a", client_msg_id=str(uuid.uuid4()), body=text(4_001)),
        TOO_LARGE,
    ),
    (
        "messages",
        "SendMessage",
        m.SendMessageRequest(
            group_id="lobby",
            user_id="a",
            client_msg_id=str(uuid.uuid4()),
            body=pb.Message(text=pb.Text(text="a"), mentions=["u"] * 51),
        ),
        LIMIT,
    ),
    (
        "messages",
        "SendMessage",
        m.SendMessageRequest(
            group_id="lobby",
            user_id="a",
            client_msg_id=str(uuid.uuid4()),
            body=pb.Message(custom=pb.Custom(type="t", payload=b"p" * 8_193)),
        ),
        TOO_LARGE,
    ),
    ("messages", "ListMessages", m.ListMessagesRequest(group_id="lobby", limit=201), LIMIT),
    ("messages", "RecallMessage", m.RecallMessageRequest(group_id="lobby", user_id="a", seq=2**53 + 1), INVALID),
    ("messages", "DeleteMessageForUser", m.DeleteMessageForUserRequest(group_id="lobby", user_id=LONG_ID, seq=1), INVALID),
    ("messages", "ListDeleted", m.ListDeletedRequest(group_id="lobby", user_id="a", limit=1_001), LIMIT),
    ("messages", "ListCountable", m.ListCountableRequest(group_id="lobby", limit=101), LIMIT),
    (
        "messages",
        "DeliverAnswers",
        m.DeliverAnswersRequest(edge_id="internal:h:1:x", answers=[e.Answer(conn_id="c")] * 1_001),
        LIMIT,
    ),
    ("router", "AssignEdge", r.AssignEdgeRequest(avoid_edge_ids=["e"] * 17), LIMIT),
    ("router", "AssignEdge", r.AssignEdgeRequest(user_id=LONG_ID), INVALID),
    ("router", "SetEdgeWeight", r.SetEdgeWeightRequest(edge_id="e", weight=1_001), INVALID),
    ("router", "SetEdgeWeight", r.SetEdgeWeightRequest(edge_id="nobody", weight=1), INVALID),
    ("router", "DrainEdge", r.DrainEdgeRequest(edge_id="e", window_ms=600_001), INVALID),
    ("router", "DrainEdge", r.DrainEdgeRequest(edge_id="nobody"), INVALID),
    ("router", "UndrainEdge", r.UndrainEdgeRequest(edge_id="nobody"), INVALID),
    ("router", "UndrainEdge", r.UndrainEdgeRequest(edge_id=LONG_ID), INVALID),
    ("router", "GetGroupRoutes", r.GetGroupRoutesRequest(group_id=LONG_ID), INVALID),
    (
        "unread",
        "ReportCursors",
        u.ReportCursorsRequest(cursors=[u.ReadCursor(user_id="a", group_id="lobby", read_seq=1)] * 10_001),
        LIMIT,
    ),
    ("unread", "GetUnreadCounts", u.GetUnreadCountsRequest(user_id="a", group_ids=["lobby"] * 501), LIMIT),
    ("unread", "BatchGetUnread", u.BatchGetUnreadRequest(pairs=[u.UserInGroup(user_id="a", group_id="lobby")] * 1_001), LIMIT),
    ("edge", "Drain", e.DrainRequest(window_ms=600_001), INVALID),
]

STREAMS: list[tuple[str, str, list[Any], ErrorCode]] = [
    ("uplink", "Append", [up.AppendRequest(batch_id=1, records=[record()] * 1_001)], LIMIT),
    ("router", "Publish", [r.PublishRequest(batch_id=1, publications=[publication()] * 1_001)], LIMIT),
    ("router", "ReportRoutes", [r.ReportRoutesRequest(identity=identity(edge_id=LONG_ID))], INVALID),
    ("router", "ReportRoutes", [r.ReportRoutesRequest(identity=identity(weight=1_001))], INVALID),
    ("router", "ReportRoutes", [r.ReportRoutesRequest(identity=identity(internal_address="h" * 256 + ":1"))], INVALID),
    ("router", "ReportRoutes", [r.ReportRoutesRequest(identity=identity(public_url="w" * 2_049))], INVALID),
    (
        "router",
        "ReportRoutes",
        [r.ReportRoutesRequest(identity=identity()), r.ReportRoutesRequest(report_id=1, delta=r.RouteDelta(groups=counts(10_001)))],
        LIMIT,
    ),
    (
        "router",
        "ReportRoutes",
        [
            r.ReportRoutesRequest(identity=identity()),
            r.ReportRoutesRequest(report_id=1, snapshot=r.RouteSnapshot(groups=counts(10_001))),
        ],
        LIMIT,
    ),
    ("unread", "Observe", [u.ObserveRequest(observations=observations(1_001))], LIMIT),
    ("unread", "Observe", [u.ObserveRequest(observations=observations(2, added=5_001))], LIMIT),
]


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return from_rpc_error(refused.value).code


def _named(value: Any) -> str | None:
    return value if isinstance(value, str) else None


@pytest.mark.parametrize(("service", "method", "request_", "code"), UNARY, ids=_named)
def test_one_more_than_allowed_is_refused(services: Services, service: str, method: str, request_: Any, code: ErrorCode) -> None:
    call = getattr(services.stub(service), method)
    assert code_of(lambda: call(request_, timeout=SECONDS)) is code


@pytest.mark.parametrize(("service", "method", "requests", "code"), STREAMS, ids=_named)
def test_one_more_than_allowed_ends_the_stream(
    services: Services, service: str, method: str, requests: list[Any], code: ErrorCode
) -> None:
    call = getattr(services.stub(service), method)

    def run() -> None:
        response = call(iter(requests), timeout=SECONDS)
        if method != "Observe":
            list(response)

    assert code_of(run) is code


def test_too_many_events_end_a_deliver_stream(services: Services) -> None:
    greeting = e.DeliverRequest(edge_id=services.edge_id, incarnation=services.incarnation)
    requests = iter([greeting, e.DeliverRequest(events=[b""] * 10_001)])
    assert code_of(lambda: list(services.stub("edge").Deliver(requests, timeout=SECONDS))) is LIMIT


def test_a_record_that_is_too_large_fails_alone(services: Services) -> None:
    """I8: the log counts records, so each is bounded; the others of its batch stand in it."""
    too_large = record(pb.Message(custom=pb.Custom(type="t", payload=b"p" * limits.MAX_BODY_BYTES)))
    records = [record(), too_large, record(conn_id=LONG_ID), record(edge_id=""), record()]
    (response,) = services.stub("uplink").Append(iter([up.AppendRequest(batch_id=1, records=records)]), timeout=SECONDS)
    assert [(failure.index, failure.error.code) for failure in response.failures] == [(1, TOO_LARGE), (2, INVALID), (3, INVALID)]


@pytest.mark.parametrize("service", ["groups", "router", "unread", "edge"])
def test_a_message_above_the_bound_is_not_even_read(services: Services, service: str) -> None:
    with grpc.insecure_channel(services.addresses[service.rstrip("s")]) as channel:
        method = {
            "groups": "/throng.group.v1.GroupService/GetGroup",
            "router": "/throng.router.v1.RouterService/AssignEdge",
            "unread": "/throng.unread.v1.UnreadService/GetUnreadCounts",
            "edge": "/throng.edge.v1.EdgeService/Drain",
        }[service]
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\x7a" + b"x" * rpc_limits.MAX_REQUEST_BYTES, timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=SECONDS, metadata=(("x-long", "x" * 4 * rpc_limits.MAX_METADATA_BYTES),))
        assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)


def test_the_largest_answers_fit() -> None:
    """1,000 groups with the longest of everything (characters of four bytes) are below the bound of answers, barely."""
    wide = "\U0001f600"
    settings = common.GroupSettings(**{name: value - 1 for name, value in SETTINGS.items()}, open=True)
    group = common.Group(
        group_id="g" * 64,
        name=wide * 100,
        announcement=wide * 2_000,
        epoch=2**31,
        head_seq=2**53,
        members_version=2**53,
        member_count=2**40,
    )
    group.settings.CopyFrom(settings)
    member = common.Member(
        user_id="u" * 64, role=common.ROLE_ADMINISTRATOR, display_name=wide * 100, joined_seq=2**53, muted_until_ms=2**53
    )
    result = g.EnterResult(entered=g.UserGroup(group=group, member=member))
    assert 9_000_000 < g.BatchEnterResponse(results=[result] * 1_000).ByteSize() < rpc_limits.MAX_RESPONSE_BYTES
    body = pb.Message(seq=2**53, sender_id="u" * 64, sender_name=wide * 100, client_msg_id="m" * 36, sent_at_ms=2**53)
    body.custom.CopyFrom(pb.Custom(type="t", payload=b"p" * limits.MAX_BODY_BYTES))
    assert m.ListMessagesResponse(messages=[body] * 200).ByteSize() < rpc_limits.MAX_RESPONSE_BYTES / 2


def test_the_largest_requests_fit() -> None:
    wide = "\U0001f600"
    member = common.Member(user_id="u" * 64, display_name=wide * 100, muted_until_ms=2**53, role=common.ROLE_MEMBER)
    assert g.AddMembersRequest(members=[member] * 1_000).ByteSize() < rpc_limits.MAX_REQUEST_BYTES
    cursor = u.ReadCursor(user_id="u" * 64, group_id="g" * 64, read_seq=2**53)
    assert u.ReportCursorsRequest(cursors=[cursor] * 10_000).ByteSize() < rpc_limits.MAX_REQUEST_BYTES
    message = u.CountableMessage(seq=2**53, sender_id="u" * 64)
    observation = u.Observation(group_id="g" * 64, epoch=2**31, prev_seq=2**53, head_seq=2**53, added=[message] * 10)
    assert u.ObserveRequest(observations=[observation] * 1_000).ByteSize() < rpc_limits.MAX_REQUEST_BYTES


@pytest.mark.parametrize(
    ("service", "method", "most_per_peer"),
    [("uplink", "Append", 8), ("unread", "Observe", 4), ("edge", "Deliver", 32), ("router", "Publish", 128)],
)
def test_one_peer_holds_half_of_the_streams_and_others_find_room_i8(
    services: Services, service: str, method: str, most_per_peer: int
) -> None:
    ending = threading.Event()
    greeting = e.DeliverRequest(edge_id=services.edge_id, incarnation=services.incarnation)
    address = services.addresses[{"uplink": "group"}.get(service, service)]

    def requests() -> Iterator[Any]:
        if method == "Deliver":
            yield greeting
        ending.wait(SECONDS)

    def stub() -> Any:
        kinds = {"uplink": uplink_pb2_grpc.UplinkServiceStub, "unread": unread_pb2_grpc.UnreadServiceStub}
        kinds |= {"edge": edge_pb2_grpc.EdgeServiceStub, "router": router_pb2_grpc.RouterServiceStub}
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        channels.append(channel)
        return getattr(kinds[service](channel), method)

    def opened(call: Any) -> Any:
        return call.future(requests(), timeout=SECONDS) if method == "Observe" else call(requests(), timeout=SECONDS)

    channels: list[grpc.Channel] = []
    try:
        greedy = stub()
        streams = [opened(greedy) for _ in range(most_per_peer + 3)]
        over = threading.Semaphore(0)
        for stream in streams:
            stream.add_done_callback(lambda _: over.release())
        refused = 0
        while refused < 2 and over.acquire(timeout=SECONDS):
            refused += 1
        assert refused == 2, "the greedy peer got all it wanted"
        assert {stream.code() for stream in streams if stream.done()} == {grpc.StatusCode.UNAVAILABLE}
        other = opened(stub())
        assert not _ends_soon(other)
    finally:
        ending.set()
        for channel in channels:
            channel.close()


def _ends_soon(stream: Any) -> bool:
    ended = threading.Event()
    stream.add_done_callback(lambda _: ended.set())
    return ended.wait(0.3)


@pytest.mark.parametrize(("service", "method", "module"), [("router", "ReportRoutes", "router_svc"), ("edge", "Deliver", "edge")])
def test_a_stream_that_does_not_say_who_it_is_ends(
    services: Services, monkeypatch: pytest.MonkeyPatch, service: str, method: str, module: str
) -> None:
    monkeypatch.setattr(f"{module}.servicer.FIRST_MESSAGE_SECONDS", 0.1)
    silent = threading.Event()
    stream = getattr(services.stub(service), method)(iter(silent.wait, True), timeout=SECONDS)
    with pytest.raises(grpc.RpcError) as refused:
        next(stream)
    silent.set()
    error = from_rpc_error(refused.value)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert "first" in error.text


def test_every_rpc_stands_in_the_documentation() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for proto in sorted((ROOT / "protos" / "throng").rglob("*.proto")):
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", proto.read_text(encoding="utf-8"), re.S | re.M):
            for method in re.findall(r"^  rpc (\w+)\(", body, re.M):
                assert f"| `{service}.{method}` |" in page, f"{service}.{method} is missing in docs/security.md"
