"""The storm of pulling (design 9): thousands ask for the same at once, and the services behind the edge hear of it once."""

from __future__ import annotations

import collections
import itertools

from session_stage import FakeConnection, SessionStage

from edge.core.in_turns import WAITERS_PER_TURN
from edge.core.reading import Reading
from throng.domain.errors import ErrorCode
from throng.domain.ids import GroupId

CLIENTS = 300
GROUP = GroupId("g")


def crowd(stage: SessionStage, *, binary: bool = True) -> list[FakeConnection]:
    users = [f"user-{number}" for number in range(CLIENTS)]
    stage.services.add_group("g", *users, messages=120)
    connections = [stage.open(user, binary=binary) for user in users]
    for connection in connections:
        stage.ask(connection, 1, enter={"group_id": "g", "delivery": "DELIVERY_NOTIFY"})
    stage.services.run()
    for connection in connections:
        connection.take()
    stage.services.calls.clear()
    return connections


def lose_cache(connections: list[FakeConnection]) -> None:
    room = connections[0].session.parts[GROUP].room
    room.cache.reset(room.head)
    room.answers.clear()


def pull_all(stage: SessionStage, connections: list[FakeConnection], after_seq: int) -> None:
    for connection in connections:
        stage.ask(connection, 2, pull={"group_id": "g", "after_seq": after_seq})


def test_a_block_for_notified_clients_is_pulled_without_any_call_and_put_into_words_once(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    stage = SessionStage()
    connections = crowd(stage)
    prepared: list[int] = []
    real = Reading._prepared
    monkeypatch.setattr(Reading, "_prepared", lambda self, *rest: (prepared.append(1), real(self, *rest))[1])
    stage.tell(stage.services.write("g", 10))
    assert {frame.WhichOneof("event") for connection in connections for frame in connection.take()} == {"notice"}
    pull_all(stage, connections, 120)
    for connection in connections:
        (frame,) = connection.take()
        assert [message.seq for message in frame.pulled.messages] == list(range(121, 131))
    assert stage.services.calls.total() == 0
    assert len(prepared) == 1


def test_after_a_cache_loss_one_call_serves_everybody(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    stage = SessionStage()
    connections = crowd(stage)
    lose_cache(connections)
    waits = stage.counters.single_flight_waits
    prepared: list[int] = []
    real = Reading._prepared
    monkeypatch.setattr(Reading, "_prepared", lambda self, *rest: (prepared.append(1), real(self, *rest))[1])
    pull_all(stage, connections, 100)
    stage.services.run()
    for connection in connections:
        (frame,) = connection.take()
        assert [message.seq for message in frame.pulled.messages] == list(range(101, 121))
    assert stage.services.calls == {"fetch_after": 1}
    assert stage.counters.single_flight_waits - waits == CLIENTS - 1
    assert len(prepared) == 1
    pull_all(stage, connections, 100)
    assert stage.services.calls == {"fetch_after": 1}  # what came is kept


def test_clients_that_stand_at_different_places_share_calls_by_ranges() -> None:
    """300 positions over 100 messages: two aligned ranges."""
    stage = SessionStage()
    connections = crowd(stage)
    lose_cache(connections)
    for number, connection in enumerate(connections):
        stage.ask(connection, 2, pull={"group_id": "g", "after_seq": 10 + number % 100})
    stage.services.run()
    for number, connection in enumerate(connections):
        (frame,) = connection.take()
        assert [message.seq for message in frame.pulled.messages] == list(range(11 + number % 100, 121))
    assert stage.services.calls["fetch_after"] <= 3
    assert stage.services.calls.total() == stage.services.calls["fetch_after"]


def test_a_failed_call_fails_all_that_wait_spreads_their_retries_and_is_not_repeated_at_once() -> None:
    stage = SessionStage()
    connections = crowd(stage)
    lose_cache(connections)
    stage.services.away.add("fetch_after")
    pull_all(stage, connections, 100)
    stage.services.run()
    retries = []
    for connection in connections:
        (frame,) = connection.take()
        assert frame.failure.code == int(ErrorCode.UNAVAILABLE)
        retries.append(frame.failure.retry_after_ms)
    assert max(retries) - min(retries) > CLIENTS  # about 2 ms for each
    assert collections.Counter(retries).most_common(1)[0][1] < CLIENTS / 10
    assert stage.services.calls == {"fetch_after": 1}
    pull_all(stage, connections, 100)  # at once again: the failure is remembered
    assert stage.services.calls == {"fetch_after": 1}
    for connection in connections:
        assert connection.take()[0].failure.code == int(ErrorCode.UNAVAILABLE)
    stage.services.away.clear()
    stage.clock.advance(0.4)
    pull_all(stage, connections, 100)
    stage.services.run()
    assert stage.services.calls == {"fetch_after": 2}
    assert all(connection.take()[0].WhichOneof("event") == "pulled" for connection in connections)


def test_a_fresh_room_asks_for_its_page_once_for_all_that_enter() -> None:
    """The edge has just started: no cache, no room, everybody comes at once."""
    stage = SessionStage()
    users = [f"user-{number}" for number in range(CLIENTS)]
    stage.services.add_group("g", *users, messages=120)
    connections = [stage.open(user) for user in users]
    for connection in connections:
        stage.ask(connection, 1, enter={"group_id": "g"})
    stage.services.run()
    for connection in connections:
        assert [message.seq for message in connection.take()[-1].entered.messages] == list(range(71, 121))
    assert stage.services.calls["fetch_after"] == 1


def crowd_that_waited(stage: SessionStage) -> list[FakeConnection]:
    """All have pulled what is in no cache, and the answer is there; turns of the hub's loop are taken by hand."""
    connections = crowd(stage)
    stage.hub.lazy = True
    lose_cache(connections)
    pull_all(stage, connections, 100)
    stage.services.run()
    return connections


def test_those_who_waited_for_one_call_are_told_in_several_turns() -> None:
    stage = SessionStage()
    connections = crowd_that_waited(stage)
    told = []
    while True:
        told.append(sum(len(connection.raw) > 0 for connection in connections))
        if not stage.hub.passes:
            break
        stage.hub.passes.popleft()()
    assert told[-1] == CLIENTS
    assert max(after - before for before, after in itertools.pairwise([0, *told])) <= WAITERS_PER_TURN


def test_what_is_recalled_before_the_last_of_them_is_told_is_blanked() -> None:
    stage = SessionStage()
    connections = crowd_that_waited(stage)
    stage.tell(stage.services.write("g", recall=110))
    stage.hub.pump()
    pages = [frame.pulled for connection in connections for frame in connection.take() if frame.WhichOneof("event") == "pulled"]
    assert len(pages) == CLIENTS
    told = ["text" if page.messages[9].HasField("text") else page.messages[9].recalled_by_seq for page in pages]
    assert told == ["text"] * WAITERS_PER_TURN + [121] * (CLIENTS - WAITERS_PER_TURN)


def far_from_the_cache(stage: SessionStage, clients: int) -> list[FakeConnection]:
    """Clients of a group with a long history, of which the edge holds nothing."""
    users = [f"user-{number}" for number in range(clients)]
    stage.services.add_group("g", *users, messages=1_030)
    connections = [stage.open(user) for user in users]
    for connection in connections:
        stage.ask(connection, 1, enter={"group_id": "g", "delivery": "DELIVERY_NOTIFY"})
    stage.services.run()
    for connection in connections:
        connection.take()
    lose_cache(connections)
    stage.services.calls.clear()
    return connections


def test_a_long_page_of_the_history_is_one_call() -> None:
    stage = SessionStage()
    (reader,) = far_from_the_cache(stage, 1)
    stage.ask(reader, 2, history={"group_id": "g", "before_seq": 634, "limit": 200})
    stage.services.run()
    (frame,) = reader.take()
    assert [message.seq for message in frame.pulled.messages] == list(range(434, 634))
    assert stage.services.calls["fetch_after"] == 1


def test_long_pages_that_end_at_the_head_share_their_calls() -> None:
    stage = SessionStage()
    readers = far_from_the_cache(stage, 19)
    for number, reader in enumerate(readers):
        stage.ask(reader, 2, pull={"group_id": "g", "after_seq": 831 + number})
    stage.services.run()
    for number, reader in enumerate(readers):
        (frame,) = reader.take()
        assert [message.seq for message in frame.pulled.messages] == list(range(832 + number, 1_031))
    assert stage.services.calls["fetch_after"] == 2
