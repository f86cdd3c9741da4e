"""`RecentMessages`: many groups in one call, and the bounds of what one group may take."""

from __future__ import annotations

from conformance_builders import stored

from group_svc.ports import RecentPut
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId
from throng.domain.message import Position, StoredMessage

G1 = GroupId("g1")


def run(first: int, last: int, *, text: str = "") -> list[StoredMessage]:
    return [stored(seq, text=text) if text else stored(seq) for seq in range(first, last + 1)]


def newest(recent, group_id: GroupId, limit: int) -> list[int] | None:
    page = recent.read_before(group_id, before_seq=0, limit=limit)
    return None if page is None else [message.seq for message in page.messages]


def held_seqs(stage) -> list[int]:
    return [int.from_bytes(member[:8], "big") for member in stage.client.zrange("throng:group:recent:{g1}", 0, -1)]


def test_many_puts_are_as_good_as_one_after_the_other(recent_stage):
    recent = recent_stage.make(100)
    groups = [GroupId(f"group-{number}") for number in range(150)]
    puts = [RecentPut(group_id, 1, run(1, 3)) for group_id in groups]
    puts += [RecentPut(group_id, 1, [stored(4, target_seq=2)], [2]) for group_id in groups]
    puts.append(RecentPut(groups[0], 2, run(9, 9)))
    assert recent.put_many(puts) == [None] * 301
    assert recent.get_heads(groups) == [Position(2, 9), *[Position(1, 4)] * 149]
    page = recent.read_after(groups[7], after_seq=0, up_to_seq=0, limit=9)
    assert list(page.messages) == [stored(1), stored(2, recalled_by_seq=4), stored(3), stored(4, target_seq=2)]
    assert recent.put_many([]) == []


def test_each_of_many_puts_has_its_own_outcome(recent_stage):
    recent = recent_stage.make(100)
    recent_stage.client.set("throng:group:recent:{g1}", "of another type")
    recent_stage.client.hset("throng:group:head:{g1}", mapping={"epoch": 1, "seq": 1, "floor": 1, "top": 1, "bytes": 5})
    bad, good = recent.put_many([RecentPut(G1, 1, run(2, 2)), RecentPut(GroupId("other"), 1, run(1, 2))])
    assert isinstance(bad, ThrongError)
    assert bad.code is ErrorCode.INTERNAL
    assert good is None
    assert newest(recent, GroupId("other"), 2) == [1, 2]


def test_bytes_of_a_group_are_bounded_and_the_newest_stays(recent_stage):
    recent = recent_stage.make(100, bound_bytes=20_000)
    recent.put(G1, 1, run(1, 50, text="x" * 900), [])
    held = held_seqs(recent_stage)
    assert held == list(range(50 - len(held) + 1, 51))
    assert 15 <= len(held) <= 22
    for seq in range(51, 90):
        recent.put(G1, 1, run(seq, seq, text="x" * 900), [])
        assert len(held_seqs(recent_stage)) == len(held)
    assert newest(recent, G1, len(held)) == list(range(90 - len(held), 90))
    assert newest(recent, G1, len(held) + 1) is None
    recent.put(G1, 1, run(90, 90, text="x" * 20_400), [])
    assert held_seqs(recent_stage) == [90]
    recent.put(G1, 1, run(91, 91), [])
    assert held_seqs(recent_stage) == [91]


def test_bytes_are_counted_as_they_are_whatever_comes_and_goes(recent_stage):
    recent = recent_stage.make(12, bound_bytes=10_000)
    recent.put(G1, 1, run(20, 24, text="x" * 500), [])
    recent.put(G1, 1, run(17, 22, text="y" * 300), [])
    recent.put(G1, 1, [stored(25, target_seq=21)], [21])
    recent.put(G1, 1, run(26, 33, text="z" * 700), [])
    recent.put(G1, 1, [], [22])
    recent.put(G1, 1, [stored(34, target_seq=23)], [23])
    recent.put(G1, 1, run(14, 24, text="late" * 100), [])
    members = recent_stage.client.zrange("throng:group:recent:{g1}", 0, -1)
    assert int(recent_stage.client.hget("throng:group:head:{g1}", "bytes")) == sum(map(len, members))
    recent.put(G1, 2, run(1, 2), [])
    members = recent_stage.client.zrange("throng:group:recent:{g1}", 0, -1)
    assert int(recent_stage.client.hget("throng:group:head:{g1}", "bytes")) == sum(map(len, members)) > 0


def test_a_page_of_the_largest_messages_fits(recent_stage):
    recent = recent_stage.make(1_000)
    for seq in range(1, 251, 50):
        recent.put(G1, 1, run(seq, seq + 49, text="x" * 20_400), [])
    assert newest(recent, G1, 200) == list(range(51, 251))
    assert len(held_seqs(recent_stage)) < 210
