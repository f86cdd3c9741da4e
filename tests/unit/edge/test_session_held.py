"""What is asked of a group while it is being entered waits for `entered`, in order and within a bound."""

from __future__ import annotations

from session_stage import FakeConnection, SessionStage

from throng.api.common.v1 import error_pb2

ID = "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f4"


def _stage() -> SessionStage:
    stage = SessionStage(min_send_interval_ms=0)
    stage.services.add_group("g", "alice", messages=3)
    return stage


def _say(stage: SessionStage, connection: FakeConnection, number: int) -> None:
    stage.ask(connection, number, send={"group_id": "g", "client_msg_id": f"{ID}{number % 10}", "text": {"text": f"m{number}"}})


def _events(connection: FakeConnection) -> list[str | None]:
    return [frame.WhichOneof("event") for frame in connection.take()]


def test_a_message_sent_behind_the_address_waits_for_the_group() -> None:
    stage = _stage()
    client = stage.open("alice", groups=["g"])
    for number in range(3):
        _say(stage, client, number)
    stage.ask(client, 7, pull={"group_id": "g", "after_seq": 0, "up_to_seq": 3})
    assert _events(client) == ["welcome"]
    assert stage.services.submitted == []
    stage.services.run()
    assert _events(client) == ["entered", "pulled"]
    assert [submission.client_msg_id for submission in stage.services.submitted] == [f"{ID}{number}" for number in range(3)]


def test_what_comes_while_entering_again_keeps_its_order_i4() -> None:
    stage = _stage()
    client = stage.open("alice", groups=["g"])
    _say(stage, client, 0)
    stage.ask(client, 8, enter={"group_id": "g"})
    _say(stage, client, 1)
    stage.services.run()
    _say(stage, client, 2)
    assert [submission.client_msg_id for submission in stage.services.submitted] == [f"{ID}{number}" for number in range(3)]


def test_when_the_group_is_refused_so_is_what_waited() -> None:
    stage = _stage()
    stage.services.members["g"].clear()
    client = stage.open("alice", groups=["g"])
    _say(stage, client, 1)
    stage.services.run()
    _, failure, reject = client.take()
    assert failure.failure.code == error_pb2.ERROR_CODE_NOT_A_MEMBER
    assert (reject.request_id, reject.reject.code) == (1, error_pb2.ERROR_CODE_NOT_ENTERED)


def test_what_waits_is_bounded_i8() -> None:
    stage = _stage()
    client = stage.open("alice", groups=["g"])
    for number in range(66):
        stage.ask(client, number + 1, report_read={"group_id": "g", "read_seq": 1})
    _, *refused = client.take()
    assert [(frame.request_id, frame.failure.code) for frame in refused] == [
        (65, error_pb2.ERROR_CODE_RATE_LIMITED),
        (66, error_pb2.ERROR_CODE_RATE_LIMITED),
    ]


def test_a_connection_that_goes_meanwhile_submits_nothing() -> None:
    stage = _stage()
    client = stage.open("alice", groups=["g"])
    _say(stage, client, 1)
    stage.sessions.on_closed(client, 1006)
    stage.services.run()
    assert stage.services.submitted == []
