"""`throng up --edges 1`: two edge processes behind one port are one host to clients, and two to operators."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from frame_client import Frame, FrameClient, login, new_id
from throng_process import ThrongProcess, ready

from throng.cli.data_folder import DataFolder
from throng.cluster.metrics import read_metric

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
EDGES = {"edge-0", "edge-1"}


@pytest.fixture(scope="module")
def throng(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrongProcess]:
    process = ThrongProcess(tmp_path_factory.mktemp("shared") / "data", edges=1).start()
    try:
        wait_for(lambda: all(ready(address) for address in operations(process)), "both edges are ready")
        yield process
        assert process.stop() == 0
    finally:
        process.kill()


def operations(throng: ThrongProcess) -> tuple[str, ...]:
    running = DataFolder(throng.data_dir).read_running()
    assert running is not None
    return running.operations


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Member:
    """Someone in a group, through whichever edge."""

    def __init__(self, throng: ThrongProcess, name: str, group_id: str = "lobby") -> None:
        token, _ = login(throng.address, name)
        self.client = FrameClient(throng.address, token)
        self.group_id = group_id
        self.edge_id: str = self.client.next()["welcome"]["edgeId"]
        entered = self.client.ask(enter={"groupId": group_id})["entered"]
        self.head = int(entered["group"].get("headSeq", 0))
        self.online = int(entered.get("online", 0))

    def send(self, text: str) -> None:
        assert "ack" in self.client.ask(send={"groupId": self.group_id, "clientMsgId": new_id(), "text": {"text": text}})

    def storm(self, count: int) -> list[Frame]:
        """Sends so many messages at once; their refusals."""
        send = {"groupId": self.group_id, "text": {"text": "all at once"}}
        asked = [self.client.request(send={**send, "clientMsgId": new_id()}) for _ in range(count)]
        answers = [self.client.answer(request_id) for request_id in asked]
        return [answer["reject"] for answer in answers if "reject" in answer]

    def hears_online(self, count: int) -> None:
        """Follows what is told of the group until it has so many connections; what was told earlier is not taken for news."""
        while self.online != count:
            self.online = int(self.client.wait(lambda f: "online" in f)["online"].get("count", 0))

    def sees(self, text: str) -> None:
        self.client.wait(lambda f: any(m["text"]["text"] == text for m in f.get("block", {}).get("messages", [])))


@pytest.fixture
def come(throng: ThrongProcess) -> Iterator[Callable[..., Member]]:
    """Brings one more member, who leaves after the test."""
    members: list[Member] = []

    def one(group_id: str = "lobby") -> Member:
        members.append(Member(throng, f"member {len(members)}", group_id))
        return members[-1]

    yield one
    for member in members:
        member.client.close()


def members_on_both(come: Callable[[], Member]) -> list[Member]:
    """Members come until both edges have some: the kernel deals them out."""
    members: list[Member] = []
    while len(members) < 3 or {member.edge_id for member in members} != EDGES:
        assert len(members) < 60, "one edge gets nobody"
        members.append(come())
    return members


def edge_pid(throng: ThrongProcess) -> int:
    """The further edge's process."""
    assert throng.process is not None
    children = pathlib.Path(f"/proc/{throng.process.pid}/task").glob("*/children")
    pids = [int(pid) for child in children for pid in child.read_text().split()]
    (pid,) = (pid for pid in pids if b"--reuse-port" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


def test_clients_of_one_address_are_on_both_edges_and_hear_each_other(throng: ThrongProcess, come: Callable[[], Member]) -> None:
    members = members_on_both(come)
    for speaker in (next(one for one in members if one.edge_id == edge_id) for edge_id in sorted(EDGES)):
        text = f"from {speaker.edge_id}"
        speaker.send(text)
        for member in members:
            member.sees(text)
    counts = [read_metric(address, "throng_edge_connections") for address in operations(throng)]
    assert sum(counts) == len(members)
    assert min(counts) > 0


def test_page_and_assignment_are_the_same_at_whichever_edge(throng: ThrongProcess) -> None:
    for _ in range(12):  # each a connection of its own, which either edge may get
        with urllib.request.urlopen(throng.address, timeout=5) as response:
            assert response.status == 200
        with urllib.request.urlopen(f"{throng.address}/v1/assign", timeout=5) as response:
            assert json.load(response)["url"] == throng.address.replace("http://", "ws://")


def test_a_budget_is_shared_out_by_the_members_of_each_edge_and_follows_them(
    throng: ThrongProcess, come: Callable[..., Member]
) -> None:
    budget = 60
    throng.make_group("storm", send_interval_ms=0, budget_per_second=budget, block_interval_ms=0)
    here: dict[str, list[Member]] = {edge_id: [] for edge_id in EDGES}
    while min(map(len, here.values())) < 2:
        member = come("storm")
        here[member.edge_id].append(member)
        assert sum(map(len, here.values())) < 40, "one edge gets hardly anybody"

    def admitted(edge_id: str) -> int:
        online = sum(map(len, here.values()))
        speaker = here[edge_id][0]
        speaker.hears_online(online)
        refusals = speaker.storm(2 * budget)
        assert {refusal["code"] for refusal in refusals} == {"ERROR_CODE_GROUP_BUSY"}
        assert all(refusal["retryAfterMs"] >= 500 for refusal in refusals)
        return 2 * budget - len(refusals)

    def share(edge_id: str) -> float:
        return budget * len(here[edge_id]) / sum(map(len, here.values()))

    for edge_id in EDGES:
        assert share(edge_id) - 1 <= admitted(edge_id) <= share(edge_id) * 1.5, (
            "a bucket of one second, filled up a little meanwhile"
        )
    left, filled = here["edge-0"], here["edge-1"]
    before = share("edge-1")
    while len(left) > 1:
        left.pop().client.close()
    filled[0].hears_online(1 + len(filled))
    time.sleep(1.1)  # a bucket that was emptied is full again after a second
    assert share("edge-1") > before
    assert share("edge-1") - 1 <= admitted("edge-1") <= share("edge-1") * 1.5


def test_clients_of_a_killed_edge_come_back_on_the_same_address_i6_i10(throng: ThrongProcess, come: Callable[[], Member]) -> None:
    members = members_on_both(come)
    victims = [member for member in members if member.edge_id == "edge-1"]
    stays = next(member for member in members if member.edge_id == "edge-0")
    os.kill(edge_pid(throng), signal.SIGKILL)
    for victim in victims:
        victim.client.wait_closed(10)
    stays.send("while it is away")
    back = [come() for _ in range(8)]  # the dead process holds no share of the port
    assert {member.edge_id for member in back} == {"edge-0"}
    assert all(member.head >= stays.head + 1 for member in back)
    wait_for(lambda: all(ready(address) for address in operations(throng)), "the edge is started again")
    members_on_both(come)[-1].send("all are here")
    for member in (stays, *back):
        member.sees("all are here")
