"""A removal that no router delivered: seen by its version, closed by asking (I9)."""

from __future__ import annotations

from session_stage import SessionStage

from edge.ports import MemberEvent
from throng.domain.errors import ErrorCode
from throng.domain.group import Member, Role
from throng.domain.ids import GroupId, UserId

GROUP = GroupId("g")
ALICE = UserId("alice")


def _stage() -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", "alice", "bob")
    return stage


def _remove(stage: SessionStage, user_id: str) -> MemberEvent:
    del stage.services.members["g"][user_id]
    stage.services.versions["g"] = stage.services.versions.get("g", 0) + 1
    return MemberEvent(GROUP, UserId(user_id), Role.NONE, 0, stage.services.versions["g"])


def test_a_removal_that_was_lost_is_found_i9() -> None:
    stage = _stage()
    alice, bob = stage.entered("alice"), stage.entered("bob")
    _remove(stage, "alice")
    stage.pass_time(6.5)
    (told,) = alice.take()
    assert told.group_event.WhichOneof("event") == "removed"
    stage.tell(stage.services.write("g"))
    assert alice.take() == []
    assert [frame.WhichOneof("event") for frame in bob.take()] == ["block"]
    stage.pass_time(10)
    assert stage.services.calls["fetch_members"] == 1


def test_removals_that_were_delivered_cost_no_question() -> None:
    stage = _stage()
    stage.services.add_group("g", "alice", "bob", "cid")
    stage.entered("alice")
    for user_id in ("bob", "cid"):
        stage.tell(_remove(stage, user_id))
        stage.pass_time(5)
    assert stage.services.calls["fetch_members"] == 0


def test_a_removal_that_is_only_late_costs_no_question() -> None:
    stage = _stage()
    stage.entered("bob")
    event = _remove(stage, "alice")
    stage.pass_time(2.2)
    stage.tell(event)
    stage.pass_time(8)
    assert stage.services.calls["fetch_members"] == 0


def test_an_enter_that_saw_the_newer_version_does_not_hide_the_gap_i9() -> None:
    stage = _stage()
    alice = stage.entered("alice")
    _remove(stage, "alice")
    stage.entered("bob")
    stage.pass_time(6.5)
    assert "g" not in alice.session.parts


def test_a_question_that_fails_is_asked_again() -> None:
    stage = _stage()
    alice = stage.entered("alice")
    _remove(stage, "alice")
    stage.services.away.add("fetch_members")
    stage.pass_time(10)
    assert "g" in alice.session.parts
    stage.services.away.clear()
    stage.pass_time(2.5)
    assert "g" not in alice.session.parts


def test_a_mute_that_was_lost_is_found() -> None:
    stage = SessionStage(min_send_interval_ms=0)
    stage.services.add_group("g", "alice")
    alice = stage.entered("alice")
    stage.services.members["g"]["alice"] = Member(ALICE, muted_until_ms=stage.clock.now_ms() + 60_000)
    stage.services.versions["g"] = 1
    stage.pass_time(6.5)
    answer = stage.answer(
        alice, 3, send={"group_id": "g", "client_msg_id": "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f40", "text": {"text": "x"}}
    )
    assert answer.reject.code == ErrorCode.MUTED
