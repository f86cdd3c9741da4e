"""What clients ask of a session: every rule of client.proto, with its code."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from session_stage import FakeConnection, SessionStage

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.group import Delivery, Member, Role
from throng.domain.ids import UserId


def code_of(frame: client_pb2.ServerFrame) -> str:
    """Name of the code of a failure or reject."""
    refusal = frame.failure if frame.HasField("failure") else frame.reject
    return error_pb2.ErrorCode.Name(refusal.code).removeprefix("ERROR_CODE_")


def seqs_of(messages: Sequence[object]) -> list[int]:
    return [message.seq for message in messages]  # type: ignore[attr-defined]


@pytest.fixture
def stage() -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", "alice", "bob", messages=120)
    stage.services.add_group("empty", "alice")
    return stage


# Opening -----------------------------------------------------------------------------------------------------------------


def test_the_first_frame_is_welcome_and_groups_of_the_url_are_entered(stage: SessionStage) -> None:
    alice = stage.open(groups=["g", "nowhere"], delivery=Delivery.NOTIFY)
    stage.services.run()
    welcome, *others = alice.take()
    assert (welcome.welcome.user_id, welcome.welcome.edge_id) == ("alice", "edge-1")
    assert welcome.welcome.conn_id
    events = {frame.WhichOneof("event"): frame for frame in others}
    assert events["entered"].entered.delivery == Delivery.NOTIFY
    assert code_of(events["failure"]) == "GROUP_NOT_FOUND"
    assert events["failure"].failure.group_id == "nowhere"


def test_the_newest_of_too_many_connections_is_refused() -> None:
    stage = SessionStage(max_connections_per_user=2)
    first, second, third = stage.open(), stage.open(), stage.open()
    assert (first.close_code, second.close_code, third.close_code) == (None, None, CloseCode.TOO_MANY_CONNECTIONS)
    assert third.take() == []
    stage.sessions.on_closed(third, 4200)
    stage.sessions.on_closed(first, 1000)
    assert stage.open().close_code is None


def test_no_limit_of_connections_means_none() -> None:
    stage = SessionStage(max_connections_per_user=0)
    assert all(stage.open().close_code is None for _ in range(50))


def test_malformed_frames_are_answered_and_the_twentieth_closes(stage: SessionStage) -> None:
    alice = stage.open()
    alice.take()
    for _ in range(19):
        stage.sessions.on_message(alice, b"\xff\xff")
    stage.ask(alice, 5, ping={})
    frames = alice.take()
    assert [code_of(frame) for frame in frames[:-1]] == ["MALFORMED_FRAME"] * 19
    assert frames[-1].HasField("pong")
    stage.sessions.on_message(alice, client_pb2.ClientFrame(request_id=9).SerializeToString())
    assert alice.close_code is CloseCode.ABUSIVE
    stage.sessions.on_message(alice, b"\xff")  # the hub may still have had one in hand


def test_an_empty_oneof_is_malformed_and_its_request_id_comes_back(stage: SessionStage) -> None:
    alice = stage.open()
    alice.take()
    stage.sessions.on_message(alice, client_pb2.ClientFrame(request_id=9).SerializeToString())
    (frame,) = alice.take()
    assert (frame.request_id, code_of(frame)) == (9, "MALFORMED_FRAME")


def test_json_refuses_unknown_fields_but_tells_which_request_it_was(stage: SessionStage) -> None:
    alice = stage.open(binary=False)
    alice.take()
    stage.sessions.on_message(alice, b'{"requestId":"7","enter":{"groupId":"g","sequence":4}}')
    (frame,) = alice.take()
    assert (frame.request_id, code_of(frame)) == (7, "MALFORMED_FRAME")


def test_ping(stage: SessionStage) -> None:
    frame = stage.answer(stage.open(), 3, ping={})
    assert (frame.request_id, frame.pong.time_ms) == (3, stage.clock.now_ms())


@pytest.mark.parametrize(
    "request_",
    [
        {"leave": {"groupId": "g"}},
        {"pull": {"groupId": "g"}},
        {"history": {"groupId": "g"}},
        {"reportRead": {"groupId": "g", "readSeq": 1}},
        {"recall": {"groupId": "g", "seq": 1}},
        {"deleteForMe": {"groupId": "g", "seq": 1}},
        {"send": {"groupId": "g", "clientMsgId": str(uuid.uuid4()), "text": {"text": "x"}}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_group_must_be_entered_first(stage: SessionStage, request_: dict[str, object]) -> None:
    frame = stage.answer(stage.open(), 4, **request_)
    assert (frame.request_id, code_of(frame)) == (4, "NOT_ENTERED")
    assert frame.HasField("reject") == (next(iter(request_)) in ("send", "recall"))


# Entering ----------------------------------------------------------------------------------------------------------------


def entered(stage: SessionStage, connection: FakeConnection, **enter: object) -> client_pb2.Entered:
    frame = stage.answer(connection, 2, enter={"group_id": "g"} | enter)
    assert frame.request_id == 2
    assert frame.HasField("entered"), frame
    return frame.entered


def test_entering_brings_newest_page_unread_and_deletions_together(stage: SessionStage) -> None:
    stage.services.cursors["alice", "g"] = 100
    stage.services.deleted["alice", "g"] = [3, 80]
    answer = entered(stage, stage.open())
    assert seqs_of(answer.messages) == list(range(71, 121))
    assert (answer.group.head_seq, answer.group.epoch, answer.group.name) == (120, 1, "G")
    assert (answer.unread.count, answer.unread.capped, answer.unread.read_seq) == (20, False, 100)
    assert list(answer.deleted_seqs) == [80]
    assert (answer.role, answer.delivery, answer.reset) == (Role.MEMBER, Delivery.INLINE, False)


@pytest.mark.parametrize(
    ("epoch", "seq", "first", "last", "reset"),
    [
        (1, 110, 111, 120, False),
        (1, 120, 0, 0, False),
        (1, 999, 0, 0, False),
        (9, 110, 71, 120, True),
        (0, 110, 71, 120, True),
    ],
)
def test_entering_with_a_position(stage: SessionStage, epoch: int, seq: int, first: int, last: int, reset: bool) -> None:
    answer = entered(stage, stage.open(), epoch=epoch, seq=seq)
    assert seqs_of(answer.messages) == (list(range(first, last + 1)) if first else [])
    assert answer.reset is reset


def test_more_than_a_page_missed_brings_the_newest_page(stage: SessionStage) -> None:
    stage.services.write("g", 300)
    answer = entered(stage, stage.open(), epoch=1, seq=10)
    assert seqs_of(answer.messages) == list(range(371, 421))


def test_up_to_200_missed_are_brought(stage: SessionStage) -> None:
    stage.services.write("g", 90)
    answer = entered(stage, stage.open(), epoch=1, seq=12)
    missed = seqs_of(answer.messages)
    assert missed == list(range(13, 13 + len(missed)))
    assert len(missed) >= 150


def test_an_empty_group_is_entered(stage: SessionStage) -> None:
    answer = stage.answer(stage.open(), 2, enter={"group_id": "empty"}).entered
    assert (list(answer.messages), answer.group.head_seq, answer.unread.count) == ([], 0, 0)


def test_without_the_unread_service_a_group_is_entered_without_counts(stage: SessionStage) -> None:
    stage.services.away.add("fetch_unread")
    answer = entered(stage, stage.open())
    assert not answer.HasField("unread")
    assert len(answer.messages) == 50


@pytest.mark.parametrize("away", ["enter", "fetch_after", "fetch_deleted"])
def test_without_the_group_service_entering_fails_and_leaves_nothing(stage: SessionStage, away: str) -> None:
    stage.services.away.add(away)
    alice = stage.open()
    assert code_of(stage.answer(alice, 2, enter={"group_id": "g"})) == "UNAVAILABLE"
    assert stage.counters.rooms == 0
    assert alice.session.requests == 0
    stage.services.away.clear()
    stage.pass_time(1)
    assert len(entered(stage, alice).messages) == 50


def test_refusals_of_entering(stage: SessionStage) -> None:
    mallory = stage.open("mallory")
    assert code_of(stage.answer(mallory, 2, enter={"group_id": "g"})) == "NOT_A_MEMBER"
    assert code_of(stage.answer(mallory, 2, enter={"group_id": "nowhere"})) == "GROUP_NOT_FOUND"
    assert code_of(stage.answer(mallory, 2, enter={"group_id": "not an id"})) == "INVALID_ARGUMENT"
    assert stage.counters.rooms == 0
    assert stage.services.routes == []


def test_a_group_limit_per_connection() -> None:
    stage = SessionStage(max_groups=1)
    stage.services.add_group("g", "alice")
    stage.services.add_group("h", "alice")
    alice = stage.entered()
    assert code_of(stage.answer(alice, 2, enter={"group_id": "h"})) == "LIMIT_EXCEEDED"
    assert stage.answer(alice, 2, enter={"group_id": "g"}).HasField("entered")


def test_entering_again_changes_delivery_and_keeps_one_place(stage: SessionStage) -> None:
    alice = stage.entered()
    assert entered(stage, alice, epoch=1, seq=120, delivery="DELIVERY_NOTIFY").delivery == Delivery.NOTIFY
    stage.tell(stage.services.write("g"))
    assert [frame.WhichOneof("event") for frame in alice.take()] == ["notice"]
    stage.sessions.on_closed(alice, 1000)
    assert stage.counters.rooms == 0


def test_unread_counts_know_a_cursor_that_waits_for_its_report(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.ask(alice, report_read={"group_id": "g", "read_seq": 115})
    assert entered(stage, stage.open()).unread.count == 5


def test_leaving_ends_what_comes_and_answers(stage: SessionStage) -> None:
    alice = stage.entered()
    frame = stage.answer(alice, 6, leave={"group_id": "g"})
    assert (frame.request_id, frame.group_event.WhichOneof("event")) == (6, "left")
    stage.tell(stage.services.write("g"))
    assert alice.take() == []
    assert stage.services.routes == [("g", 1), ("g", 0)]


def test_leaving_while_entering_answers_both(stage: SessionStage) -> None:
    alice = stage.open()
    alice.take()
    stage.ask(alice, 2, enter={"group_id": "g"})
    stage.ask(alice, 3, leave={"group_id": "g"})
    stage.services.run()
    frames = {frame.request_id: frame for frame in alice.take()}
    assert code_of(frames[2]) == "NOT_ENTERED"
    assert frames[3].group_event.HasField("left")
    assert stage.counters.rooms == 0


# Pull and history --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "up_to", "first", "last"),
    [(110, 0, 111, 120), (110, 115, 111, 115), (120, 0, 0, 0), (500, 0, 0, 0), (30, 45, 31, 45), (115, 900, 116, 120)],
)
def test_pull(stage: SessionStage, after: int, up_to: int, first: int, last: int) -> None:
    alice = stage.entered()
    frame = stage.answer(alice, 8, pull={"group_id": "g", "after_seq": after, "up_to_seq": up_to})
    pulled = frame.pulled
    assert frame.request_id == 8
    assert seqs_of(pulled.messages) == (list(range(first, last + 1)) if first else [])
    assert (pulled.after_seq, pulled.up_to_seq, pulled.head_seq) == (after, after + len(pulled.messages), 120)


def test_a_pull_brings_at_most_200(stage: SessionStage) -> None:
    stage.services.write("g", 400)
    alice = stage.entered()
    got: list[int] = []
    while not got or got[-1] < 520:
        pulled = stage.answer(alice, 8, pull={"group_id": "g", "after_seq": got[-1] if got else 7}).pulled
        assert 1 <= len(pulled.messages) <= 200
        got += seqs_of(pulled.messages)
    assert got == list(range(8, 521))


def test_pull_refusals(stage: SessionStage) -> None:
    alice = stage.entered()
    assert code_of(stage.answer(alice, 8, pull={"group_id": "g", "after_seq": 9, "up_to_seq": 8})) == "INVALID_ARGUMENT"
    assert code_of(stage.answer(alice, 8, pull={"group_id": "g", "after_seq": 9, "epoch": 2})) == "EPOCH_MISMATCH"
    stage.services.away.add("fetch_after")
    assert code_of(stage.answer(alice, 8, pull={"group_id": "g", "after_seq": 9})) == "UNAVAILABLE"
    assert alice.session.requests == 0


@pytest.mark.parametrize(
    ("before", "limit", "first", "last"),
    [(0, 0, 71, 120), (51, 0, 1, 50), (11, 4, 7, 10), (1, 50, 0, 0), (9_999, 2, 119, 120), (120, 200, 1, 119)],
)
def test_history(stage: SessionStage, before: int, limit: int, first: int, last: int) -> None:
    alice = stage.entered()
    stage.services.deleted["alice", "g"] = [9, 90]
    pulled = stage.answer(alice, 8, history={"group_id": "g", "before_seq": before, "limit": limit}).pulled
    wanted = list(range(first, last + 1)) if first else []
    assert seqs_of(pulled.messages) == wanted
    assert list(pulled.deleted_seqs) == [seq for seq in (9, 90) if seq in wanted]


def test_history_above_the_limit_is_refused(stage: SessionStage) -> None:
    alice = stage.entered()
    assert code_of(stage.answer(alice, 8, history={"group_id": "g", "limit": 201})) == "LIMIT_EXCEEDED"


def test_long_pages_are_cut_by_bytes_at_the_right_end() -> None:
    stage = SessionStage(page_bytes=1_000)
    stage.services.add_group("g", "alice", messages=100)
    alice = stage.open()
    page = entered(stage, alice)
    assert seqs_of(page.messages)[-1] == 100
    assert len(page.messages) < 50
    pulled = stage.answer(alice, 8, pull={"group_id": "g", "after_seq": 10}).pulled
    assert seqs_of(pulled.messages)[0] == 11
    assert pulled.up_to_seq == 10 + len(pulled.messages)
    assert seqs_of(stage.answer(alice, 8, history={"group_id": "g", "before_seq": 60}).pulled.messages)[-1] == 59


def test_too_many_requests_at_once_are_refused() -> None:
    stage = SessionStage(max_requests=3)
    alice = stage.open()
    alice.take()
    for request_id in range(1, 6):
        stage.ask(alice, request_id, list_groups={})
    assert [(frame.request_id, code_of(frame)) for frame in alice.take()] == [(4, "RATE_LIMITED"), (5, "RATE_LIMITED")]
    stage.services.run()
    assert len(alice.take()) == 3


# Cursors, lists, deletions -----------------------------------------------------------------------------------------------


def test_cursors_only_grow_are_capped_and_reported_in_batches(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob")
    for seq in (5, 50, 20):
        stage.ask(alice, report_read={"group_id": "g", "read_seq": seq})
    stage.ask(bob, report_read={"group_id": "g", "read_seq": 9_999})
    assert stage.services.calls["report_cursors"] == 0
    stage.pass_time(5.1)
    assert stage.services.calls["report_cursors"] == 1
    assert stage.services.cursors == {("alice", "g"): 50, ("bob", "g"): 120}
    stage.pass_time(5.1)
    assert stage.services.calls["report_cursors"] == 1


def test_cursors_that_could_not_be_reported_are_reported_again(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.away.add("report_cursors")
    stage.ask(alice, report_read={"group_id": "g", "read_seq": 50})
    stage.sessions.on_closed(alice, 1000)
    stage.pass_time(5.1)
    stage.services.away.clear()
    stage.pass_time(5.1)
    assert stage.services.cursors == {("alice", "g"): 50}


def test_a_read_report_with_an_id_is_answered_with_the_count_after_it(stage: SessionStage) -> None:
    alice = stage.entered()
    frame = stage.answer(alice, 7, report_read={"group_id": "g", "read_seq": 117})
    assert frame.request_id == 7
    assert [(row.group_id, row.unread.count) for row in frame.unread_counts.counts] == [("g", 3)]


def test_stop_reports_what_waits(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.ask(alice, report_read={"group_id": "g", "read_seq": 50})
    done: list[bool] = []
    stage.sessions.stop(lambda: done.append(True))
    assert done == []
    stage.services.run()
    assert (done, stage.services.cursors) == ([True], {("alice", "g"): 50})
    stage.sessions.stop(lambda: done.append(True))
    assert done == [True, True]


def test_listing_groups(stage: SessionStage) -> None:
    frame = stage.answer(stage.open(), 9, list_groups={})
    rows = [(row.group.group_id, row.group.head_seq, row.unread.count) for row in frame.groups.groups]
    assert rows == [("empty", 0, 0), ("g", 120, 99)]
    stage.services.away.add("fetch_unread")
    frame = stage.answer(stage.open(), 9, list_groups={})
    assert frame.groups.unread_unavailable
    assert not frame.groups.groups[0].HasField("unread")
    stage.services.away.add("list_groups")
    assert code_of(stage.answer(stage.open(), 9, list_groups={})) == "UNAVAILABLE"


def test_deleting_for_me_tells_the_users_other_pages(stage: SessionStage) -> None:
    alice, other, bob = stage.entered(), stage.entered(binary=False), stage.entered("bob")
    frame = stage.answer(alice, 9, delete_for_me={"group_id": "g", "seq": 4})
    assert (frame.request_id, list(frame.group_event.deleted_for_me.seqs)) == (9, [4])
    (told,) = other.take()
    assert (told.request_id, list(told.group_event.deleted_for_me.seqs)) == (0, [4])
    assert bob.take() == []
    assert code_of(stage.answer(alice, 9, delete_for_me={"group_id": "g", "seq": 121})) == "MESSAGE_NOT_FOUND"
    assert code_of(stage.answer(alice, 9, delete_for_me={"group_id": "g", "seq": 0})) == "MESSAGE_NOT_FOUND"


def test_the_member_who_is_asked_about_is_the_one_of_the_token(stage: SessionStage) -> None:
    stage.services.members["g"]["alice"] = Member(UserId("alice"), role=Role.OWNER)
    assert entered(stage, stage.open("alice")).role == Role.OWNER
    assert entered(stage, stage.open("bob")).role == Role.MEMBER
