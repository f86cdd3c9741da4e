"""Coming back with a resume token: no look-up while nothing has changed, and never against a removal (I9)."""

from __future__ import annotations

from typing import Any

import pytest
from session_stage import FakeConnection, FakeServices, SessionStage

from edge.core.departures import REFRESH_SWEEPS, SWEEP_SECONDS
from edge.core.resume_tokens import LIFE_SECONDS, Grant, ResumeTokens
from edge.ports import MemberEvent
from throng.domain.errors import ErrorCode
from throng.domain.group import Member, Role
from throng.domain.ids import GroupId, UserId
from throng.testing.fake_clock import FakeClock

KEY = b"k" * 32
GROUP, ALICE, BOB = GroupId("g"), UserId("alice"), UserId("bob")


def stage_with(*users: str, services: FakeServices | None = None, clock: FakeClock | None = None) -> SessionStage:
    stage = SessionStage(resume_key=KEY, services=services, clock=clock)
    if services is None:
        stage.services.add_group("g", *users, messages=3)
    return stage


def enter(stage: SessionStage, user: str, token: str = "", **more: Any) -> Any:
    """What an enter is answered with, on a new connection."""
    connection = stage.open(user)
    frame = stage.answer(connection, 1, enter={"group_id": "g", "resume_token": token} | more)
    return getattr(frame, frame.WhichOneof("event"))


def other_edge(stage: SessionStage) -> SessionStage:
    return stage_with(services=stage.services, clock=stage.clock)


def remove(stage: SessionStage, user: str) -> MemberEvent:
    del stage.services.members["g"][user]
    stage.services.versions["g"] = stage.services.versions.get("g", 0) + 1
    return MemberEvent(GROUP, UserId(user), Role.NONE, 0, stage.services.versions["g"])


def test_a_client_that_comes_back_costs_no_look_up_and_gets_all_the_same() -> None:
    stage = stage_with("alice", "bob")
    stage.services.members["g"]["alice"] = Member(ALICE, Role.ADMINISTRATOR, muted_until_ms=stage.clock.now_ms() + 9_000)
    token = enter(stage, "alice").resume_token
    other = other_edge(stage)
    enter(other, "bob")
    asked = stage.services.calls["enter"]
    entered = enter(other, "alice", token, epoch=1, seq=1)
    assert stage.services.calls["enter"] == asked
    assert other.counters.resumes == 1
    assert [message.seq for message in entered.messages] == [2, 3]
    assert (entered.role, entered.unread.count) == (int(Role.ADMINISTRATOR), 3)
    assert entered.resume_token
    (session,) = other.sessions._users.sessions(ALICE)
    assert session.parts[GROUP].muted_until_ms == stage.clock.now_ms() + 9_000


def test_at_an_edge_that_knows_nothing_of_the_group_one_is_looked_up_for_all() -> None:
    """All clients of a dead edge come to one that did not hold the group."""
    users = [f"user-{number}" for number in range(200)]
    stage = stage_with(*users)
    tokens = [enter(stage, user).resume_token for user in users]
    other = other_edge(stage)
    stage.services.calls.clear()
    connections = [other.open(user) for user in users]
    for connection, token in zip(connections, tokens, strict=True):
        other.ask(connection, 1, enter={"group_id": "g", "resume_token": token})
    other.services.run()
    assert all(connection.take()[-1].WhichOneof("event") == "entered" for connection in connections)
    assert (stage.services.calls["enter"], stage.services.calls["fetch_after"]) == (1, 1)


@pytest.mark.parametrize("told", [True, False])
def test_a_removed_member_does_not_come_back_by_a_token_i9(told: bool) -> None:
    """Whether the edge heard of the removal by a delivery or by the version that a look-up brought."""
    stage = stage_with("alice", "bob", "cid")
    token = enter(stage, "alice").resume_token
    other = other_edge(stage)
    enter(other, "bob")
    event = remove(stage, "alice")
    if told:
        other.tell(event)
    else:
        enter(other, "cid")
    assert enter(other, "alice", token).code == int(ErrorCode.NOT_A_MEMBER)
    assert other.counters.resumes == 0


def test_a_removal_that_was_lost_lets_a_token_in_no_longer_than_it_leaves_others_in_i9() -> None:
    stage = stage_with("alice", "bob")
    token = enter(stage, "alice").resume_token
    other = other_edge(stage)
    enter(other, "bob")
    remove(stage, "alice")  # no router tells it, no comparison was made yet
    alice = other.open("alice")
    other.answer(alice, 1, enter={"group_id": "g", "resume_token": token})
    assert GROUP in alice.session.parts
    other.pass_time(6.5)
    assert GROUP not in alice.session.parts
    assert alice.take()[-1].group_event.WhichOneof("event") == "removed"


def test_a_removal_during_a_resumed_enter_wins_i9() -> None:
    stage = stage_with("alice", "bob")
    token = enter(stage, "alice").resume_token
    other = other_edge(stage)
    enter(other, "bob")
    alice = other.open("alice")
    alice.take()
    other.ask(alice, 1, enter={"group_id": "g", "resume_token": token})
    other.tell(remove(stage, "alice"))
    other.services.run()
    (frame,) = alice.take()
    assert frame.failure.code == int(ErrorCode.NOT_A_MEMBER)


def test_a_group_of_another_epoch_and_versions_that_nobody_confirmed_lately_need_a_look_up() -> None:
    stage = stage_with("alice", "bob")
    token = enter(stage, "alice").resume_token
    other = other_edge(stage)
    bob = other.open("bob")
    other.answer(bob, 1, enter={"group_id": "g"})
    room = bob.session.parts[GROUP].room
    stage.services.away.add("fetch_heads")
    other.pass_time(20)
    enter(other, "alice", token)
    assert other.counters.resumes == 0
    stage.services.away.clear()
    other.pass_time(3)
    room.epoch = 2
    enter(other, "alice", token)
    assert other.counters.resumes == 0
    room.epoch = 1
    enter(other, "alice", token)
    assert other.counters.resumes == 1


def test_the_opener_that_fails_leaves_nobody_waiting() -> None:
    stage = stage_with("alice", "bob")
    tokens = {user: enter(stage, user).resume_token for user in ("alice", "bob")}
    other = other_edge(stage)
    connections = {user: other.open(user) for user in tokens}
    stage.services.away.add("enter")
    for user, connection in connections.items():
        connection.take()
        other.ask(connection, 1, enter={"group_id": "g", "resume_token": tokens[user]})
    other.services.run()
    for connection in connections.values():
        (frame,) = connection.take()
        assert frame.failure.code == int(ErrorCode.UNAVAILABLE)


def test_tokens_are_refreshed_before_they_end_and_not_while_a_change_is_missing() -> None:
    stage = stage_with("alice", "bob")
    alice: FakeConnection = stage.open("alice")
    first = stage.answer(alice, 1, enter={"group_id": "g"}).entered.resume_token
    stage.pass_time(LIFE_SECONDS)
    refreshed = [frame.resume for frame in alice.take() if frame.WhichOneof("event") == "resume"]
    assert [resume.group_id for resume in refreshed] == ["g"] * 3
    assert refreshed[-1].token != first
    assert REFRESH_SWEEPS * SWEEP_SECONDS * 3 == LIFE_SECONDS
    room = alice.session.parts[GROUP].room
    room.members_seen += 1
    assert enter(stage, "alice").resume_token == ""


def test_without_a_key_there_are_no_tokens() -> None:
    stage = SessionStage()
    stage.services.add_group("g", "alice")
    assert enter(stage, "alice", "1.1.0.3.0.x").resume_token == ""
    assert stage.services.calls["enter"] == 1


def test_a_token_is_good_for_its_user_and_group_unchanged_and_for_its_time() -> None:
    clock = FakeClock()
    tokens = ResumeTokens(KEY, clock)
    grant = Grant(2, 7, Role.MEMBER, 5_000)
    token = tokens.issue(ALICE, GROUP, grant)
    assert tokens.read(ALICE, GROUP, token) == grant
    assert len(token) < 80
    assert tokens.read(BOB, GROUP, token) is None
    assert tokens.read(ALICE, GroupId("h"), token) is None
    assert ResumeTokens(b"o" * 32, clock).read(ALICE, GROUP, token) is None
    for place in range(len(token)):
        assert tokens.read(ALICE, GROUP, token[:place] + "~" + token[place + 1 :]) is None
    for bad in ("", ".", "x" * 300, token * 5, "é" + token, token + "=", token.replace(".3.", ".1.")):
        assert tokens.read(ALICE, GROUP, bad) is None
    clock.advance(LIFE_SECONDS)
    assert tokens.read(ALICE, GROUP, token) is None
    assert tokens.issue(ALICE, GROUP, Grant(1, 1, Role.NONE, 0)) == ""
