"""What routers deliver reaches clients in order, gaps are closed, parts end at once (I5, I6, I9)."""

from __future__ import annotations

import dataclasses

import pytest
from session_stage import FakeConnection, SessionStage

from edge.core.departures import SLICE_SESSIONS
from edge.ports import BlockEvent, GroupEvent, HeadEvent, MemberEvent
from throng.api.client.v1 import client_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.group import GroupSettings, Role
from throng.domain.ids import GroupId, UserId


@pytest.fixture
def stage() -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", "alice", "bob", messages=10)
    return stage


def seen(connection: FakeConnection) -> list[tuple[str, int, list[int]]]:
    """Blocks and notices as (event, prev or head, seqs)."""
    found = []
    for frame in connection.take():
        name = frame.WhichOneof("event")
        if name == "block":
            found.append((name, frame.block.prev_seq, [message.seq for message in frame.block.messages]))
        else:
            assert name == "notice", frame
            found.append((name, frame.notice.head_seq, []))
    return found


def pulled(stage: SessionStage, connection: FakeConnection, after: int = 0, up_to: int = 0) -> client_pb2.Pulled:
    return stage.answer(connection, 9, pull={"group_id": "g", "after_seq": after, "up_to_seq": up_to}).pulled


# In order ----------------------------------------------------------------------------------------------------------------


def test_each_variant_gets_its_frame(stage: SessionStage) -> None:
    inline, inline_json = stage.entered(), stage.entered(binary=False)
    notify = stage.entered(delivery="DELIVERY_NOTIFY")
    notify_json = stage.entered("bob", binary=False, delivery="DELIVERY_NOTIFY")
    stage.tell(stage.services.write("g", 2))
    assert seen(inline) == seen(inline_json) == [("block", 10, [11, 12])]
    assert seen(notify) == seen(notify_json) == [("notice", 12, [])]


def test_json_is_wanted_while_a_part_wants_it(stage: SessionStage) -> None:
    assert not stage.sessions.wants_json(GroupId("g"))
    alice = stage.entered()
    assert not stage.sessions.wants_json(GroupId("g"))
    bob = stage.entered("bob", binary=False)
    assert stage.sessions.wants_json(GroupId("g"))
    stage.sessions.on_closed(bob, 1000)
    assert not stage.sessions.wants_json(GroupId("g"))
    assert alice.close_code is None


def test_json_blocks_are_made_here_when_the_router_side_made_none(stage: SessionStage) -> None:
    alice = stage.entered(binary=False)
    stage.tell(dataclasses.replace(stage.services.write("g"), json_block=None))
    assert seen(alice) == [("block", 10, [11])]


def test_duplicates_are_dropped_and_overlaps_are_cut(stage: SessionStage) -> None:
    alice = stage.entered()
    first = stage.services.write("g", 2)
    stage.services.write("g", 2)
    stage.tell(first, first, stage.services.block("g", 5, 11), stage.services.block("g", 11, 14))
    assert seen(alice) == [("block", 10, [11, 12]), ("block", 12, [13, 14])]
    assert stage.counters.duplicate_blocks == 2


def test_a_gap_is_fetched_once_and_delivered_first(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob", delivery="DELIVERY_NOTIFY")
    stage.services.write("g", 3)
    late = [stage.services.write("g"), stage.services.write("g")]
    before = stage.services.calls["fetch_after"]
    stage.tell(*reversed(late))
    assert seen(alice) == []
    stage.services.run()
    assert seen(alice) == [("block", 10, [11, 12, 13, 14]), ("block", 14, [15])]
    assert seen(bob)[-1] == ("notice", 15, [])
    assert stage.services.calls["fetch_after"] - before == 1


def test_a_gap_that_closes_itself_is_not_delivered_twice(stage: SessionStage) -> None:
    alice = stage.entered()
    missing, late = stage.services.write("g"), stage.services.write("g")
    stage.tell(late, missing)
    stage.services.run()
    assert seen(alice) == [("block", 10, [11]), ("block", 11, [12])]


def test_a_head_without_messages_brings_them(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob", delivery="DELIVERY_NOTIFY")
    stage.services.write("g", 3)
    stage.tell(HeadEvent(GroupId("g"), 1, 13))
    stage.services.run()
    assert seen(alice) == [("block", 10, [11, 12, 13])]
    assert seen(bob) == [("notice", 13, [])]


def test_heads_are_compared_every_two_seconds(stage: SessionStage) -> None:
    """I6: a lost delivery is healed without another message."""
    alice = stage.entered()
    stage.pass_time(1)
    stage.services.write("g")
    stage.pass_time(2.1)
    assert seen(alice) == [("block", 10, [11])]


def test_heads_are_compared_at_once_when_routes_are_applied(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.write("g")
    stage.sessions.on_routes_applied(None)
    stage.services.run()
    assert seen(alice) == [("block", 10, [11])]


def test_a_new_room_is_compared_soon(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.write("g")
    stage.pass_time(0.7)
    assert seen(alice) == [("block", 10, [11])]


def test_healing_goes_on_when_the_services_come_back(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.away |= {"fetch_heads", "fetch_after"}
    stage.services.write("g")
    parked = stage.services.write("g")
    stage.tell(parked)
    stage.pass_time(10)
    assert seen(alice) == []
    stage.services.away.clear()
    stage.pass_time(2.2)
    assert seen(alice) == [("block", 10, [11]), ("block", 11, [12])]


def test_after_a_long_break_the_head_is_told_and_pulls_bring_the_rest(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.write("g", 500)
    stage.tell(HeadEvent(GroupId("g"), 1, 510))
    stage.services.run()
    assert seen(alice) == [("notice", 510, [])]
    held = 10
    while held < 510:
        answer = pulled(stage, alice, held)
        assert answer.messages[0].seq == held + 1
        held = answer.up_to_seq
    stage.tell(stage.services.write("g"))
    assert seen(alice) == [("block", 510, [511])]


@pytest.mark.parametrize("broken", [False, True])
def test_a_range_that_cannot_be_had_does_not_hold_up_what_follows(stage: SessionStage, broken: bool) -> None:
    alice = stage.entered()
    stage.services.write("g", 2)
    late = stage.services.write("g")
    if broken:
        stage.services.broken.add("fetch_after")
    else:
        del stage.services.messages["g"][10:]
    stage.tell(late)
    stage.services.run()
    for _ in range(2):
        assert seen(alice) == []
        stage.tell(HeadEvent(GroupId("g"), 1, 13))
        stage.services.run()
    assert seen(alice) == [("notice", 12, []), ("block", 12, [13])]


def test_blocks_behind_a_gap_are_bounded(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.services.write("g")
    stage.tell(*[stage.services.write("g") for _ in range(150)])
    assert stage.counters.parked_overflows >= 64
    stage.services.run()
    stage.pass_time(2.2)
    assert [seq for event in seen(alice) for seq in event[2]] == list(range(11, 162))


def test_the_last_served_socket_ends_a_publication(stage: SessionStage) -> None:
    done: list[int] = []
    stage.counters.on_fan_out_done = done.append
    stage.entered()
    stage.entered("bob", delivery="DELIVERY_NOTIFY")
    event = stage.services.write("g")
    stage.hub.lazy = True
    stage.tell(dataclasses.replace(event, published_at_ms=77))
    assert done == []
    stage.hub.pump()
    assert done == [77]


# Cache -------------------------------------------------------------------------------------------------------------------


def test_pulls_of_what_was_delivered_need_no_service(stage: SessionStage) -> None:
    stage.entered()
    crowd = [stage.entered(f"user{n}") for n in range(0)] + [stage.entered("bob", delivery="DELIVERY_NOTIFY") for _ in range(5)]
    stage.tell(stage.services.write("g", 4))
    before = stage.services.calls["fetch_after"]
    for member in crowd:
        assert [message.seq for message in pulled(stage, member, 10, 14).messages] == [11, 12, 13, 14]
    assert stage.services.calls["fetch_after"] == before


def test_a_storm_of_pulls_is_one_call(stage: SessionStage) -> None:
    crowd = [stage.entered("bob", seq=10, epoch=1) for _ in range(20)]
    stage.services.calls.clear()
    for member in crowd:
        member.take()
        stage.ask(member, 3, pull={"group_id": "g", "after_seq": 2})
    stage.services.run()
    assert stage.services.calls["fetch_after"] == 1
    assert stage.counters.single_flight_waits >= 19
    assert all(len(member.take()[0].pulled.messages) == 8 for member in crowd)


def test_the_cache_is_bounded_by_count_and_bytes() -> None:
    stage = SessionStage(cache_messages=20, cache_bytes=100_000)
    stage.services.add_group("g", "alice")
    alice = stage.entered()
    for _ in range(30):
        stage.tell(stage.services.write("g", 3))
    alice.take()
    stage.services.calls.clear()
    assert len(pulled(stage, alice, 70).messages) == 20
    assert stage.services.calls["fetch_after"] == 0
    assert [message.seq for message in pulled(stage, alice, 60).messages] == list(range(61, 91))
    assert stage.services.calls["fetch_after"] == 1
    stage.pass_time(1.1)
    assert 0 < stage.counters.cache_bytes < 2_000
    stage.sessions.on_closed(alice, 1000)
    stage.pass_time(1.1)
    assert stage.counters.cache_bytes == 0


def test_failures_are_remembered_for_a_moment(stage: SessionStage) -> None:
    alice = stage.entered(seq=10, epoch=1)
    stage.services.away.add("fetch_after")
    stage.services.calls.clear()
    for _ in range(5):
        assert stage.answer(alice, 3, pull={"group_id": "g", "after_seq": 2}).HasField("failure")
    assert stage.services.calls["fetch_after"] == 1
    stage.services.away.clear()
    stage.clock.advance(0.5)
    assert len(pulled(stage, alice, 2).messages) == 8


@pytest.mark.parametrize("how", ["block", "heal", "before_the_read", "during_the_read"])
def test_a_recalled_message_is_never_served_unblanked(stage: SessionStage, how: str) -> None:
    alice = stage.entered() if how in ("block", "heal") else stage.entered(seq=10, epoch=1)
    alice.take()
    if how == "during_the_read":
        stage.ask(alice, 9, pull={"group_id": "g", "after_seq": 0})
    recall = stage.services.write("g", recall=4)
    if how == "heal":
        stage.pass_time(2.2)
    else:
        stage.tell(recall)
    if how == "during_the_read":
        stage.services.run()
        answer = next(frame.pulled for frame in alice.take() if frame.HasField("pulled"))
    else:
        answer = pulled(stage, alice)
    blanked = answer.messages[3]
    assert (blanked.seq, blanked.recalled_by_seq, blanked.WhichOneof("content")) == (4, 11, None)
    assert blanked == stage.services.messages["g"][3]


# Epochs ------------------------------------------------------------------------------------------------------------------


def next_epoch(stage: SessionStage) -> None:
    stage.services.groups["g"] = dataclasses.replace(stage.services.groups["g"], epoch=2)
    stage.services.messages["g"] = stage.services.messages["g"][:3]


def test_another_epoch_begins_anew(stage: SessionStage) -> None:
    alice = stage.entered()
    next_epoch(stage)
    old = stage.services.block("g", 0, 3)
    stage.tell(stage.services.write("g"), dataclasses.replace(old, epoch=1, prev_seq=10, head_seq=13))
    (frame,) = alice.take()
    assert (frame.block.epoch, frame.block.prev_seq) == (2, 3)
    assert stage.answer(alice, 3, pull={"group_id": "g", "after_seq": 2, "epoch": 1}).HasField("failure")
    answer = stage.answer(alice, 3, enter={"group_id": "g", "epoch": 1, "seq": 10}).entered
    assert (answer.reset, answer.group.epoch, [message.seq for message in answer.messages]) == (True, 2, [1, 2, 3, 4])


def test_another_epoch_is_seen_when_heads_are_compared(stage: SessionStage) -> None:
    alice = stage.entered()
    next_epoch(stage)
    stage.pass_time(2.2)
    (frame,) = alice.take()
    assert (frame.notice.epoch, frame.notice.head_seq) == (2, 3)


# Members -----------------------------------------------------------------------------------------------------------------


def removal(user_id: str = "alice") -> MemberEvent:
    return MemberEvent(GroupId("g"), UserId(user_id), Role.NONE, 0)


def test_after_removal_no_byte_of_the_group(stage: SessionStage) -> None:
    """I9."""
    alice, bob = stage.entered(), stage.entered("bob")
    stage.ask(alice, 3, pull={"group_id": "g", "after_seq": 0})
    stage.ask(alice, 4, history={"group_id": "g"})
    alice.take()
    del stage.services.members["g"]["alice"]
    stage.tell(removal())
    (told,) = alice.take()
    assert told.group_event.HasField("removed")
    stage.services.run()
    stage.tell(stage.services.write("g"), HeadEvent(GroupId("g"), 1, 11))
    stage.tell(GroupEvent(stage.services.group("g")))
    stage.pass_time(5)
    assert all(frame.WhichOneof("event") == "failure" for frame in alice.take())
    assert seen_blocks(bob) == [[11]]
    assert stage.answer(alice, 3, pull={"group_id": "g", "after_seq": 0}).HasField("failure")


def seen_blocks(connection: FakeConnection) -> list[list[int]]:
    return [[m.seq for m in frame.block.messages] for frame in connection.take() if frame.HasField("block")]


@pytest.mark.parametrize("steps", range(4))
def test_removal_while_entering_is_not_overtaken(stage: SessionStage, steps: int) -> None:
    """I9: the answer of before the removal does not let anyone in."""
    alice = stage.open()
    alice.take()
    stage.ask(alice, 2, enter={"group_id": "g"})
    for _ in range(steps):
        stage.services.run(0)
    del stage.services.members["g"]["alice"]
    stage.tell(removal())
    stage.services.run()
    stage.tell(stage.services.write("g"))
    events = [frame.WhichOneof("event") for frame in alice.take()]
    assert events == ["failure"] if steps < 4 else events[-1] == "group_event"
    assert stage.counters.rooms == 0


def test_a_missed_removal_is_noticed_when_entering_again(stage: SessionStage) -> None:
    alice = stage.entered()
    del stage.services.members["g"]["alice"]
    assert stage.answer(alice, 2, enter={"group_id": "g"}).HasField("failure")
    stage.tell(stage.services.write("g"))
    assert alice.take() == []


def test_a_changed_group_is_told(stage: SessionStage) -> None:
    alice = stage.entered()
    changed = dataclasses.replace(stage.services.group("g"), name="New", settings=GroupSettings(send_interval_ms=9))
    stage.tell(GroupEvent(changed))
    (frame,) = alice.take()
    group = frame.group_event.changed.group
    assert (group.name, group.settings.send_interval_ms, group.head_seq) == ("New", 9, 10)


def test_an_event_that_fails_does_not_hold_up_the_others(stage: SessionStage) -> None:
    alice = stage.entered()
    good = stage.services.write("g")
    bad = BlockEvent(GroupId("g"), 1, 10, 11, b"", [(11, b"\xff")], [(3, None)], None, 0)  # type: ignore[list-item]
    stage.tell(HeadEvent(GroupId("other"), 1, 5), None, good)  # type: ignore[arg-type]
    assert seen(alice) == [("block", 10, [11])]
    assert stage.counters.events_failed == 1
    assert bad.head_seq == 11


# Routes ------------------------------------------------------------------------------------------------------------------


def test_routes_first_and_last_at_once_counts_each_second(stage: SessionStage) -> None:
    first = stage.entered()
    assert stage.services.routes == [("g", 1)]
    others = [stage.entered("bob") for _ in range(3)]
    assert stage.services.routes == [("g", 1)]
    stage.pass_time(1.1)
    assert stage.services.routes == [("g", 1), ("g", 4)]
    stage.pass_time(3)
    assert len(stage.services.routes) == 2
    assert stage.sessions.rooms_by_size()["<=10"] == 1
    for connection in (first, *others):
        stage.sessions.on_closed(connection, 1000)
    assert stage.services.routes[-1] == ("g", 0)
    assert stage.counters.rooms == stage.counters.sessions == 0


# Departures --------------------------------------------------------------------------------------------------------------


def test_an_expired_token_closes(stage: SessionStage) -> None:
    alice = stage.open(expires_at_ms=stage.clock.now_ms() + 20_000)
    bob = stage.open("bob")
    for connection in (alice, bob):
        stage.answer(connection, 1, enter={"group_id": "g"})
    stage.pass_time(19)
    assert alice.close_code is None
    stage.pass_time(12)
    assert (alice.close_code, bob.close_code) == (CloseCode.TOKEN_EXPIRED, None)
    assert stage.counters.closed == {"TOKEN_EXPIRED": 1}


def test_a_page_that_enters_nothing_is_closed() -> None:
    stage = SessionStage(idle_timeout_ms=10_000)
    stage.services.add_group("g", "alice")
    idle, busy = stage.open(), stage.entered()
    stage.pass_time(16)
    assert (idle.close_code, busy.close_code) == (CloseCode.IDLE_TIMEOUT, None)
    stage.answer(busy, 2, leave={"group_id": "g"})
    stage.pass_time(16)
    assert busy.close_code is CloseCode.IDLE_TIMEOUT


def test_a_drain_spreads_clients_over_the_window(stage: SessionStage) -> None:
    crowd = [stage.open(f"user{number}") for number in range(40)]
    for connection in crowd:
        connection.take()
    assert stage.sessions.drain(10_000) == 40
    assert not stage.sessions.depart()
    delays = [connection.take()[0].drain.reconnect_after_ms for connection in crowd]
    assert len(set(delays)) > 30
    assert max(delays) <= 10_000
    late = stage.open("late")
    assert [frame.WhichOneof("event") for frame in late.take()] == ["welcome", "drain"]
    stage.pass_time(5)
    closed = [delay for delay, connection in zip(delays, crowd, strict=True) if connection.close_code is CloseCode.DRAINING]
    assert sorted(closed) == sorted(delay for delay in delays if delay <= 4_500)
    stage.pass_time(6)
    assert all(connection.close_code is CloseCode.DRAINING for connection in [*crowd, late])


def told(crowd: list[FakeConnection]) -> int:
    return sum(frame.HasField("drain") for connection in crowd for frame in connection.take())


def test_a_drain_of_many_goes_slice_by_slice(stage: SessionStage) -> None:
    crowd = [stage.open(f"user{number}") for number in range(2 * SLICE_SESSIONS + 10)]
    told(crowd)
    stage.sessions.drain(0)
    assert [(stage.sessions.depart(), told(crowd)) for _ in range(3)] == [(True, 64), (True, 64), (False, 10)]
    stage.clock.advance(1)
    closing = []
    for more in (True, True, False):
        assert stage.sessions.depart() is more
        closing.append(sum(connection.close_code is CloseCode.DRAINING for connection in crowd))
    assert closing == [64, 128, 138]


def test_who_leaves_while_the_others_are_told_is_not_told(stage: SessionStage) -> None:
    crowd = [stage.open(f"user{number}") for number in range(SLICE_SESSIONS + 1)]
    told(crowd)
    stage.sessions.drain(1_000)
    stage.sessions.on_closed(crowd[0], 1_000)
    while stage.sessions.depart():
        pass
    assert told(crowd) == SLICE_SESSIONS


def test_an_edge_that_is_called_back_closes_nobody_and_takes_in_again(stage: SessionStage) -> None:
    crowd = [stage.open(f"user{number}") for number in range(2 * SLICE_SESSIONS)]
    told(crowd)
    stage.sessions.drain(1_000)
    stage.sessions.depart()
    stage.sessions.undrain()
    stage.pass_time(5)
    assert told(crowd) == SLICE_SESSIONS
    assert all(connection.close_code is None for connection in crowd)
    late = stage.open("late")
    assert [frame.WhichOneof("event") for frame in late.take()] == ["welcome"]
