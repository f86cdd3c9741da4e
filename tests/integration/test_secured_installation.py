"""All four services with certificates and a token: clients chat, and whoever lacks one of the two gets and gives nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import click.testing
import grpc
import pytest
from frame_client import FrameClient, new_id
from grpc_health.v1 import health_pb2, health_pb2_grpc
from installation import Installation

from throng.api.common.v1 import message_pb2
from throng.api.edge.v1 import edge_pb2, edge_pb2_grpc
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as m
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.cli.main import main
from throng.runtime.rpc_security import PLAIN, RpcSecurity, load_security
from throng.testing.certificates import CertificateAuthority, make_rpc_files, write_private, write_tls_files

SECONDS = 10.0
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL}


@dataclasses.dataclass
class Secured:
    """The installation, its files by service, and what its members prove."""

    running: Installation
    files: dict[str, dict[str, str]]
    rules: RpcSecurity


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    files = make_rpc_files(folder / "tls")
    running = Installation(folder, files)
    try:
        running.start()
        yield Secured(running, files, rules_of(files["unread"]))
    finally:
        running.stop()


def rules_of(files: dict[str, str]) -> RpcSecurity:
    paths: dict[str, Any] = {
        name.removeprefix("rpc_"): pathlib.Path(path) for name, path in files.items() if name.endswith("_file")
    }
    return load_security(**paths, server_name=files["rpc_server_name"])


@pytest.fixture
def connect(secured: Secured) -> Iterator[Callable[[str], FrameClient]]:
    with contextlib.ExitStack() as open_clients:

        def make(user: str) -> FrameClient:
            client = FrameClient(secured.running.edge.http_address, secured.running.token(user))
            open_clients.callback(client.close)
            return client

        yield make


def send(client: FrameClient, group: str, text: str) -> int:
    return int(client.ask(send={"groupId": group, "clientMsgId": new_id(), "text": {"text": text}})["ack"]["seq"])


def make_group(secured: Secured) -> str:
    """By the command line, as an operator would: files by flags, the name by the environment."""
    group_id = f"g-{uuid.uuid4().hex[:8]}"
    arguments = ["group", "create", group_id, "--open", "--send-interval-ms", "0", "--block-max-messages", "0"]
    arguments += ["--address", secured.running.addresses["group"]]
    for name, value in secured.files["router"].items():
        if name != "rpc_server_name":
            arguments += [f"--{name.replace('_', '-')}", value]
    environment = {"THRONG_GROUP_RPC_SERVER_NAME": secured.files["router"]["rpc_server_name"]}
    done = click.testing.CliRunner().invoke(main, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return group_id


def test_clients_chat_over_secured_services(secured: Secured, connect: Callable[[str], FrameClient]) -> None:
    group = make_group(secured)
    alice, bob = connect("alice"), connect("bob")
    for client in (alice, bob):
        assert client.ask(enter={"groupId": group})["entered"]["role"] == "ROLE_MEMBER"
    assert [send(alice, group, "one"), send(bob, group, "two")] == [1, 2]
    for client in (alice, bob):
        texts: list[str] = []
        while len(texts) < 2:
            block = client.wait(lambda frame: frame.get("block", {}).get("groupId") == group)["block"]
            texts += [message["text"]["text"] for message in block["messages"]]
        assert texts == ["one", "two"]
    carol = connect("carol")
    carol.ask(enter={"groupId": group})
    pulled = carol.ask(history={"groupId": group, "beforeSeq": "0", "limit": 10})
    assert "one" in str(pulled)
    unread = unread_pb2_grpc.UnreadServiceStub(secured.running.channel("unread", secured.rules))
    counts = unread.GetUnreadCounts(unread_pb2.GetUnreadCountsRequest(user_id="alice", group_ids=[group]), timeout=SECONDS).counts
    assert [count.count for count in counts] == [1]


def bench(secured: Secured, files: dict[str, str]) -> click.testing.Result:
    """A short load by the command line."""
    running = secured.running
    arguments = ["bench", "--url", f"ws://{running.edge.http_address}", "--group-address", running.addresses["group"]]
    arguments += ["--jwt-secret-file", str(running.key_file), "--connect-seconds", "10", "--quiet", "--workers", "1"]
    arguments += ["--receivers", "2", "--senders", "1", "--rate", "20", "--seconds", "0.5", "--block-max-messages", "0"]
    for name, value in files.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    return click.testing.CliRunner().invoke(main, arguments)


def test_the_load_client_proves_itself_to_the_group_service(secured: Secured) -> None:
    files = secured.files["router"]
    judged = bench(secured, files)
    assert judged.exit_code in (0, 3), judged.output
    assert judged.output.startswith(("PASSED", "LOAD_CLIENT_SATURATED"))
    without_token = bench(secured, {name: value for name, value in files.items() if name != "rpc_token_file"})
    assert without_token.exit_code == 4, without_token.output
    assert "token" in without_token.output
    missing = bench(secured, {**files, "rpc_key_file": files["rpc_key_file"] + ".gone"})
    assert missing.exit_code == 2
    assert "cannot be read" in missing.output


@pytest.fixture(scope="module")
def foreign() -> RpcSecurity:
    ca = CertificateAuthority("theirs")
    issued = ca.issue("throng", "127.0.0.1")
    return RpcSecurity(ca.certificate_pem, issued.certificate_pem, issued.key_pem, server_name="throng")


def intruder(kind: str, secured: Secured, foreign: RpcSecurity) -> RpcSecurity:
    """What an intruder proves, who knows everything but one thing."""
    ours = secured.rules
    return {
        "no certificate": RpcSecurity(tokens=ours.tokens),
        "a foreign certificate": dataclasses.replace(foreign, ca_pem=ours.ca_pem, tokens=ours.tokens),
        "no token": dataclasses.replace(ours, tokens=()),
        "a wrong token": dataclasses.replace(ours, tokens=("x" * 64,)),
        "nothing": PLAIN,
    }[kind]


@pytest.mark.parametrize("kind", ["no certificate", "a foreign certificate", "no token", "a wrong token", "nothing"])
def test_an_intruder_reads_nothing_and_nothing_of_theirs_is_delivered_i9(
    secured: Secured, connect: Callable[[str], FrameClient], foreign: RpcSecurity, kind: str
) -> None:
    group = make_group(secured)
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    assert send(alice, group, "before") == 1
    alice.wait(lambda frame: frame.get("block", {}).get("groupId") == group)
    rules = intruder(kind, secured, foreign)
    channels = {name: secured.running.channel(name, rules) for name in secured.running.addresses}
    codes = {name: _code(attempt) for name, attempt in attempts(channels, group, secured.running).items()}
    assert set(codes.values()) <= REFUSED, codes
    assert grpc.StatusCode.OK not in codes.values()
    # What comes next is the next message, and no frame came in between.
    assert send(alice, group, "after") == 2
    block = alice.wait(lambda frame: frame.get("block", {}).get("groupId") == group)["block"]
    assert (int(block["prevSeq"]), [message["text"]["text"] for message in block["messages"]]) == (1, ["after"])
    assert not [frame for frame in alice.frames if "rogue" in str(frame)]
    router = router_pb2_grpc.RouterServiceStub(secured.running.channel("router", secured.rules))
    known = router.ListEdges(router_pb2.ListEdgesRequest(), timeout=SECONDS).edges
    assert [edge.identity.edge_id for edge in known] == ["edge-1"]


def attempts(channels: dict[str, Any], group: str, running: Installation) -> dict[str, Callable[[], object]]:
    """Everything that would read or change something, by the service it asks."""
    rogue = message_pb2.Message(seq=2, sender_id="rogue", text=message_pb2.Text(text="rogue"))
    block = message_pb2.Block(group_id=group, epoch=1, prev_seq=1, messages=[rogue]).SerializeToString()
    event = edge_pb2.EdgeEvent(group_id=group, published_at_ms=1, block=block).SerializeToString()
    record = uplink_pb2.SubmittedMessage(
        group_id=group,
        user_id="rogue",
        client_msg_id=str(uuid.uuid4()),
        body=message_pb2.Message(text=message_pb2.Text(text="rogue")),
        origin=uplink_pb2.Origin(edge_id="rogue", incarnation=1, conn_id="c"),
    )
    identity = router_pb2.EdgeIdentity(edge_id="rogue", incarnation=1, internal_address="127.0.0.1:1", public_url="ws://rogue")
    held = router_pb2.RouteSnapshot(groups=[router_pb2.GroupCount(group_id=group, connections=1)], complete=True)
    groups, messages = group_pb2_grpc.GroupServiceStub(channels["group"]), message_pb2_grpc.MessageServiceStub(channels["group"])
    router, edge = router_pb2_grpc.RouterServiceStub(channels["router"]), edge_pb2_grpc.EdgeServiceStub(channels["edge"])
    reports = [router_pb2.ReportRoutesRequest(identity=identity), router_pb2.ReportRoutesRequest(report_id=1, snapshot=held)]
    publication = router_pb2.Publication(group_id=group, epoch=1, head_seq=2, event=event)
    greeting = edge_pb2.DeliverRequest(edge_id=running.edge.edge_id, incarnation=running.edge.incarnation, events=[event])
    observation = unread_pb2.Observation(group_id=group, epoch=1, prev_seq=1, head_seq=9)
    uplink, unread = uplink_pb2_grpc.UplinkServiceStub(channels["group"]), unread_pb2_grpc.UnreadServiceStub(channels["unread"])
    return {
        "list messages": lambda: messages.ListMessages(m.ListMessagesRequest(group_id=group), timeout=SECONDS),
        "remove a member": lambda: groups.RemoveMembers(
            group_pb2.RemoveMembersRequest(group_id=group, user_ids=["alice"]), timeout=SECONDS
        ),
        "append": lambda: list(uplink.Append(iter([uplink_pb2.AppendRequest(batch_id=1, records=[record])]), timeout=SECONDS)),
        "publish": lambda: list(
            router.Publish(iter([router_pb2.PublishRequest(batch_id=1, publications=[publication])]), timeout=SECONDS)
        ),
        "weigh an edge": lambda: router.SetEdgeWeight(
            router_pb2.SetEdgeWeightRequest(edge_id=running.edge.edge_id, weight=1), timeout=SECONDS
        ),
        "drain an edge": lambda: router.DrainEdge(router_pb2.DrainEdgeRequest(edge_id=running.edge.edge_id), timeout=SECONDS),
        "report routes": lambda: list(router.ReportRoutes(iter(reports), timeout=SECONDS)),
        "deliver": lambda: list(edge.Deliver(iter([greeting]), timeout=SECONDS)),
        "drain": lambda: edge.Drain(edge_pb2.DrainRequest(), timeout=SECONDS),
        "observe": lambda: unread.Observe(iter([unread_pb2.ObserveRequest(observations=[observation])]), timeout=SECONDS),
        "count": lambda: unread.GetUnreadCounts(unread_pb2.GetUnreadCountsRequest(user_id="alice"), timeout=SECONDS),
    }


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("wrong", ["ca", "token"])
def test_a_whole_edge_that_does_not_belong_here_is_never_ready(secured: Secured, tmp_path: pathlib.Path, wrong: str) -> None:
    files = dict(secured.files["edge"])
    if wrong == "token":
        write_private(tmp_path / "token", b"y" * 64)
        files["rpc_token_file"] = str(tmp_path / "token")
    else:
        ca = CertificateAuthority("theirs")
        theirs = write_tls_files(tmp_path, "edge", ca, ca.issue("throng"))
        files |= {"rpc_ca_file": str(theirs.ca_file), "rpc_cert_file": str(theirs.cert_file), "rpc_key_file": str(theirs.key_file)}
    edge = secured.running.make_edge(**files, edge_id="rogue", internal_port=0)
    try:
        edge.start()
        deadline = time.monotonic() + SECONDS
        while (edge._registry.get_sample_value("throng_edge_router_reconnects_total") or 0) < 2 and time.monotonic() < deadline:
            assert not edge.wait_ready(0.05)
        assert not edge.readiness.ready
    finally:
        edge.stop()


def test_probes_come_through_with_a_certificate_alone(secured: Secured) -> None:
    for name in secured.running.addresses:
        channel = secured.running.channel(name, dataclasses.replace(secured.rules, tokens=()))
        response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_the_command_line_says_what_it_lacks(secured: Secured) -> None:
    show = ["group", "show", "lobby", "--address", secured.running.addresses["group"]]
    done = click.testing.CliRunner().invoke(main, show)
    assert done.exit_code == 1
    assert "does not answer, or it wants TLS (--rpc-ca-file)" in done.output
    files = secured.files["edge"]
    for name in ("rpc_ca_file", "rpc_cert_file", "rpc_key_file", "rpc_server_name"):
        show += [f"--{name.replace('_', '-')}", files[name]]
    done = click.testing.CliRunner().invoke(main, show)
    assert done.exit_code == 1
    assert "brought no token" in done.output
    assert "UNAUTHENTICATED" in done.output
    done = click.testing.CliRunner().invoke(main, [*show, "--rpc-token-file", files["rpc_token_file"]])
    assert done.exit_code == 0
    assert "lobby" in done.output
