"""Random schedules of blocks lost, repeated and reordered, services slow and away, clients coming and going: I5, I6, I9."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_client import ModelClient
from session_stage import SessionStage

from edge.ports import BlockEvent, HeadEvent, MemberEvent
from throng.domain.group import Member, Role
from throng.domain.ids import GroupId, UserId

GROUP = GroupId("g")


WRITES = ["write", "write", "write", "lose", "repeat", "old", "head", "recall", "burst"]
PACES = ["answer", "answer", "all", "read", "read", "pump", "pause", "away", "back", "leave", "come", "hide", "routes"]
OPERATIONS = st.tuples(st.sampled_from([*WRITES, *PACES]), st.integers(0, 60))


class Schedule:
    """Applies operations to one group with three kinds of clients."""

    def __init__(self, existing: int) -> None:
        self.stage = SessionStage(
            lazy_hub=True, cache_messages=40, head_interval_ms=2_000, min_send_interval_ms=0, max_connections_per_user=0
        )
        self.stage.services.add_group(GROUP, "u0", "u1", "u2", messages=existing)
        self.clients = [
            ModelClient(self.stage, "u0", binary=True, delivery="DELIVERY_INLINE"),
            ModelClient(self.stage, "u1", binary=True, delivery="DELIVERY_NOTIFY"),
            ModelClient(self.stage, "u2", binary=False, delivery="DELIVERY_INLINE"),
        ]
        self.held_back: list[BlockEvent] = []

    def apply(self, operation: str, number: int) -> None:
        services, sessions = self.stage.services, self.stage.sessions
        client = self.clients[number % len(self.clients)]
        if operation == "write":
            self.stage.tell(services.write(GROUP, 1 + number % 3))
        elif operation == "burst":
            services.write(GROUP, 250)
        elif operation == "lose":
            self.held_back.append(services.write(GROUP, 1 + number % 5))
        elif operation == "repeat" and self.held_back:
            self.stage.tell(self.held_back[number % len(self.held_back)])
        elif operation == "old":
            head = len(services.messages[GROUP])
            first = max(0, head - number)
            if first < head:
                self.stage.tell(services.block(GROUP, first, head))
        elif operation == "head":
            self.stage.tell(HeadEvent(GROUP, services.groups[GROUP].epoch, len(services.messages[GROUP])))
        elif operation == "recall":
            self.recall(number)
        elif operation == "answer" and services.pending:
            services.run(number)
        elif operation == "all":
            services.run()
        elif operation == "read":
            client.read()
        elif operation == "pump":
            self.stage.hub.pump()
        elif operation == "pause":
            self.stage.clock.advance(0.1 + number / 60)
            sessions.tick()
        elif operation == "away":
            services.away |= {"fetch_after", "fetch_heads", "enter", "fetch_deleted"}
        elif operation == "back":
            services.away.clear()
        elif operation == "leave":
            client.disconnect()
        elif operation == "come":
            client.connect()
        elif operation == "hide" and client.connection is not None:
            client.ask(set_visibility={"hidden": bool(number % 2)})
        elif operation == "routes":
            sessions.on_routes_applied([GROUP] if number % 2 else None)

    def recall(self, number: int) -> None:
        messages = self.stage.services.messages[GROUP]
        candidates = [message.seq for message in messages[-60:] if message.HasField("text")]
        if candidates:
            self.stage.tell(self.stage.services.write(GROUP, recall=candidates[number % len(candidates)]))

    def settle(self, seconds: float) -> None:
        """Everything works again; clients read every 100 ms."""
        self.stage.services.away.clear()
        self.stage.services.run()
        for _ in range(round(seconds / 0.1)):
            for client in self.clients:
                client.connect()
                client.read()
            self.stage.pass_time(0.1)
        for client in self.clients:
            client.read()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(existing=st.sampled_from([0, 1, 7, 90, 300]), operations=st.lists(OPERATIONS, max_size=60))
def test_every_client_shows_each_message_once_in_order_and_reaches_the_head(
    existing: int, operations: list[tuple[str, int]]
) -> None:
    """I5, I6."""
    schedule = Schedule(existing)
    for client in schedule.clients:
        client.connect()
    for operation, number in operations:
        schedule.apply(operation, number)
    schedule.settle(5.0)
    stored = schedule.stage.services.messages[GROUP]
    assert schedule.stage.counters.events_failed == 0
    for client in schedule.clients:
        assert client.held == len(stored)
        assert client.shown == list(range(client.held - len(client.shown) + 1, client.held + 1))
        for seq in client.shown:
            assert client.content[seq].WhichOneof("content") == stored[seq - 1].WhichOneof("content"), seq
        assert client.connection is not None
        assert client.connection.session.requests == 0
    for client in schedule.clients:
        client.disconnect()
    assert (schedule.stage.counters.rooms, schedule.stage.counters.sessions) == (0, 0)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(OPERATIONS, max_size=40), after=st.lists(OPERATIONS, max_size=40))
def test_after_a_removal_nothing_of_the_group_is_sent(operations: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    """I9: whatever was under way when the removal came."""
    schedule = Schedule(90)
    removed = schedule.clients[0]
    for client in schedule.clients:
        client.connect()
    for operation, number in operations:
        schedule.apply(operation, number)
    removed.connect()
    connection = removed.connection
    assert connection is not None
    del schedule.stage.services.members[GROUP]["u0"]
    connection.take()
    schedule.stage.tell(MemberEvent(GROUP, UserId("u0"), Role.NONE, 0))
    for operation, number in after:
        if operation not in ("leave", "come", "read"):
            schedule.apply(operation, number)
    schedule.stage.services.run()
    schedule.stage.hub.pump()
    for frame in connection.take():
        assert frame.WhichOneof("event") in ("failure", "group_event"), frame
    assert GROUP not in connection.session.parts


def test_another_epoch_is_followed_by_every_client() -> None:
    schedule = Schedule(30)
    for client in schedule.clients:
        client.connect()
    schedule.settle(1.0)
    services = schedule.stage.services
    services.groups[GROUP] = dataclasses.replace(services.groups[GROUP], epoch=2)
    services.messages[GROUP] = services.messages[GROUP][:12]
    services.members[GROUP]["u9"] = Member(UserId("u9"))
    schedule.stage.tell(services.write(GROUP))
    schedule.settle(5.0)
    for client in schedule.clients:
        assert (client.epoch, client.held) == (2, 13)
        assert client.shown == list(range(1, 14))
