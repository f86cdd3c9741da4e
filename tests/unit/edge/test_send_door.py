"""The door for submissions: slow mode, this edge's share of the budget, lanes, policies, and when the refused shall come again."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest
from session_stage import FakeConnection, SessionStage

from edge.core.room import Room
from edge.core.send_door import LEAST_RETRY_MS, LONGEST_SPREAD_MS, share_per_second
from edge.ports import AnswerEvent, GroupEvent
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Member, OverBudget, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane

BUSY = error_pb2.ERROR_CODE_GROUP_BUSY
LIMITED = error_pb2.ERROR_CODE_RATE_LIMITED


def staged(*users: str, **settings: Any) -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", *(users or ("alice", "bob")), **settings)
    return stage


def say(stage: SessionStage, connection: FakeConnection, **more: Any) -> client_pb2.Reject | None:
    """Sends a new message; its refusal, or None when it went on to the uplink."""
    connection.take()
    send = {"group_id": "g", "client_msg_id": str(uuid.uuid4()), "text": {"text": "hi"}} | more
    stage.ask(connection, 1, send=send)
    stage.services.run()
    frames = connection.take()
    if frames:
        return frames[0].reject
    acknowledge(stage)
    return None


def acknowledge(stage: SessionStage) -> None:
    """The group service stores the newest submission; its ACK is taken from nobody's frames."""
    one = stage.services.submitted[-1]
    stage.tell(AnswerEvent(one.origin.conn_id, 0, one.group_id, one.client_msg_id, 1, 1, 1, None))


def storm(stage: SessionStage, connection: FakeConnection, count: int, **more: Any) -> list[client_pb2.Reject]:
    """The refusals among so many messages of one moment."""
    answers = [say(stage, connection, **more) for _ in range(count)]
    return [refusal for refusal in answers if refusal is not None]


def room_of(stage: SessionStage) -> Room:
    room = stage.sessions._rooms.get(GroupId("g"))
    assert room is not None
    return room


def test_over_the_budget_a_message_is_refused_before_the_uplink_with_a_sentence_and_a_time() -> None:
    stage = staged(budget_per_second=20)
    alice = stage.entered()
    refusals = storm(stage, alice, 50)
    assert (len(refusals), len(stage.services.submitted)) == (30, 20)
    assert {refusal.code for refusal in refusals} == {BUSY}
    assert all("try again" in refusal.text for refusal in refusals)
    assert all(refusal.retry_after_ms >= LEAST_RETRY_MS for refusal in refusals)
    assert stage.counters.door_refusals == {"interval": 0, "budget": 30, "high_budget": 0, "sample": 0}
    assert stage.counters.submissions["group_busy"] == 30
    stage.clock.advance(0.5)
    assert len(storm(stage, alice, 50)) == 40


def test_a_budget_of_nought_is_no_limit() -> None:
    stage = staged(budget_per_second=0)
    assert storm(stage, stage.entered(), 300) == []


def test_retry_times_spread_and_grow_with_the_overload() -> None:
    def times(per_second: int) -> list[int]:
        stage = staged(budget_per_second=10)
        alice = stage.entered()
        found: list[int] = []
        for _ in range(30):
            found = [refusal.retry_after_ms for refusal in storm(stage, alice, per_second // 10)] or found
            stage.clock.advance(0.1)
        for _ in range(3):
            found += [refusal.retry_after_ms for refusal in storm(stage, alice, per_second // 10)]
        return found

    calm, busy = times(30), times(500)
    assert max(calm) <= LEAST_RETRY_MS + 4_000
    assert max(busy) > 25_000
    assert len(set(busy)) > len(busy) * 0.9, "no two come back at the same time"
    assert max(busy) <= LEAST_RETRY_MS + LONGEST_SPREAD_MS


def use_up(stage: SessionStage) -> None:
    budget = room_of(stage).budget
    assert budget is not None
    while budget.take(3.0, stage.clock.monotonic()):
        pass


def test_a_refused_message_costs_its_sender_no_interval() -> None:
    stage = staged(budget_per_second=3, send_interval_ms=1_000)
    bob = stage.entered("bob")
    assert say(stage, bob) is None
    stage.clock.advance(1.0)
    use_up(stage)
    refusal = say(stage, bob)
    assert refusal is not None
    assert refusal.code == BUSY
    stage.clock.advance(0.34)
    assert say(stage, bob) is None


def test_a_repeat_of_what_was_let_in_and_got_no_answer_costs_no_budget() -> None:
    stage = staged(budget_per_second=3, send_interval_ms=1_000)
    alice = stage.entered()
    send = {"group_id": "g", "client_msg_id": str(uuid.uuid4()), "text": {"text": "hi"}}
    stage.ask(alice, 1, send=send)
    stage.pass_time(15.1)
    (frame,) = alice.take()
    assert frame.reject.code == error_pb2.ERROR_CODE_DEADLINE_EXCEEDED
    use_up(stage)
    assert say(stage, alice, client_msg_id=send["client_msg_id"]) is None
    assert len(stage.services.submitted) == 2


def test_sample_lets_a_random_share_in_and_says_so() -> None:
    stage = staged(budget_per_second=20, over_budget=OverBudget.SAMPLE)
    alice = stage.entered()
    refusals: list[client_pb2.Reject] = []
    for _ in range(100):
        refusals += storm(stage, alice, 20)
        stage.clock.advance(0.1)
    assert len(stage.services.submitted) == pytest.approx(200, rel=0.15)
    assert {refusal.code for refusal in refusals} == {BUSY}
    assert all("only some" in refusal.text for refusal in refusals)
    assert stage.counters.door_refusals["sample"] == len(refusals)


def test_high_has_its_reserve_is_never_sampled_and_moderators_are_free() -> None:
    stage = staged("alice", "bob", "owen", budget_per_second=40, over_budget=OverBudget.SAMPLE)
    stage.services.members["g"]["owen"] = Member(UserId("owen"), Role.OWNER)
    alice, owen = stage.entered(), stage.entered("owen")
    for _ in range(20):
        storm(stage, alice, 200)
        stage.clock.advance(0.1)
    storm(stage, alice, 400)
    before = len(stage.services.submitted)
    refused = storm(stage, alice, 30, mentions=["bob"])
    let_in = stage.services.submitted[before:]
    assert len(let_in) >= 10, "the reserve, whatever is left of the rest"
    assert {submission.lane for submission in let_in} == {Lane.HIGH}
    assert len(refused) + len(let_in) == 30
    assert {refusal.code for refusal in refused} == {BUSY}
    assert stage.counters.door_refusals["high_budget"] == len(refused)
    assert storm(stage, owen, 300) == []


def test_the_share_follows_the_part_of_the_connections_that_are_here() -> None:
    stage = staged(budget_per_second=40)
    alice = stage.entered()
    stage.entered("bob")
    room = room_of(stage)
    stage.pass_time(1.1)
    assert (room.holds, room.reported) == (2, 2)
    assert share_per_second(room) == 40, "no other edges are known"
    room.online = 8
    assert share_per_second(room) == 10
    assert len(storm(stage, alice, 100)) == 90
    room.online = 4
    stage.clock.advance(1.0)
    assert len(storm(stage, alice, 100)) == 80
    stage.entered("bob")
    assert share_per_second(room) == pytest.approx(40 * 3 / 5), "those of others as told, those here as they are"
    room.online = 1
    assert share_per_second(room) == 40, "a count that lags behind never gives more than the budget"


def test_slow_mode_is_kept_at_the_door_and_a_change_counts_at_once() -> None:
    stage = staged("alice", "bob", "owen", send_interval_ms=1_000, budget_per_second=0)
    stage.services.members["g"]["owen"] = Member(UserId("owen"), Role.OWNER)
    alice, owen = stage.entered(), stage.entered("owen")
    assert say(stage, alice) is None
    group = stage.services.group("g")
    settings = dataclasses.replace(group.settings, send_interval_ms=30_000)
    stage.tell(GroupEvent(dataclasses.replace(group, settings=settings)))
    (frame,) = [frame for frame in alice.take() if frame.HasField("group_event")]
    assert frame.group_event.changed.group.settings.send_interval_ms == 30_000
    stage.clock.advance(12.0)
    refusal = say(stage, alice)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_ms) == (LIMITED, 18_000)
    assert refusal.text == "this group is in slow mode: one message every 30 s"
    assert say(stage, owen) is None
    stage.clock.advance(1.0)
    assert say(stage, owen) is None, "slow mode does not slow those who moderate"
    stage.tell(GroupEvent(dataclasses.replace(group, settings=dataclasses.replace(settings, send_interval_ms=0))))
    assert say(stage, alice) is None
    assert stage.counters.door_refusals["interval"] == 1


def test_a_change_of_budget_and_policy_counts_at_once() -> None:
    stage = staged(budget_per_second=5)
    alice = stage.entered()
    assert len(storm(stage, alice, 20)) == 15
    group = stage.services.group("g")
    stage.tell(GroupEvent(dataclasses.replace(group, settings=dataclasses.replace(group.settings, budget_per_second=0))))
    assert storm(stage, alice, 20) == []


def test_what_the_group_service_refuses_as_busy_is_spread_too() -> None:
    stage = staged(budget_per_second=10)
    alice = stage.entered()
    times = set()
    for _ in range(10):
        stage.ask(alice, 1, send={"group_id": "g", "client_msg_id": str(uuid.uuid4()), "text": {"text": "hi"}})
        one = stage.services.submitted[-1]
        busy = ThrongError(ErrorCode.GROUP_BUSY, "busy", retry_after_ms=5)
        stage.tell(AnswerEvent(one.origin.conn_id, 1, one.group_id, one.client_msg_id, 0, 0, 0, busy))
        (frame,) = alice.take()
        times.add(frame.reject.retry_after_ms)
    assert len(times) > 5
    assert min(times) >= LEAST_RETRY_MS


def test_what_is_kept_of_a_group_goes_with_its_room_i8() -> None:
    stage = staged(budget_per_second=5)
    alice = stage.entered()
    storm(stage, alice, 20)
    assert room_of(stage).budget is not None
    stage.ask(alice, 2, leave={"group_id": "g"})
    stage.services.run()
    assert stage.sessions._rooms.get(GroupId("g")) is None
