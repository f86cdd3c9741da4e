"""Online counts and hidden pages: paced, bounded, and nothing is missed by who comes back (design 9)."""

from __future__ import annotations

import pytest
from session_stage import FakeConnection, SessionStage

from edge.core import presence
from edge.ports import OnlineEvent
from throng.api.client.v1 import client_pb2
from throng.domain.ids import GroupId


@pytest.fixture
def stage() -> SessionStage:
    stage = SessionStage()
    stage.services.add_group("g", "alice", "bob", messages=10)
    return stage


def online(stage: SessionStage, count: int) -> None:
    stage.tell(OnlineEvent([(GroupId("g"), count), (GroupId("elsewhere"), 5)]))


def names(connection: FakeConnection) -> list[str | None]:
    return [frame.WhichOneof("event") for frame in connection.take()]


def counts(connection: FakeConnection) -> list[int]:
    return [frame.online.count for frame in connection.take() if frame.WhichOneof("event") == "online"]


def hide(stage: SessionStage, connection: FakeConnection, *, hidden: bool = True) -> client_pb2.ServerFrame | None:
    connection.take()
    stage.ask(connection, set_visibility={"hidden": hidden})
    frames = connection.take()
    return frames[0] if frames else None


# Online -------------------------------------------------------------------------------------------------------------------


def test_a_count_is_told_in_each_wire_format_and_at_most_once_a_second(stage: SessionStage) -> None:
    alice, bob = stage.entered(), stage.entered("bob", binary=False, delivery="DELIVERY_NOTIFY")
    told = []
    for count in range(10, 40):
        online(stage, count)
        stage.pass_time(0.1)
        told += [(count, shown) for shown in counts(alice)]
    assert [shown for _, shown in told] == [10, 20, 30], "the newest count of each second"
    stage.pass_time(1.0)
    assert counts(alice) == [39]
    assert counts(bob) == [10, 20, 30, 39]
    online(stage, 39)
    stage.pass_time(3)
    assert counts(alice) == []


def test_who_enters_is_told_with_the_group(stage: SessionStage) -> None:
    first = stage.open("alice", groups=["g"])
    stage.services.run()
    assert first.take()[-1].entered.online == 0, "not told yet"
    online(stage, 7)
    for binary in (True, False):
        bob = stage.open("bob", binary=binary, groups=["g"])
        stage.services.run()
        assert bob.take()[-1].entered.online == 7


def test_a_count_below_what_is_connected_here_is_of_a_router_that_took_this_edge_for_dead(stage: SessionStage) -> None:
    alice, _ = stage.entered(), stage.entered("bob")
    stage.pass_time(1.1)
    online(stage, 0)
    stage.pass_time(0.1)
    assert counts(alice) == [2]


def test_the_count_of_a_large_group_goes_with_a_block_and_costs_no_send(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SMALL", 0)
    alice = stage.entered()
    online(stage, 1_000)
    stage.pass_time(0.5)
    assert names(alice) == [], "it waits for a block"
    stage.tell(stage.services.write("g"))
    assert names(alice) == ["block", "online"]
    assert stage.counters.count_sends == 0
    online(stage, 1_001)
    stage.pass_time(1.0)
    assert names(alice) == []
    stage.pass_time(2.1)
    assert counts(alice) == [1_001], "none came"
    assert stage.counters.count_sends == 1


def test_sends_of_counts_are_bounded_for_the_edge_as_a_whole(stage: SessionStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SENDS_PER_SECOND", 2.0)
    stage.services.add_group("other", "alice", "bob")
    alice, bob = stage.entered(), stage.entered("bob")
    for connection in (alice, bob):
        stage.answer(connection, 2, enter={"group_id": "other"})
    for count in range(100):
        stage.tell(OnlineEvent([(GroupId("g"), 10 + count), (GroupId("other"), 20 + count)]))
        stage.pass_time(0.1)
    assert 20 <= stage.counters.count_sends <= 24, "10 s"
    shown = {frame.online.group_id for frame in alice.take() if frame.WhichOneof("event") == "online"}
    assert shown == {"g", "other"}, "they take turns"


# Hidden pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", ["DELIVERY_INLINE", "DELIVERY_NOTIFY"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_hidden_page_gets_one_head_a_second_however_much_is_said(stage: SessionStage, binary: bool, delivery: str) -> None:
    alice = stage.entered(binary=binary, delivery=delivery)
    shown = stage.entered("bob")
    hide(stage, alice)
    heads = []
    for _ in range(30):
        stage.tell(stage.services.write("g"))
        stage.pass_time(0.1)
        for frame in alice.take():
            assert frame.WhichOneof("event") == "notice"
            heads.append(frame.notice.head_seq)
    assert len(heads) == 3
    stage.pass_time(1.0)
    assert [frame.notice.head_seq for frame in alice.take()] == [40], "the newest is told without another message"
    assert names(shown) == ["block"] * 30
    stage.pass_time(5)
    assert alice.take() == []


def test_a_hidden_page_does_not_hear_of_online_counts_until_it_is_shown(stage: SessionStage) -> None:
    alice = stage.entered()
    hide(stage, alice)
    online(stage, 5)
    stage.pass_time(2)
    assert alice.take() == []
    stage.ask(alice, set_visibility={"hidden": False})
    notice, count = alice.take()
    assert (notice.notice.head_seq, count.online.count) == (10, 5)


def test_who_is_shown_again_gets_the_head_pulls_and_goes_on_without_hole_or_double(stage: SessionStage) -> None:
    alice = stage.entered()
    hide(stage, alice)
    for _ in range(5):
        stage.tell(stage.services.write("g", 3))
    notice = hide(stage, alice, hidden=False)
    assert notice is not None
    assert notice.notice.head_seq == 25
    stage.tell(stage.services.write("g"))
    (block,) = alice.take()
    assert (block.block.prev_seq, [message.seq for message in block.block.messages]) == (25, [26])
    upstream = stage.services.calls["fetch_after"]
    pulled = stage.answer(alice, 9, pull={"group_id": "g", "after_seq": 10, "up_to_seq": 25}).pulled
    assert [message.seq for message in pulled.messages] == list(range(11, 26))
    assert stage.services.calls["fetch_after"] == upstream, "from the cache of the edge"


def test_frames_that_wait_when_the_page_is_hidden_are_covered_by_the_head(stage: SessionStage) -> None:
    alice = stage.entered()
    stage.hub.lazy = True
    stage.tell(stage.services.write("g"))
    notice = hide(stage, alice)
    stage.hub.pump()
    assert alice.take() == []
    assert notice is not None
    assert notice.notice.head_seq == 11
    assert hide(stage, alice) is None, "it is hidden already"


def test_a_page_that_enters_while_it_is_hidden_gets_no_blocks(stage: SessionStage) -> None:
    alice = stage.open("alice")
    stage.ask(alice, set_visibility={"hidden": True})
    stage.answer(alice, 1, enter={"group_id": "g"})
    stage.tell(stage.services.write("g"))
    assert alice.take() == []
    stage.pass_time(0.2)
    assert names(alice) == ["notice"]
    stage.ask(alice, leave={"group_id": "g"})
    alice.take()
    stage.tell(stage.services.write("g"))
    stage.pass_time(2)
    assert alice.take() == [], "nothing of a group that was left (I9)"
