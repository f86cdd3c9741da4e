"""What groups cost an edge in which nobody says anything: one comparison of heads for all of them, and nothing else (hops 6 to 8)."""

from __future__ import annotations

import collections

from session_stage import FakeConnection, SessionStage

from throng.domain.ids import GroupId

MINUTE = 60.0


def stage_with(groups: int, *, messages: int = 0) -> tuple[SessionStage, list[FakeConnection]]:
    """An edge that holds so many groups, each for one client."""
    stage = SessionStage(heartbeat_interval_ms=3_600_000)
    clients = []
    for number in range(groups):
        stage.services.add_group(f"g{number}", f"u{number}", messages=messages)
        clients.append(stage.entered(f"u{number}", f"g{number}"))
    stage.pass_time(3.0)
    stage.services.calls.clear()
    stage.services.routes.clear()
    for client in clients:
        client.take()
    return stage, clients


def calls_in_a_minute(stage: SessionStage) -> collections.Counter[str]:
    stage.services.calls.clear()
    stage.pass_time(MINUTE)
    return collections.Counter(stage.services.calls)


def test_silent_groups_cost_one_comparison_of_heads_for_all_of_them_and_no_report() -> None:
    few, _ = stage_with(3)
    many, clients = stage_with(300)
    calls = calls_in_a_minute(many)
    assert set(calls) == {"fetch_heads"}, "no cache is refreshed, no membership, no cursor, no unread count"
    assert calls == calls_in_a_minute(few), "it does not grow with the number of groups"
    assert calls["fetch_heads"] <= MINUTE / 2
    assert many.services.routes == []
    assert all(client.take() == [] for client in clients)


def test_a_silent_group_holds_no_message_and_no_buckets() -> None:
    stage, _ = stage_with(20)
    for number in range(20):
        room = stage.sessions._rooms.get(GroupId(f"g{number}"))
        assert room is not None
        assert room.cache.used_bytes == 0
        assert room.budget is None
        assert not room.parked
        assert not room.answers


def test_a_group_that_everybody_left_costs_nothing() -> None:
    stage, clients = stage_with(20, messages=5)
    for client in clients:
        stage.sessions.on_closed(client, 1000)
    assert sorted(stage.services.routes) == sorted((f"g{number}", 0) for number in range(20)), "each route is taken back once"
    stage.services.routes.clear()
    stage.pass_time(3.0)
    assert calls_in_a_minute(stage) == collections.Counter()
    assert stage.services.routes == []
    assert all(stage.sessions._rooms.get(GroupId(f"g{number}")) is None for number in range(20))


def test_a_cold_group_warms_up_in_one_pull_however_many_come() -> None:
    stage = SessionStage()
    users = [f"u{number}" for number in range(50)]
    stage.services.add_group("g", *users, messages=100)
    clients = [stage.open(user) for user in users]
    for client in clients:
        client.take()
        stage.ask(client, 1, enter={"group_id": "g"})
    stage.services.run()
    frames = [client.take() for client in clients]
    assert all([message.seq for message in frame.entered.messages] == list(range(51, 101)) for (frame,) in frames)
    assert stage.services.calls["fetch_after"] == 1
    stage.services.calls.clear()
    for client in clients:
        assert len(stage.answer(client, 2, pull={"group_id": "g", "after_seq": 60}).pulled.messages) == 40
    assert stage.services.calls == {}, "what is warm is answered here"
