"""Slow and vanished clients over TCP, below real sessions: what waits is bounded, a notice stands for the rest, and both end (I6, I8)."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hub_stage import Client, ManualLoop, client_frame
from session_stage import FakeServices

from edge.adapters.client_codec import make_codecs
from edge.core import presence
from edge.core.connection import Connection
from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity, SessionSettings
from edge.core.sessions import EdgeSessions
from edge.ports import OnlineEvent
from throng.api.client.v1 import client_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.ids import EdgeId, GroupId, UserId
from throng.testing.fake_clock import FakeClock

BINARY, PONG = 2, 10
SETTINGS = HubSettings(rest_seconds=0.0)


class Handler:
    """Passes on to the sessions, which need the hub first."""

    sessions: EdgeSessions

    def on_message(self, connection: Connection, payload: bytes) -> None:
        self.sessions.on_message(connection, payload)

    def on_closed(self, connection: Connection, code: int) -> None:
        self.sessions.on_closed(connection, code)


class Stage:
    """Hub and sessions over loopback TCP; the clock is set by the test."""

    def __init__(self) -> None:
        self.loop, self.clock, self.counters, self.services = ManualLoop(), FakeClock(), HubCounters(), FakeServices()
        handler = Handler()
        self.hub = Hub(handler=handler, settings=SETTINGS, clock=self.clock, counters=self.counters)
        self.hub.attach(self.loop)
        identity = EdgeIdentity(EdgeId("edge-1"), 7)
        sessions = EdgeSessions(
            self.hub, self.services, make_codecs(), self.clock, SessionSettings(), SessionCounters(), identity, random.Random(1)
        )
        self.sessions = handler.sessions = sessions
        self.services.add_group("g", "alice", "bob", messages=1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.clients: list[Client] = []

    def enter(self, user_id: str, *, receive_buffer: int = 0) -> tuple[Connection, Client]:
        """A client that has entered the group; `receive_buffer`: so small that it soon stalls."""
        far = socket.socket()
        if receive_buffer:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        far.connect(self._listener.getsockname())
        near, _ = self._listener.accept()
        connection = self.hub.adopt(near, binary=True)
        client = Client(far)
        self.clients.append(client)
        self.sessions.open(connection, user_id=UserId(user_id), display_name=user_id, expires_at_ms=0, groups=["g"])
        self.services.run()
        self.settle()
        assert names(client) == ["welcome", "entered"]
        return connection, client

    def settle(self) -> None:
        for _ in range(5):
            self.loop.turn()
            self.services.run()

    def publish(self, *readers: Client, blocks: int = 1) -> None:
        """One block after the other; `readers` read at once."""
        for _ in range(blocks):
            self.sessions.on_events([self.services.write("g")])
            self.settle()
            for reader in readers:
                reader.take()

    def pass_time(self, seconds: float, *alive: Client) -> None:
        """`alive` answer pings."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            self.hub.run_due()
            self.sessions.tick()
            self.settle()
            for client in alive:
                if client.take():
                    client.send(client_frame(PONG))

    def close(self) -> None:
        self.hub.stop()
        self._listener.close()
        for client in self.clients:
            client.sock.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def frames(client: Client) -> list[client_pb2.ServerFrame]:
    return [client_pb2.ServerFrame.FromString(payload) for payload in client.payloads()]


def names(client: Client) -> list[str | None]:
    return [frame.WhichOneof("event") for frame in frames(client)]


def seqs(client: Client) -> list[int]:
    return [message.seq for frame in frames(client) for message in (*frame.block.messages, *frame.pulled.messages)]


def ask(client: Client, **request: Any) -> None:
    client.send(client_frame(BINARY, client_pb2.ClientFrame(request_id=5, **request).SerializeToString()))


def stall(stage: Stage, connection: Connection, *readers: Client) -> None:
    """Publishes until the kernel takes no more for the connection, and more than may wait here; the kernel is not to take megabytes."""
    for _ in range(400):
        stage.publish(*readers, blocks=20)
        if stage.counters.outbox_overflows:
            break
    assert connection.outbox is not None
    assert stage.counters.sent_bytes < 4 * SETTINGS.unsent_bytes


def test_what_waits_for_a_stalled_client_is_bounded_and_one_notice_stands_for_the_rest(stage: Stage) -> None:
    slow, client = stage.enter("alice", receive_buffer=2_048)
    _, reader = stage.enter("bob")
    stall(stage, slow, reader)
    most = 0
    for _ in range(200):
        stage.publish(reader)
        most = max(most, stage.counters.outbox_bytes)
        assert slow.outbox is not None
        assert len(slow.outbox) <= SETTINGS.outbox_shared_frames + 2
    assert most <= SETTINGS.outbox_shared_bytes + SETTINGS.join_bytes
    head = len(stage.services.messages["g"])
    assert seqs(reader) == list(range(2, head + 1)), "the other one has everything, in order"

    for _ in range(200):
        if not client.take() and slow.outbox is None:
            break
        stage.settle()
    last = frames(client)[-1]
    held = seqs(client)
    assert held == list(range(2, len(held) + 2))
    assert (last.WhichOneof("event"), last.notice.head_seq) == ("notice", head)
    while held[-1] < head:
        ask(client, pull={"group_id": "g", "after_seq": held[-1], "up_to_seq": head})
        stage.settle()
        held = seqs(client)
    stage.publish()
    assert seqs(client) == list(range(2, head + 2)), "and goes on with blocks"
    assert (stage.counters.blocked_connections, stage.counters.outbox_bytes) == (0, 0)


def test_a_client_that_takes_nothing_for_twenty_seconds_is_told_4008_and_counts_no_more(stage: Stage) -> None:
    slow, client = stage.enter("alice", receive_buffer=2_048)
    _, reader = stage.enter("bob")
    stall(stage, slow, reader)
    stage.pass_time(19.0, reader)
    assert slow.open
    stage.pass_time(2.25, reader)
    assert not slow.open
    for _ in range(50):
        client.take()
        stage.settle()
    assert client.close_code() == CloseCode.TOO_SLOW
    stage.pass_time(6.0, reader)
    assert stage.counters.closed == {CloseCode.TOO_SLOW: 1}
    assert (stage.counters.connections, stage.counters.blocked_connections, stage.counters.outbox_bytes) == (1, 0, 0)
    assert stage.services.routes[-1] == ("g", 1), "the registry is told"


def test_a_client_that_vanished_while_it_owed_nothing_is_gone_within_two_heartbeats(stage: Stage) -> None:
    _, vanished = stage.enter("alice")
    _, reader = stage.enter("bob")
    stage.pass_time(45.0, reader, vanished)
    stage.pass_time(2 * SETTINGS.heartbeat_interval_seconds, reader)
    assert stage.counters.closed == {CloseCode.HEARTBEAT_TIMEOUT: 1}
    stage.pass_time(1.25, reader)
    assert stage.services.routes[-1] == ("g", 1)
    stage.pass_time(200.0, reader)
    assert stage.counters.connections == 1


def test_an_online_count_that_goes_with_a_block_costs_no_send_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SMALL", 0)
    _, reader = stage.enter("alice")
    stage.sessions.on_events([OnlineEvent([(GroupId("g"), 1_000_000)])])
    stage.pass_time(0.5, reader)
    sends = stage.counters.sends
    stage.publish(reader)
    assert names(reader)[2:] == ["block", "online"]
    assert stage.counters.sends - sends == 1
