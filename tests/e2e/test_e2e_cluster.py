"""A whole cluster: real Kafka, MariaDB and Redis, two of each service; people on different edges chat while parts die."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pymysql
import pytest
import redis
from backends import backend_missing
from frame_client import Frame, FrameClient, login, new_id
from kafka_stage import TOPIC

from throng.adapters.kafka_options import KafkaAccess
from throng.adapters.kafka_topic import ensure_topics
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.cluster import Cluster, ClusterPlan, ServiceProcess
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import load_security
from throng.testing.servers import ServerMissing

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
GROUP = "team"
PARTITIONS = 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(
        tmp_path_factory.mktemp("cluster"),
        ClusterPlan(
            unreads=2,
            tls=True,
            restart_dead=False,
            proxied=frozenset({"group->kafka", "router->edge"}),
            flags={"edge": {"min_send_interval_ms": "0"}, "group": {"kafka_session_timeout_seconds": "3"}},
        ),
    )
    try:
        running.start()
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    try:
        with channel(running, running.of("group")[0].addresses.grpc) as opened:
            settings = common.GroupSettings(open=True, send_interval_ms=0, budget_per_second=0)
            request = group_pb2.CreateGroupRequest(group_id=GROUP, settings=settings)
            group_pb2_grpc.GroupServiceStub(opened).CreateGroup(request, timeout=20)
        yield running
    finally:
        running.stop()


def channel(cluster: Cluster, address: str) -> grpc.Channel:
    """To a group service, with the certificate and token of one."""
    tls = cluster.folder / "tls"
    security = load_security(
        ca_file=tls / "group-ca.pem",
        cert_file=tls / "group.pem",
        key_file=tls / "group.key",
        server_name="throng",
        token_file=tls / "rpc.token",
    )
    return rpc_sync.channel([address], security)


class Person:
    """Someone on one edge, who notes what is shown: as the page does, by blocks and by pulling what a block shows to be missing."""

    def __init__(self, url: str, name: str) -> None:
        token, self.user_id = login(url, name)
        self.client = FrameClient(url, token, timeout_seconds=20.0)
        assert "welcome" in self.client.next()
        self.entered = self.client.ask(enter={"groupId": GROUP})["entered"]
        self.shown = {int(one["seq"]): one["text"]["text"] for one in self.entered.get("messages", [])}
        self.head = int(self.entered["group"].get("headSeq", 0))

    def send(self, text: str, msg_id: str = "", seconds: float = 30.0) -> int:
        """Sends until it is ACKed, with the same id; returns the seq."""
        msg_id = msg_id or new_id()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.client.request(send={"groupId": GROUP, "clientMsgId": msg_id, "text": {"text": text}})
            try:
                answer = self.client.wait(lambda frame: _answers(frame, msg_id), 3.0)
            except TimeoutError:
                continue
            if "ack" in answer:
                return int(answer["ack"]["seq"])
            assert answer["reject"]["code"] in ("UNAVAILABLE", "GROUP_BUSY", "RATE_LIMITED"), answer
            time.sleep(0.2)
        raise AssertionError(f"{text} was not ACKed in {seconds:g} s")

    def sees(self, seqs: set[int], seconds: float = 20.0) -> None:
        """Waits until all of these are shown; nothing is pulled but what the edge itself says to be there."""
        deadline = time.monotonic() + seconds
        while not seqs <= set(self.shown):
            frame = self.client.wait(lambda one: "block" in one or "notice" in one, max(deadline - time.monotonic(), 0.01))
            block = frame.get("block")
            if block is None or int(block.get("prevSeq", 0)) > self.head:
                self._pull()
            else:
                self._show(block.get("messages", []))

    def _pull(self) -> None:
        self._show(self.client.ask(pull={"groupId": GROUP, "afterSeq": str(self.head)})["pulled"].get("messages", []))

    def _show(self, messages: list[Frame]) -> None:
        for one in messages:
            seq = int(one["seq"])
            if seq > self.head:
                assert seq == self.head + 1, f"{seq} after {self.head} (I5)"
                self.head = seq
                self.shown[seq] = one["text"]["text"]

    def unread(self) -> int:
        answer = self.client.ask(enter={"groupId": GROUP, "epoch": 1, "seq": str(self.head)})
        return int(answer["entered"].get("unread", {}).get("count", 0))

    def close(self) -> None:
        self.client.close()


def _answers(frame: Frame, msg_id: str) -> bool:
    return any(frame.get(kind, {}).get("clientMsgId") == msg_id for kind in ("ack", "reject"))


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def people(cluster: Cluster) -> Iterator[tuple[Person, Person]]:
    cluster.wait_ready()
    ann, bob = (Person(url, name) for url, name in zip(cluster.edge_urls(), ("Ann", "Bob"), strict=True))
    yield ann, bob
    ann.close()
    bob.close()


def chat_through(person: Person, cluster_event: Callable[[], None], count: int = 20) -> list[int]:
    """Sends messages one after the other while something happens after the fifth; returns their seqs."""
    seqs: list[int] = []
    for number in range(count):
        if number == 5:
            cluster_event()
        seqs.append(person.send(f"{person.user_id} {number}"))
    return seqs


def test_people_on_different_edges_chat_i3_i5(people: tuple[Person, Person]) -> None:
    ann, bob = people
    seqs = {ann.send("hello"), bob.send("hi"), ann.send("how are you")}
    assert len(seqs) == 3
    for person in people:
        person.sees(seqs)


def test_services_reach_servers_by_tls_and_with_no_more_rights_than_they_need(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = cluster.backends
    redis_at = backends.redis_url("group-1").rpartition(":")[2]
    assert backends.redis_url("group-1").startswith("rediss://")
    with redis.Redis(port=backends.redis.server.port) as plain:  # type: ignore[attr-defined]
        here = [one["laddr"].rpartition(":")[2] for one in plain.client_list()]
    assert here.count(redis_at) == len(here) - 1 > 0, "somebody but us came without TLS"
    monkeypatch.setattr("throng.adapters.kafka_options.BOOTSTRAP_SECONDS", 1.0)
    with pytest.raises(ThrongError) as refused:
        ensure_topics(KafkaAccess((backends.kafka_servers("edge-1"),)), TOPIC)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    password = backends.mysql_users.password_file().read_text().strip()
    port = backends.mariadb.server.port  # type: ignore[attr-defined,union-attr]
    login_as: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "throng", "password": password, "database": "throng"}
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(**login_as, ssl_disabled=True)
    with (
        pymysql.connect(**login_as, ssl_ca=str(cluster.folder / "tls" / "servers-ca.pem")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT COUNT(*) FROM message")
        for statement in ("DROP TABLE message", "CREATE TABLE mine (id INT)", "SELECT * FROM mysql.user"):
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(statement)
    assert password not in "".join(cluster.log_tail(name, 1_000_000) for name in cluster.processes)


def test_a_killed_group_service_loses_nothing_i2_i3_i10(cluster: Cluster, people: tuple[Person, Person]) -> None:
    ann, bob = people
    owner = owner_of_the_group(cluster, ann)
    seqs = chat_through(ann, owner.kill)
    bob.sees(set(seqs))
    assert seqs == sorted(set(seqs)), "I4: one after the other, each once"
    owner.start()
    owner.wait_ready(30)
    seqs = chat_through(bob, lambda: None, 5)
    ann.sees(set(seqs))


def owner_of_the_group(cluster: Cluster, person: Person) -> ServiceProcess:
    """The group service that stores the group's messages, once the partitions are shared out."""
    names = [one.name for one in cluster.of("group")]

    def shared_out() -> bool:
        counts = [cluster.metric("throng_group_kafka_consumer_partitions", name) for name in names]
        return min(counts) > 0 and sum(counts) == PARTITIONS

    wait_for(shared_out, "the partitions are not shared out")
    return next(cluster.processes[name] for name in names if handles(cluster, name, person))


def handles(cluster: Cluster, name: str, person: Person) -> bool:
    """This group service stores the group's messages."""
    before = cluster.metric("throng_group_submissions_total", name, outcome="stored")
    person.send("who stores this?")
    return cluster.metric("throng_group_submissions_total", name, outcome="stored") > before


def test_a_paused_owner_that_wakes_up_changes_nothing_i1_i2(cluster: Cluster, people: tuple[Person, Person]) -> None:
    ann, bob = people
    owner = owner_of_the_group(cluster, ann)
    seqs = chat_through(ann, owner.pause, 10)  # the other one takes over when the owner was silent for the session timeout
    (other,) = (one for one in cluster.of("group") if one is not owner)
    assert cluster.metric("throng_group_kafka_consumer_partitions", other.name) == PARTITIONS, "nothing had moved"
    owner.resume()
    seqs += chat_through(bob, lambda: None, 5) + chat_through(ann, lambda: None, 5)
    assert seqs == sorted(set(seqs))
    for person in people:
        person.sees(set(seqs))


def test_killed_routers_are_replaced_by_each_other_i6(cluster: Cluster, people: tuple[Person, Person]) -> None:
    ann, bob = people
    for router in cluster.of("router"):
        seqs = chat_through(ann, router.kill, 10)
        bob.sees(set(seqs))
        router.start()
        router.wait_ready(30)


def test_internal_callers_get_their_answer_from_either_group_service(cluster: Cluster) -> None:
    seqs: list[int] = []
    for group in cluster.of("group"):
        with channel(cluster, group.addresses.grpc) as opened:
            groups = group_pb2_grpc.GroupServiceStub(opened)
            bot = common.Member(user_id="bot")
            groups.AddMembers(group_pb2.AddMembersRequest(group_id=GROUP, members=[bot]), timeout=10)
            request = message_pb2.SendMessageRequest(
                group_id=GROUP, user_id="bot", client_msg_id=new_id(), body=pb.Message(text=pb.Text(text="beep")), unlimited=True
            )
            seqs.append(message_pb2_grpc.MessageServiceStub(opened).SendMessage(request, timeout=20).position.seq)
    assert seqs == [seqs[0], seqs[0] + 1]
    wait_for(lambda: forwarded(cluster) >= 1, "one of the two cannot have handled its caller's message itself")


def forwarded(cluster: Cluster) -> float:
    return sum(cluster.metric("throng_group_answers_forwarded_total", one.name, result="delivered") for one in cluster.of("group"))


def test_unread_counts_are_right_after_a_move_of_partitions_i7(cluster: Cluster, people: tuple[Person, Person]) -> None:
    ann, bob = people
    bob.client.request(reportRead={"groupId": GROUP, "readSeq": str(bob.send("I have read all"))})
    wait_for(lambda: bob.unread() == 0, "what was read is counted")
    cluster.processes["group-1"].stop()
    for number in range(7):
        ann.send(f"news {number}")
    wait_for(lambda: bob.unread() == 7, "unread messages are miscounted")
    cluster.processes["unread-1"].kill()
    wait_for(lambda: bob.unread() == 7, "the other unread service counts otherwise")
    for name in ("group-1", "unread-1"):
        cluster.processes[name].start()
    cluster.wait_ready()


def test_history_is_dense_and_each_message_is_there_once_i1_i2(cluster: Cluster, people: tuple[Person, Person]) -> None:
    head = people[0].send("the last one")
    people[1].sees({head})
    seqs: list[int] = []
    before = head + 1
    while before > 1:
        answer = people[1].client.ask(history={"groupId": GROUP, "beforeSeq": str(before), "limit": 200})["pulled"]
        page = [int(one["seq"]) for one in answer["messages"]]
        seqs = page + seqs
        before = page[0]
    assert seqs == list(range(1, head + 1))


def test_everything_is_kept_over_a_stop_of_the_whole(
    cluster: Cluster, people: tuple[Person, Person], tmp_path: pathlib.Path
) -> None:
    head = people[0].send("see you tomorrow")
    for person in people:
        person.close()
    cluster.stop()
    cluster.start()
    ann = Person(cluster.edge_urls()[0], "Ann")
    assert ann.head == head
    assert ann.send("good morning") == head + 1
    ann.close()
