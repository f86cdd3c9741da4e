"""What bad input gets: each kind its documented code, and no other connection is disturbed."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from frame_client import FrameClient, Refused, new_id
from throng_process import ThrongProcess

pytestmark = pytest.mark.e2e
Connect = Callable[..., FrameClient]


@pytest.fixture
def bystander(connect: Connect) -> FrameClient:
    """Another connection, which nothing here may disturb."""
    return connect("bystander")


@pytest.fixture(autouse=True)
def undisturbed(bystander: FrameClient) -> Any:
    yield
    assert "pong" in bystander.ask(ping={})


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (lambda client: client.send_payload(b"{}", mask=None), 1002),
        (lambda client: client.send_payload(b"{}", opcode=3), 1002),
        (lambda client: client.raw(b"\xf1\x80\0\0\0\0"), 1002),
        (lambda client: client.send_payload(b"", opcode=0), 1002),
        (lambda client: client.send_payload(b"x" * 126, opcode=9), 1002),
        (lambda client: client.send_payload(b"", opcode=9, fin=False), 1002),
        (lambda client: client.send_payload(b"\xff\xfe", opcode=1), 1007),
        (lambda client: client.send_payload(b"{}", opcode=2), 1003),
        (lambda client: client.send_payload(b"{" + b" " * 70_000 + b"}"), 4202),
        (lambda client: client.raw(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), 4202),
    ],
    ids=[
        "unmasked",
        "unknown-opcode",
        "reserved-bits",
        "continuation-of-nothing",
        "long-ping",
        "fragmented-ping",
        "not-utf8",
        "binary-on-json",
        "over-size",
        "over-size-header",
    ],
)
def test_broken_frames_close_with_their_code(connect: Connect, attack: Callable[[FrameClient], None], code: int) -> None:
    client = connect("attacker")
    attack(client)
    assert client.wait_closed() == code


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"{}",
        b'{"requestId":"7"}',
        b'{"nonsense":{}}',
        b'{"send":{"nonsense":1}}',
        b'{"ping":{},"listGroups":{}}',
    ],
)
def test_malformed_frames_fail_and_the_connection_goes_on(connect: Connect, payload: bytes) -> None:
    client = connect("attacker")
    client.send_payload(payload)
    assert client.wait(lambda frame: "failure" in frame)["failure"]["code"] == "ERROR_CODE_MALFORMED_FRAME"
    assert "pong" in client.ask(ping={})


def test_many_malformed_frames_close_with_4201(connect: Connect) -> None:
    client = connect("attacker")
    for _ in range(20):
        client.send_payload(b"{")
    assert client.wait_closed() == 4201


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"enter": {"groupId": "no-such-group"}}, "GROUP_NOT_FOUND"),
        ({"enter": {"groupId": "not an id"}}, "INVALID_ARGUMENT"),
        ({"enter": {}}, "INVALID_ARGUMENT"),
        ({"leave": {"groupId": "other"}}, "NOT_ENTERED"),
        ({"pull": {"groupId": "other"}}, "NOT_ENTERED"),
        ({"pull": {"groupId": "lobby", "afterSeq": "9", "upToSeq": "3"}}, "INVALID_ARGUMENT"),
        ({"pull": {"groupId": "lobby", "epoch": 99}}, "EPOCH_MISMATCH"),
        ({"history": {"groupId": "lobby", "limit": 201}}, "LIMIT_EXCEEDED"),
        ({"history": {"groupId": "other"}}, "NOT_ENTERED"),
        ({"reportRead": {"groupId": "other", "readSeq": "1"}}, "NOT_ENTERED"),
        ({"deleteForMe": {"groupId": "lobby", "seq": "999999"}}, "MESSAGE_NOT_FOUND"),
    ],
)
def test_wrong_requests_fail_with_their_code(connect: Connect, frame: dict[str, Any], code: str) -> None:
    client = connect("clumsy")
    client.ask(enter={"groupId": "lobby"})
    assert client.ask(**frame)["failure"]["code"] == f"ERROR_CODE_{code}"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"groupId": "other", "text": {"text": "x"}}, "NOT_ENTERED"),
        ({"text": {"text": " \n"}}, "EMPTY_MESSAGE"),
        ({}, "EMPTY_MESSAGE"),
        ({"text": {"text": "x" * 4001}}, "TOO_LARGE"),
        ({"custom": {"type": "t", "payload": "A" * 12_000}}, "TOO_LARGE"),
        ({"custom": {"type": "no good type", "payload": "AAAA"}}, "INVALID_ARGUMENT"),
        ({"image": {"url": "javascript:alert(1)", "width": 1, "height": 1}}, "INVALID_ARGUMENT"),
        ({"image": {"url": "https://example.com/a.png"}}, "INVALID_ARGUMENT"),
        ({"clientMsgId": "not-a-uuid", "text": {"text": "x"}}, "INVALID_ARGUMENT"),
        ({"text": {"text": "x"}, "mentions": ["a b"]}, "INVALID_ARGUMENT"),
        ({"text": {"text": "x"}, "mentions": [f"u{n}" for n in range(51)]}, "LIMIT_EXCEEDED"),
    ],
)
def test_wrong_messages_are_rejected_with_their_code(connect: Connect, message: dict[str, Any], code: str) -> None:
    client = connect("clumsy")
    client.ask(enter={"groupId": "lobby"})
    answer = client.ask(send={"groupId": "lobby", "clientMsgId": new_id(), **message})
    assert answer["reject"]["code"] == f"ERROR_CODE_{code}"
    assert answer["reject"]["text"]


def test_a_position_of_another_epoch_resets(connect: Connect) -> None:
    entered = connect("returning").ask(enter={"groupId": "lobby", "epoch": 7, "seq": "123456"})["entered"]
    assert entered["reset"] is True
    assert entered["group"]["epoch"] == 1


def forged(throng: ThrongProcess, *, key: str | None = None, **claims: Any) -> str:
    secret = key or (pathlib.Path(throng.data_dir) / "token.key").read_text().strip()
    body = {"sub": "alice", "aud": "throng", "exp": int(time.time()) + 60, **claims}
    return jwt.encode({name: value for name, value in body.items() if value is not None}, secret, algorithm="HS256")


@pytest.mark.parametrize(
    "make",
    [
        lambda throng: None,
        lambda throng: "nonsense",
        lambda throng: forged(throng, exp=int(time.time()) - 60),
        lambda throng: forged(throng, exp=None),
        lambda throng: forged(throng, aud="elsewhere"),
        lambda throng: forged(throng, sub="not an id"),
        lambda throng: forged(throng, sub=None),
        lambda throng: forged(throng, key="another key, of which nobody here knows"),
        lambda throng: jwt.encode({"sub": "alice", "aud": "throng", "exp": int(time.time()) + 60}, None, algorithm="none"),
    ],
    ids=["none", "nonsense", "expired", "no-expiry", "other-audience", "bad-user", "no-user", "other-key", "unsigned"],
)
def test_wrong_tokens_are_refused_with_401(throng: ThrongProcess, make: Callable[[ThrongProcess], str | None]) -> None:
    with pytest.raises(Refused) as refused:
        FrameClient(throng.address, make(throng))
    assert (refused.value.status, refused.value.code) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"headers": {"Origin": "https://evil.example"}}, 403, "PERMISSION_DENIED"),
        ({"headers": {"Sec-WebSocket-Version": "8"}}, 426, "INVALID_ARGUMENT"),
        ({"headers": {"Upgrade": "", "Connection": ""}}, 400, "INVALID_ARGUMENT"),
        ({"subprotocol": "chat.v9"}, 400, "INVALID_ARGUMENT"),
        ({"path": "/ws?groups=a%20b"}, 400, "INVALID_ARGUMENT"),
        ({"path": "/ws?delivery=pigeon"}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_wrong_upgrades_are_refused(throng: ThrongProcess, options: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(Refused) as refused:
        FrameClient(throng.address, throng.token("alice"), **options)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_a_token_in_a_second_subprotocol_is_taken_as_browsers_send_it(throng: ThrongProcess) -> None:
    token = throng.token("alice")
    client = FrameClient(throng.address, None, subprotocol=f"throng.v1.json, bearer.{token}", headers={"Origin": throng.address})
    assert client.next()["welcome"]["userId"] == "alice"
    client.close()


def test_the_21st_connection_of_a_user_is_refused(connect: Connect, throng: ThrongProcess) -> None:
    clients = [connect("many") for _ in range(20)]
    one_more = FrameClient(throng.address, throng.token("many"))
    assert one_more.wait_closed() == 4200
    clients[0].close()
    assert "pong" in clients[1].ask(ping={})


def test_a_muted_member_is_rejected(connect: Connect, throng: ThrongProcess) -> None:
    import grpc

    from throng.api.group.v1 import group_pb2, group_pb2_grpc

    throng.make_group("quiet", send_interval_ms=0)
    client = connect("noisy")
    client.ask(enter={"groupId": "quiet"})
    address = json.loads((throng.data_dir / "running.json").read_text())["group"]
    with grpc.insecure_channel(address) as channel:
        request = group_pb2.UpdateMemberRequest(group_id="quiet", user_id="noisy", muted_until_ms=int(time.time() * 1000) + 60_000)
        group_pb2_grpc.GroupServiceStub(channel).UpdateMember(request, timeout=10)
    reject = client.ask(send={"groupId": "quiet", "clientMsgId": new_id(), "text": {"text": "x"}})["reject"]
    assert reject["code"] == "ERROR_CODE_MUTED"
    assert 0 < reject["retryAfterMs"] <= 60_000
