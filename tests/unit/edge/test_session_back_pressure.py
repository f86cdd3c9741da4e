"""While no answers come, new submissions are refused at the door, and accepted again as soon as answers come (I8)."""

from __future__ import annotations

import uuid

import pytest
from session_stage import FakeConnection, SessionStage

from edge.ports import AnswerEvent
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2
from throng.domain.message import Submission


def submit(stage: SessionStage, connection: FakeConnection) -> list[client_pb2.ServerFrame]:
    connection.take()
    stage.ask(connection, 1, send={"group_id": "g", "client_msg_id": str(uuid.uuid4()), "text": {"text": "hello"}})
    stage.services.run()
    return connection.take()


def acked(submission: Submission, seq: int) -> AnswerEvent:
    origin = submission.origin
    return AnswerEvent(origin.conn_id, origin.request_id, submission.group_id, submission.client_msg_id, 1, seq, 1_000, None)


def code_of(frame: client_pb2.ServerFrame) -> str:
    return error_pb2.ErrorCode.Name(frame.reject.code).removeprefix("ERROR_CODE_")


@pytest.fixture
def stage() -> SessionStage:
    stage = SessionStage(max_in_flight_total=3, answer_stall_ms=5_000)
    stage.services.add_group("g", "alice", "bob")
    return stage


def test_beyond_the_bound_submissions_are_refused_with_a_retry_time(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob")
    assert [submit(stage, each) for each in (alice, alice, bob)] == [[], [], []]
    (frame,) = submit(stage, bob)
    assert (code_of(frame), frame.reject.retry_after_ms) == ("UNAVAILABLE", 2_000)
    assert len(stage.services.submitted) == 3
    stage.tell(acked(stage.services.submitted[0], 1))
    assert submit(stage, bob) == []
    assert len(stage.services.submitted) == 4


def test_without_answers_for_seconds_only_probes_go_on_until_an_answer_comes() -> None:
    stage = SessionStage(answer_stall_ms=5_000)
    stage.services.add_group("g", "alice", "bob")
    alice, bob = stage.entered(), stage.entered("bob")
    submit(stage, alice)
    stage.pass_time(5.1)
    assert submit(stage, bob) == []  # the probe
    assert [code_of(frame) for frame in submit(stage, bob) + submit(stage, alice)] == ["UNAVAILABLE"] * 2
    stage.pass_time(1.0)
    assert submit(stage, alice) == []  # the next second's
    assert [code_of(frame) for frame in submit(stage, alice)] == ["UNAVAILABLE"]
    assert len(stage.services.submitted) == 3
    stage.tell(acked(stage.services.submitted[0], 1))
    assert submit(stage, bob) == []
    assert submit(stage, alice) == []


def test_an_answer_that_was_lost_holds_up_nobody(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob")
    submit(stage, alice)
    stage.pass_time(8.0)
    assert submit(stage, bob) == []
    stage.tell(acked(stage.services.submitted[1], 1))
    assert submit(stage, bob) == []


def test_when_everything_that_waited_has_reached_its_deadline_submissions_try_again(stage: SessionStage) -> None:
    alice = stage.entered()
    submit(stage, alice)
    stage.pass_time(15.5)
    assert [code_of(frame) for frame in alice.take()] == ["DEADLINE_EXCEEDED"]
    assert stage.sessions.answers_waiting == 0
    assert [submit(stage, alice) for _ in range(3)] == [[], [], []]


def test_a_quiet_group_is_no_stall(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.pass_time(60.0)
    assert submit(stage, alice) == []
    stage.tell(acked(stage.services.submitted[0], 1))
    stage.pass_time(60.0)
    assert submit(stage, alice) == []


def test_connections_that_left_hold_no_place_for_longer_than_the_deadline(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob")
    for _ in range(3):
        submit(stage, alice)
    stage.sessions.on_closed(alice, 1006)
    (frame,) = submit(stage, bob)
    assert code_of(frame) == "UNAVAILABLE"
    stage.pass_time(16.0)
    assert stage.sessions.answers_waiting == 0
    assert submit(stage, bob) == []
