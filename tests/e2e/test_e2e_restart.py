"""A restart, and kill -9 in the middle of traffic: what had an ACK is there once, in order, without a hole."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time

import pytest
from frame_client import Closed, Frame, FrameClient, Refused, new_id
from throng_process import ThrongProcess

pytestmark = pytest.mark.e2e


def everything(client: FrameClient, group: str) -> list[Frame]:
    """All messages of a group, by pulling."""
    messages: list[Frame] = []
    while True:
        pulled = client.ask(pull={"groupId": group, "afterSeq": str(len(messages))})["pulled"]
        messages += pulled.get("messages", [])
        if len(messages) >= int(pulled.get("headSeq", 0)):
            return messages


class Sender(threading.Thread):
    """Sends numbered messages one by one, reconnecting and sending again with the same id until it has each ACK."""

    def __init__(self, throng: ThrongProcess, token: str, name: str, group: str) -> None:
        super().__init__(daemon=True)
        self.throng, self.token, self.user, self.group = throng, token, name, group
        self.acked: dict[str, tuple[int, int]] = {}
        self.stopping = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while not self.stopping.is_set():
                self.deliver(number, new_id())
                number += 1
        except BaseException as error:
            self.failure = error
        finally:
            self.drop()

    def deliver(self, number: int, client_msg_id: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, Closed, Refused, TimeoutError):
                client = self.connection()
                answer = client.ask(
                    send={"groupId": self.group, "clientMsgId": client_msg_id, "text": {"text": f"{self.user}:{number}"}}
                )
                if "ack" in answer:
                    self.acked[client_msg_id] = (int(answer["ack"]["seq"]), number)
                    return
                assert answer["reject"]["code"] in ("ERROR_CODE_UNAVAILABLE", "ERROR_CODE_DEADLINE_EXCEEDED"), answer
                continue
            self.drop()
        raise AssertionError(f"no ACK for {self.user}:{number} in 60 s")

    _client: FrameClient | None = None

    def connection(self) -> FrameClient:
        if self._client is None:
            self._client = FrameClient(self.throng.address, self.token)
            self._client.ask(enter={"groupId": self.group})
        return self._client

    def drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self.stopping.wait(0.05)  # the pace of attempts, not a race


def test_kill_9_in_mid_traffic_loses_nothing_acked(data_dir: pathlib.Path) -> None:
    """I1, I2, I3, I4, I10."""
    throng = ThrongProcess(data_dir).start()
    try:
        throng.make_group("g", send_interval_ms=0, budget_per_second=0, block_max_messages=0)
        senders = [Sender(throng, throng.token(f"u{n}"), f"u{n}", "g") for n in range(4)]
        for sender in senders:
            sender.start()
        for kill in range(2):
            wanted = 30 * (kill + 1)
            wait_until(lambda wanted=wanted: all(len(sender.acked) >= wanted for sender in senders), senders)
            throng.kill()
            throng.start()
        wait_until(lambda: all(len(sender.acked) >= 90 for sender in senders), senders)
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(60)
            assert sender.failure is None
            assert not sender.is_alive()
        reader = FrameClient(throng.address, throng.token("reader"))
        reader.ask(enter={"groupId": "g"})
        messages = everything(reader, "g")
        reader.close()
    finally:
        throng.kill()
    assert [int(message["seq"]) for message in messages] == list(range(1, len(messages) + 1))
    by_id = {message["clientMsgId"]: message for message in messages}
    assert len(by_id) == len(messages)
    for sender in senders:
        for client_msg_id, (seq, number) in sender.acked.items():
            assert (int(by_id[client_msg_id]["seq"]), by_id[client_msg_id]["text"]["text"]) == (seq, f"{sender.user}:{number}")
        mine = [int(m["text"]["text"].split(":")[1]) for m in messages if m["senderId"] == sender.user]
        assert mine == sorted(mine)


def wait_until(condition: object, senders: list[Sender], timeout_seconds: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, [len(sender.acked) for sender in senders]
        for sender in senders:
            assert sender.failure is None, sender.failure
        time.sleep(0.01)


def test_start_again_after_a_stop_everything_is_still_there(data_dir: pathlib.Path) -> None:
    throng = ThrongProcess(data_dir).start()
    try:
        token = throng.token("alice")
        client = FrameClient(throng.address, token)
        client.ask(enter={"groupId": "lobby"})
        assert client.ask(send={"groupId": "lobby", "clientMsgId": new_id(), "text": {"text": "kept"}})["ack"]["seq"] == "1"
        client.ask(reportRead={"groupId": "lobby", "readSeq": "1"})
        client.close()
        assert throng.stop() == 0
        throng.start()
        again = FrameClient(throng.address, token)
        entered = again.ask(enter={"groupId": "lobby"})["entered"]
        assert [message["text"]["text"] for message in entered["messages"]] == ["kept"]
        assert entered["unread"]["readSeq"] == "1"
        again.close()
    finally:
        throng.kill()


def test_stop_tells_clients_to_come_back(data_dir: pathlib.Path) -> None:
    throng = ThrongProcess(data_dir).start()
    client = FrameClient(throng.address, throng.token("alice"))
    client.ask(enter={"groupId": "lobby"})
    assert throng.process is not None
    throng.process.terminate()
    assert client.wait_closed(20) in (4000, 1001)
    assert throng.process.wait(30) == 0


def test_a_second_throng_on_the_same_folder_is_refused(data_dir: pathlib.Path) -> None:
    throng = ThrongProcess(data_dir).start()
    try:
        second = throng.throng("up", "--port", "0", check=False)
        assert second.returncode == 2
        assert "Another Throng runs on" in second.stderr
    finally:
        throng.kill()


def test_further_edges_share_the_groups(data_dir: pathlib.Path) -> None:
    throng = ThrongProcess(data_dir, port=free_pair(), edges=1, own_ports=True).start()
    try:
        other = throng.address.rsplit(":", 1)[0] + f":{throng.port + 1}"
        alice = FrameClient(throng.address, throng.token("alice"))
        bob = connect_when_ready(other, throng.token("bob"))
        assert alice.next()["welcome"]["edgeId"] != bob.next()["welcome"]["edgeId"]
        for client in (alice, bob):
            client.ask(enter={"groupId": "lobby"})
        for sender, receiver, text in ((alice, bob, "to the other edge"), (bob, alice, "and back")):
            ack = sender.ask(send={"groupId": "lobby", "clientMsgId": new_id(), "text": {"text": text}})["ack"]
            block = receiver.wait(lambda f, ack=ack: any(m["seq"] == ack["seq"] for m in f.get("block", {}).get("messages", [])))
            assert block["block"]["messages"][-1]["text"]["text"] == text
        alice.close()
        bob.close()
        assert throng.stop() == 0
    finally:
        throng.kill()


def free_pair() -> int:
    """A port that is free together with the next one, at this moment."""
    import socket

    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError):
                two.bind(("127.0.0.1", port + 1))
                return port


def connect_when_ready(address: str, token: str) -> FrameClient:
    """A further edge is a process that starts by itself: it is asked until it is ready."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return FrameClient(address, token)
        except (OSError, Refused):
            assert time.monotonic() < deadline, "the further edge did not get ready"
            time.sleep(0.05)
