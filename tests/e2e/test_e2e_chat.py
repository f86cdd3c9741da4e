"""Chat over the four services, by a client that knows docs/protocol.md alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from frame_client import Frame, FrameClient, login, new_id
from throng_process import ThrongProcess

pytestmark = pytest.mark.e2e
Connect = Callable[..., FrameClient]


def send(client: FrameClient, group: str, text: str, **more: Any) -> Frame:
    return client.ask(send={"groupId": group, "clientMsgId": new_id(), "text": {"text": text}, **more})


def shown(client: FrameClient, group: str, up_to: int, held: int = 0) -> list[Frame]:
    """Messages after `held` up to `up_to`, taken from blocks in order; fails on a gap that is not healed by the next block."""
    messages: list[Frame] = []
    while held < up_to:
        block = client.wait(lambda frame: frame.get("block", {}).get("groupId") == group)["block"]
        assert int(block.get("prevSeq", 0)) <= held, f"a gap before {block}"
        for message in block["messages"]:
            if int(message["seq"]) > held:
                assert int(message["seq"]) == held + 1
                held += 1
                messages.append(message)
    return messages


@pytest.fixture
def group(throng: ThrongProcess, request: pytest.FixtureRequest) -> str:
    """An open group of the test's own, without limits."""
    name = request.node.name.replace("[", ".").replace("]", "")[:64]
    throng.make_group(name, send_interval_ms=0, budget_per_second=0, block_max_messages=0)
    return name


def test_two_users_see_each_others_messages_in_one_order(connect: Connect, group: str) -> None:
    alice, bob = connect("alice"), connect("bob")
    for client in (alice, bob):
        entered = client.ask(enter={"groupId": group})["entered"]
        assert entered["group"]["groupId"] == group
        assert entered["role"] == "ROLE_MEMBER"
    acks = [send(alice, group, f"a{n}")["ack"] for n in range(5)] + [send(bob, group, f"b{n}")["ack"] for n in range(5)]
    assert [int(ack["seq"]) for ack in acks] == list(range(1, 11))
    texts = [f"a{n}" for n in range(5)] + [f"b{n}" for n in range(5)]
    for client in (alice, bob):
        messages = shown(client, group, 10)
        assert [message["text"]["text"] for message in messages] == texts
        assert messages[0]["senderId"] == "alice"


def test_a_repeated_id_is_stored_once_and_acked_again(connect: Connect, group: str) -> None:
    """I2."""
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    frame = {"groupId": group, "clientMsgId": new_id(), "text": {"text": "once"}}
    acks = [alice.ask(send=frame)["ack"] for _ in range(3)]
    assert {ack["seq"] for ack in acks} == {"1"}
    page = alice.ask(history={"groupId": group})["pulled"]
    assert [message["text"]["text"] for message in page["messages"]] == ["once"]


def test_the_same_id_with_another_body_is_refused(connect: Connect, group: str) -> None:
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    frame = {"groupId": group, "clientMsgId": new_id(), "text": {"text": "once"}}
    alice.ask(send=frame)
    reject = alice.ask(send={**frame, "text": {"text": "twice"}})["reject"]
    assert reject["code"] == "ERROR_CODE_CLIENT_MSG_ID_REUSED"


def test_messages_of_one_connection_keep_their_order_without_waiting_for_acks(connect: Connect, group: str) -> None:
    """I4."""
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    ids = [alice.request(send={"groupId": group, "clientMsgId": new_id(), "text": {"text": str(n)}}) for n in range(50)]
    seqs = [int(alice.answer(request_id)["ack"]["seq"]) for request_id in ids]
    assert seqs == list(range(1, 51))


def test_entering_again_brings_what_was_missed(connect: Connect, group: str) -> None:
    alice, bob = connect("alice"), connect("bob")
    alice.ask(enter={"groupId": group})
    bob.ask(enter={"groupId": group})
    send(alice, group, "seen")
    shown(bob, group, 1)
    bob.close()
    for n in range(3):
        send(alice, group, f"missed {n}")
    again = connect("bob")
    entered = again.ask(enter={"groupId": group, "epoch": 1, "seq": "1"})["entered"]
    assert [int(message["seq"]) for message in entered["messages"]] == [2, 3, 4]


def test_notify_sends_heads_and_pull_brings_the_messages(connect: Connect, group: str) -> None:
    alice, bob = connect("alice"), connect("bob")
    alice.ask(enter={"groupId": group})
    bob.ask(enter={"groupId": group, "delivery": "DELIVERY_NOTIFY"})
    send(alice, group, "hello")
    notice = bob.wait(lambda frame: "notice" in frame)["notice"]
    assert notice["headSeq"] == "1"
    pulled = bob.ask(pull={"groupId": group, "upToSeq": notice["headSeq"]})["pulled"]
    assert [message["text"]["text"] for message in pulled["messages"]] == ["hello"]
    assert not any("block" in frame for frame in bob.frames)


def test_recall_blanks_the_message_for_everyone(connect: Connect, group: str) -> None:
    alice, bob = connect("alice"), connect("bob")
    for client in (alice, bob):
        client.ask(enter={"groupId": group})
    seq = send(alice, group, "a slip")["ack"]["seq"]
    refused = bob.ask(recall={"groupId": group, "seq": seq})["reject"]
    assert refused["code"] == "ERROR_CODE_PERMISSION_DENIED"
    assert alice.ask(recall={"groupId": group, "seq": seq})["ack"]["seq"] == "2"
    assert shown(bob, group, 2)[1]["recall"]["targetSeq"] == seq
    page = bob.ask(history={"groupId": group})["pulled"]["messages"]
    assert page[0]["recalledBySeq"] == "2"
    assert "text" not in page[0]
    late = connect("carol").ask(enter={"groupId": group})["entered"]["messages"]
    assert "text" not in late[0]


def test_delete_for_me_hides_it_for_me_alone(connect: Connect, group: str) -> None:
    alice, bob = connect("alice"), connect("bob")
    for client in (alice, bob):
        client.ask(enter={"groupId": group})
    seq = send(alice, group, "not for bob's eyes")["ack"]["seq"]
    event = bob.ask(deleteForMe={"groupId": group, "seq": seq})["groupEvent"]
    assert event["deletedForMe"]["seqs"] == [seq]
    assert connect("bob").ask(enter={"groupId": group})["entered"]["deletedSeqs"] == [seq]
    assert "deletedSeqs" not in connect("alice").ask(enter={"groupId": group})["entered"]


def test_unread_counts_others_messages_exactly(connect: Connect, throng: ThrongProcess, group: str) -> None:
    """I7: own and recalled messages do not count; more than 99 is capped."""
    bob = connect("bob")
    assert bob.ask(enter={"groupId": group})["entered"].get("unread", {}).get("count", 0) == 0
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    for n in range(4):
        send(alice, group, f"m{n}")
    alice.ask(recall={"groupId": group, "seq": "2"})
    send(bob, group, "mine")

    def unread(user: str) -> Frame:
        groups = connect(user).ask(listGroups={})["groups"]["groups"]
        return next(entry["unread"] for entry in groups if entry["group"]["groupId"] == group)

    assert unread("bob")["count"] == 3
    counts = bob.ask(reportRead={"groupId": group, "readSeq": "3"})["unreadCounts"]["counts"]
    assert counts[0]["unread"]["count"] == 1
    for n in range(120):
        alice.request(send={"groupId": group, "clientMsgId": new_id(), "text": {"text": f"x{n}"}})
    alice.wait(lambda frame: int(frame.get("ack", {}).get("seq", 0)) == 126)
    capped = unread("bob")
    assert (capped["count"], capped["capped"]) == (99, True)


def test_lobby_is_there_and_open_with_its_default_interval(connect: Connect) -> None:
    alice = connect("lobby-guest")
    entered = alice.ask(enter={"groupId": "lobby"})["entered"]
    assert entered["group"]["settings"]["sendIntervalMs"] == 1000
    assert "ack" in send(alice, "lobby", "one")
    reject = send(alice, "lobby", "two, at once")["reject"]
    assert reject["code"] == "ERROR_CODE_RATE_LIMITED"
    assert 0 < reject["retryAfterMs"] <= 1000


def test_groups_in_the_url_are_entered_at_once(connect: Connect, group: str) -> None:
    client = connect("alice", path=f"/ws?groups={group},lobby")
    names = {client.wait(lambda frame: "entered" in frame)["entered"]["group"]["groupId"] for _ in range(2)}
    assert names == {group, "lobby"}


def test_a_removed_member_gets_nothing_more(connect: Connect, throng: ThrongProcess) -> None:
    """I9."""
    throng.throng("group", "create", "closed", "--send-interval-ms", "0", "--block-max-messages", "0")
    throng.throng("group", "add", "closed", "alice", "bob")
    alice, bob = connect("alice"), connect("bob")
    for client in (alice, bob):
        assert "entered" in client.ask(enter={"groupId": "closed"})
    assert connect("mallory").ask(enter={"groupId": "closed"})["failure"]["code"] == "ERROR_CODE_NOT_A_MEMBER"
    throng.throng("group", "remove", "closed", "bob")
    bob.wait(lambda frame: "removed" in frame.get("groupEvent", {}))
    send(alice, "closed", "secret")
    shown(alice, "closed", 1)
    assert bob.ask(ping={})["pong"]
    assert not any("block" in frame or "notice" in frame for frame in bob.frames)
    assert bob.ask(pull={"groupId": "closed"})["failure"]["code"] in ("ERROR_CODE_NOT_ENTERED", "ERROR_CODE_NOT_A_MEMBER")


def test_a_program_sends_by_grpc_and_people_see_it(connect: Connect, throng: ThrongProcess, group: str) -> None:
    alice = connect("alice")
    alice.ask(enter={"groupId": group})
    printed = throng.throng("group", "send", group, "from a program", "--user", "alice").stdout.split()
    assert printed == [group, "1"]
    assert shown(alice, group, 1)[0]["text"]["text"] == "from a program"


def test_a_token_of_the_command_is_taken(throng: ThrongProcess) -> None:
    client = FrameClient(throng.address, throng.throng("token", "--user", "alice").stdout.strip())
    assert client.next()["welcome"]["userId"] == "alice"
    client.close()


def test_development_login_makes_an_id_from_any_name(throng: ThrongProcess) -> None:
    token, user = login(throng.address, "张伟")
    client = FrameClient(throng.address, token)
    assert client.next()["welcome"]["userId"] == user
    client.ask(enter={"groupId": "lobby"})
    ack = send(client, "lobby", "你好")
    assert "ack" in ack
    message = client.wait(lambda frame: any(m["senderId"] == user for m in frame.get("block", {}).get("messages", [])))
    assert message["block"]["messages"][-1]["senderName"] == "张伟"
    client.close()
