"""Sends and recalls until their answer: every refusal has its code, a repeat is one message, silence never happens (I2, I3, I4)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from session_stage import FakeConnection, SessionStage

from edge.ports import AckRow, AcksEvent, AnswerEvent, MemberEvent
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2, message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Role
from throng.domain.ids import ConnId, GroupId, UserId, recall_msg_id
from throng.domain.message import Lane, MessageKind, Submission

ID = "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f40"


def code_of(frame: client_pb2.ServerFrame) -> str:
    assert frame.HasField("reject"), frame
    return error_pb2.ErrorCode.Name(frame.reject.code).removeprefix("ERROR_CODE_")


@pytest.fixture
def stage() -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", "alice", "bob", messages=5, send_interval_ms=1_000)
    stage.services.add_group("h", "alice", send_interval_ms=1_000)
    return stage


def text(words: str = "hello", client_msg_id: str = ID, group_id: str = "g", **more: Any) -> dict[str, Any]:
    return {"group_id": group_id, "client_msg_id": client_msg_id, "text": {"text": words}} | more


def send(stage: SessionStage, connection: FakeConnection, request_id: int = 0, **request: Any) -> list[client_pb2.ServerFrame]:
    connection.take()
    stage.ask(connection, request_id, send=request or text())
    stage.services.run()
    return connection.take()


def answer(submission: Submission, seq: int, error: ThrongError | None = None) -> AnswerEvent:
    origin = submission.origin
    return AnswerEvent(
        origin.conn_id,
        origin.request_id,
        submission.group_id,
        submission.client_msg_id,
        0 if error else 1,
        0 if error else seq,
        0 if error else 1_000,
        error,
    )


def new_id() -> str:
    return str(uuid.uuid4())


def test_a_message_is_appended_and_its_ack_passed_on(stage: SessionStage) -> None:
    alice = stage.entered()
    assert send(stage, alice, 5, **text(mentions=["bob"], reply_to_seq=2)) == []
    (submission,) = stage.services.submitted
    assert (submission.user_id, submission.group_id, submission.client_msg_id) == ("alice", "g", ID)
    assert (submission.kind, submission.lane, submission.unlimited) == (MessageKind.TEXT, Lane.HIGH, False)
    assert (submission.origin.edge_id, submission.origin.incarnation, submission.origin.request_id) == ("edge-1", 7, 5)
    body = message_pb2.Message.FromString(submission.body)
    assert body == message_pb2.Message(text=message_pb2.Text(text="hello"), mentions=["bob"], reply_to_seq=2)
    stage.clock.advance(0.3)
    stage.tell(answer(submission, 6))
    (frame,) = alice.take()
    times = stage.counters.ack_seconds
    assert times.counts[times.bounds.index(0.5)] == sum(times.counts) == 1
    assert times.seconds == pytest.approx(0.3)
    assert (frame.request_id, frame.ack.client_msg_id, frame.ack.epoch, frame.ack.seq, frame.ack.sent_at_ms) == (5, ID, 1, 6, 1_000)
    assert stage.counters.submissions == {"submitted": 1, "acked": 1}


def test_unknown_fields_of_a_client_are_not_stored(stage: SessionStage) -> None:
    alice = stage.entered()
    frame = client_pb2.ClientFrame(send=client_pb2.Send(group_id="g", client_msg_id=ID, text=message_pb2.Text(text="x")))
    smuggled = frame.send.text.SerializeToString() + b"\xfa\x7f\x03abc"
    frame.send.ClearField("content")
    payload = frame.send.SerializeToString() + b"\x1a" + bytes([len(smuggled)]) + smuggled
    stage.sessions.on_message(alice, b"\x22" + bytes([len(payload)]) + payload)
    assert stage.services.submitted[0].body == message_pb2.Message(text=message_pb2.Text(text="x")).SerializeToString()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"group_id": "g", "client_msg_id": ID}, "EMPTY_MESSAGE"),
        (text("   \n"), "EMPTY_MESSAGE"),
        (text("x" * 4_001), "TOO_LARGE"),
        (text(client_msg_id="not-a-uuid"), "INVALID_ARGUMENT"),
        (text(mentions=["u"] * 51), "LIMIT_EXCEEDED"),
        (text(mentions=["not an id"]), "INVALID_ARGUMENT"),
        (text(reply_to_seq=6), "INVALID_ARGUMENT"),
        (text(group_id="nowhere"), "NOT_ENTERED"),
        (
            {"group_id": "g", "client_msg_id": ID, "image": {"url": "javascript:alert(1)", "width": 1, "height": 1}},
            "INVALID_ARGUMENT",
        ),
        ({"group_id": "g", "client_msg_id": ID, "image": {"url": "//evil", "width": 1, "height": 1}}, "INVALID_ARGUMENT"),
        ({"group_id": "g", "client_msg_id": ID, "image": {"url": "/a.png", "width": 0, "height": 1}}, "INVALID_ARGUMENT"),
        ({"group_id": "g", "client_msg_id": ID, "image": {"url": "/" + "a" * 2_048, "width": 1, "height": 1}}, "TOO_LARGE"),
        ({"group_id": "g", "client_msg_id": ID, "image": {"width": 1, "height": 1}}, "EMPTY_MESSAGE"),
        ({"group_id": "g", "client_msg_id": ID, "custom": {"type": "a b", "payload": ""}}, "INVALID_ARGUMENT"),
        ({"group_id": "g", "client_msg_id": ID, "custom": {"type": "a", "payload": "AAAA" * 2_731}}, "TOO_LARGE"),
    ],
)
def test_what_is_refused_at_the_door_costs_nothing_behind_it(stage: SessionStage, request_: dict[str, Any], code: str) -> None:
    alice = stage.entered()
    (frame,) = send(stage, alice, 3, **request_)
    assert (frame.request_id, code_of(frame)) == (3, code)
    assert (frame.reject.group_id, frame.reject.client_msg_id) == (request_["group_id"], request_["client_msg_id"])
    assert stage.services.submitted == []
    assert send(stage, alice, 4, **text(client_msg_id=new_id())) == []


def test_the_interval_holds_over_all_connections_of_a_user_and_per_group(stage: SessionStage) -> None:
    first, second = stage.entered(), stage.entered()
    stage.answer(first, 1, enter={"group_id": "h"})
    assert send(stage, first) == []
    stage.clock.advance(0.4)
    (frame,) = send(stage, second, 2, **text(client_msg_id=new_id()))
    assert (code_of(frame), frame.reject.retry_after_ms) == ("RATE_LIMITED", 600)
    assert send(stage, first, 2, **text(client_msg_id=new_id(), group_id="h")) == []
    stage.clock.advance(0.6)
    assert send(stage, second, 2, **text(client_msg_id=new_id())) == []


@pytest.mark.parametrize(("door_ms", "group_ms"), [(0, 1_000), (1_000, 0)])
def test_no_interval_is_kept_at_the_door_without_one_of_the_group_or_when_the_door_keeps_none(door_ms: int, group_ms: int) -> None:
    stage = SessionStage(min_send_interval_ms=door_ms)
    stage.services.add_group("g", "alice", send_interval_ms=group_ms)
    alice = stage.entered()
    assert [send(stage, alice, 1, **text(client_msg_id=new_id())) for _ in range(5)] == [[]] * 5


def test_acks_that_come_together_reach_each_connection_and_one_that_fails_holds_up_no_other(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = stage.entered(), stage.entered("bob")
    given = ID.upper()
    send(stage, alice, 5, **text(client_msg_id=given))
    send(stage, bob, 6, **text("hi", client_msg_id=new_id()))
    rows = [
        AckRow(one.origin.conn_id, one.origin.request_id, one.group_id, one.client_msg_id, 1, seq, 1_000)
        for seq, one in enumerate(stage.services.submitted, 6)
    ]
    gone = rows[0]._replace(conn_id=ConnId("gone"))
    broken = rows[0]._replace(client_msg_id=new_id(), epoch="none")
    stage.tell(AcksEvent([gone, broken, *rows]))
    (of_alice,) = [frame for frame in alice.take() if frame.HasField("ack")]
    assert (of_alice.request_id, of_alice.ack.client_msg_id, of_alice.ack.seq, of_alice.ack.sent_at_ms) == (5, given, 6, 1_000)
    assert [(frame.request_id, frame.ack.seq) for frame in bob.take() if frame.HasField("ack")] == [(6, 7)]
    assert stage.sessions.answers_waiting == 0
    assert stage.counters.events_failed == 1
    assert [frame.ack.seq for frame in send(stage, alice, 7, **text(client_msg_id=given))] == [6], "it is kept for a repeat"


def test_a_repeat_of_what_is_under_way_is_one_submission_and_both_are_answered(stage: SessionStage) -> None:
    alice = stage.entered()
    assert send(stage, alice, 5) == []
    assert send(stage, alice, 6, **text(client_msg_id=ID.upper())) == []
    assert len(stage.services.submitted) == 1
    stage.tell(answer(stage.services.submitted[0], 6))
    assert [(frame.request_id, frame.ack.seq) for frame in alice.take()] == [(5, 6), (6, 6)]


def test_a_repeat_on_another_connection_is_not_refused_by_the_interval(stage: SessionStage) -> None:
    first, second = stage.entered(), stage.entered()
    other = new_id()
    assert send(stage, first, 5) == []
    stage.clock.advance(1.0)
    assert send(stage, first, 5, **text(client_msg_id=other)) == []
    assert send(stage, second, 6) == []
    assert send(stage, second, 6, **text(client_msg_id=other)) == []
    assert [submission.client_msg_id for submission in stage.services.submitted] == [ID, other, ID, other]


def test_a_repeat_of_what_was_just_acked_is_acked_again(stage: SessionStage) -> None:
    first = stage.entered()
    send(stage, first, 5)
    stage.tell(answer(stage.services.submitted[0], 6))
    second = stage.entered()
    stage.sessions.on_closed(first, 1006)
    (frame,) = send(stage, second, 7)
    assert (frame.request_id, frame.ack.seq, frame.ack.sent_at_ms) == (7, 6, 1_000)
    assert len(stage.services.submitted) == 1


@pytest.mark.parametrize("acked", [False, True])
def test_an_id_with_another_body_is_refused(stage: SessionStage, acked: bool) -> None:
    alice = stage.entered()
    send(stage, alice, 5)
    if acked:
        stage.tell(answer(stage.services.submitted[0], 6))
    (frame,) = send(stage, alice, 6, **text("something else"))
    assert code_of(frame) == "CLIENT_MSG_ID_REUSED"


def test_a_reject_is_passed_on_and_costs_no_waiting(stage: SessionStage) -> None:
    alice = stage.entered()
    send(stage, alice, 5)
    error = ThrongError(ErrorCode.BLOCKED_CONTENT, "not here", retry_after_ms=0)
    stage.tell(answer(stage.services.submitted[0], 0, error))
    (frame,) = alice.take()
    assert (frame.request_id, code_of(frame), frame.reject.text) == (5, "BLOCKED_CONTENT", "not here")
    assert send(stage, alice, 6, **text(client_msg_id=new_id())) == []


def test_an_uplink_that_is_away_is_told_and_the_same_id_may_come_again(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.away.add("submit")
    (frame,) = send(stage, alice, 5)
    assert (code_of(frame), frame.reject.retry_after_ms) == ("UNAVAILABLE", 1_000)
    stage.services.away.clear()
    assert send(stage, alice, 6) == []
    # The first may have got into the log all the same; its ACK answers the second.
    stage.tell(answer(stage.services.submitted[0], 6))
    assert alice.take()[0].ack.seq == 6


def test_no_answer_in_time_is_a_deadline_and_a_late_ack_still_counts(stage: SessionStage) -> None:
    alice = stage.entered()
    send(stage, alice, 5)
    stage.pass_time(14.8)
    assert alice.take() == []
    stage.pass_time(0.4)
    (frame,) = alice.take()
    assert (frame.request_id, code_of(frame)) == (5, "DEADLINE_EXCEEDED")
    stage.tell(answer(stage.services.submitted[0], 6))
    (late,) = alice.take()
    assert (late.request_id, late.ack.seq) == (5, 6)


def test_submissions_under_way_are_bounded() -> None:
    stage = SessionStage(max_in_flight=2)
    stage.services.add_group("g", "alice")
    alice = stage.entered()
    for _ in range(2):
        assert send(stage, alice, 1, **text(client_msg_id=new_id())) == []
    (frame,) = send(stage, alice, 2, **text(client_msg_id=new_id()))
    assert (code_of(frame), frame.reject.retry_after_ms) == ("RATE_LIMITED", 1_000)
    stage.tell(answer(stage.services.submitted[0], 1))
    assert [frame.WhichOneof("event") for frame in send(stage, alice, 3, **text(client_msg_id=new_id()))] == []


def test_messages_of_one_connection_reach_the_uplink_in_order(stage: SessionStage) -> None:
    """I4."""
    stage.services.add_group("free", "alice")
    alice = stage.open()
    stage.answer(alice, 1, enter={"group_id": "free"})
    ids = [new_id() for _ in range(20)]
    for client_msg_id in ids:
        stage.ask(alice, send=text(client_msg_id=client_msg_id, group_id="free"))
    assert [submission.client_msg_id for submission in stage.services.submitted] == ids


def test_the_muted_are_told_how_long_and_moderators_speak_in_the_high_lane(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.tell(MemberEvent(GroupId("g"), UserId("alice"), Role.MEMBER, stage.clock.now_ms() + 9_000))
    (frame,) = send(stage, alice)
    assert (code_of(frame), frame.reject.retry_after_ms) == ("MUTED", 9_000)
    stage.clock.advance(9)
    assert send(stage, alice) == []
    assert stage.services.submitted[-1].lane is Lane.NORMAL
    stage.clock.advance(1)
    stage.tell(MemberEvent(GroupId("g"), UserId("alice"), Role.ADMINISTRATOR, 0))
    assert send(stage, alice, 1, **text(client_msg_id=new_id())) == []
    assert stage.services.submitted[-1].lane is Lane.HIGH


def test_an_answer_for_a_connection_that_is_gone_is_dropped(stage: SessionStage) -> None:
    alice = stage.entered()
    send(stage, alice)
    stage.sessions.on_closed(alice, 1006)
    stage.tell(answer(stage.services.submitted[0], 6))
    stage.pass_time(16)
    assert alice.take() == []
    assert stage.counters.events_failed == 0


def test_a_recall_is_one_event_however_often_it_is_asked(stage: SessionStage) -> None:
    alice = stage.entered()
    for request_id in (3, 4):
        stage.ask(alice, request_id, recall={"group_id": "g", "seq": 2})
    (submission,) = stage.services.submitted
    assert (submission.kind, submission.target_seq) == (MessageKind.RECALL, 2)
    assert submission.client_msg_id == recall_msg_id(GroupId("g"), UserId("alice"), 2)
    assert message_pb2.Message.FromString(submission.body).recall.target_seq == 2
    stage.tell(answer(submission, 6))
    assert [(frame.request_id, frame.ack.seq) for frame in alice.take()] == [(3, 6), (4, 6)]


def test_what_was_acked_may_be_spoken_of_before_its_block_comes(stage: SessionStage) -> None:
    alice = stage.entered()
    fetched = stage.services.calls["fetch_after"]
    stage.ask(alice, 3, send=text("a slip"))
    stage.tell(answer(stage.services.submitted[-1], 6))
    stage.clock.advance(60.0)
    stage.ask(alice, 4, send=text("an answer", new_id(), reply_to_seq=6))
    stage.ask(alice, 5, recall={"group_id": "g", "seq": 6})
    assert [one.target_seq for one in stage.services.submitted] == [0, 0, 6]
    assert [code_of(frame) for frame in alice.take() if frame.HasField("reject")] == []
    assert stage.services.calls["fetch_after"] == fetched, "its block is on its way"
    stage.ask(alice, 6, recall={"group_id": "g", "seq": 7})
    assert [code_of(frame) for frame in alice.take()] == ["MESSAGE_NOT_FOUND"]


@pytest.mark.parametrize("seq", [0, 6, 2**64 - 1])
def test_a_recall_of_nothing_is_rejected(stage: SessionStage, seq: int) -> None:
    (frame,) = [stage.answer(stage.entered(), 3, recall={"group_id": "g", "seq": seq})]
    assert (frame.request_id, code_of(frame)) == (3, "MESSAGE_NOT_FOUND")
