"""The cache never lies: not after a lost put, not after an outage, not about a recalled message."""

from __future__ import annotations

import dataclasses

from group_fakes import GROUP, FakeRecent, FakeStore, stored
from prometheus_client import CollectorRegistry

from group_svc.core.history import History
from group_svc.metrics import GroupMetrics
from group_svc.ports import RecentPut
from throng.domain.ids import GroupId
from throng.domain.message import Position
from throng.testing.fake_clock import FakeClock


class Shelf:
    """History over fakes; `commit` does what the writer does."""

    def __init__(self) -> None:
        self.clock, self.store, self.recent = FakeClock(), FakeStore(), FakeRecent()
        self.store.add_group()
        self.history = self.restarted()

    def restarted(self) -> History:
        return History(self.store, self.store, self.recent, self.clock, GroupMetrics(CollectorRegistry()))

    def commit(self, *, recalls: int = 0) -> None:
        messages = self.store.messages[GROUP]
        seq = len(messages) + 1
        messages.append(stored(seq))
        if recalls:
            messages[recalls - 1] = dataclasses.replace(messages[recalls - 1], body=b"", recalled_by_seq=seq)
        self.history.note_committed([RecentPut(GROUP, 1, [messages[-1]], [recalls] if recalls else [])])

    def head(self) -> int:
        (head,) = self.history.heads([GROUP])
        assert head is not None
        return head.seq

    def newest(self, limit: int = 50) -> list[int]:
        return [message.seq for message in self.history.read_before(GROUP, before_seq=0, limit=limit).messages]


def test_reads_come_from_the_cache_once_the_head_was_seen() -> None:
    shelf = Shelf()
    for _ in range(3):
        shelf.commit()
    assert shelf.newest() == [1, 2, 3]
    reads = shelf.store.reads
    shelf.commit()
    assert shelf.newest() == [1, 2, 3, 4]
    assert shelf.head() == 4
    assert [one.seq for one in shelf.history.read_after(GROUP, after_seq=2, up_to_seq=0, limit=9).messages] == [3, 4]
    assert shelf.store.reads == reads


def test_what_is_about_to_be_put_is_read_from_the_store() -> None:
    shelf = Shelf()
    shelf.commit()
    assert shelf.newest() == [1]
    shelf.store.messages[GROUP].append(stored(2))
    assert shelf.newest() == [1], "nobody knows of the second one yet"
    shelf.history.note_heads({GROUP: Position(1, 2), GroupId("never-read"): Position(1, 9)})
    assert (shelf.newest(), shelf.head()) == ([1, 2], 2)
    reads = shelf.store.reads
    assert shelf.newest() == [1, 2]
    assert shelf.store.reads == reads


def test_heads_of_groups_that_do_not_exist_are_none() -> None:
    assert Shelf().history.heads([GroupId("none"), GROUP]) == [None, Position(1, 0)]


def test_a_crash_between_commit_and_put_is_seen_after_the_restart_i6() -> None:
    shelf = Shelf()
    shelf.commit()
    assert shelf.head() == 1
    shelf.recent.lose_puts = True
    shelf.commit()
    shelf.recent.lose_puts = False
    shelf.history = shelf.restarted()
    assert shelf.head() == 2
    assert shelf.newest() == [1, 2]


def test_a_cache_that_fell_back_is_not_believed() -> None:
    shelf = Shelf()
    shelf.commit()
    assert shelf.head() == 1
    shelf.commit()
    shelf.recent.heads[GROUP] = Position(1, 1)
    del shelf.recent.pages[GROUP][2]
    assert shelf.head() == 2
    shelf.recent.heads[GROUP] = Position(1, 1)
    assert shelf.newest() == [1, 2]


def test_an_outage_of_the_cache_is_mended_i6() -> None:
    shelf = Shelf()
    shelf.commit()
    assert shelf.newest() == [1]
    shelf.recent.away = True
    shelf.commit()
    puts = shelf.recent.puts
    for _ in range(20):
        shelf.commit(recalls=1)
        shelf.history.heal()
    assert shelf.head() == 22
    assert len(shelf.newest()) == 22
    shelf.recent.away = False
    shelf.history.heal()
    assert shelf.recent.puts == puts, "the cache gets a pause"
    shelf.clock.advance(20)
    shelf.history.heal()
    assert shelf.history.broken_groups == 0
    assert shelf.recent.pages[GROUP][1].body == b""
    assert shelf.newest() == list(range(1, 23))
    assert shelf.head() == 22
    reads = shelf.store.reads
    assert shelf.head() == 22
    assert shelf.store.reads == reads


def test_a_page_read_before_a_recall_does_not_bring_the_body_back() -> None:
    shelf = Shelf()
    for _ in range(3):
        shelf.commit()
    shelf.recent.pages.clear()
    read = shelf.store.read_before

    def read_while_it_is_recalled(group_id, *, before_seq, limit):
        page = read(group_id, before_seq=before_seq, limit=limit)
        page = dataclasses.replace(page, messages=list(page.messages))
        shelf.commit(recalls=2)
        return page

    shelf.store.read_before = read_while_it_is_recalled
    shelf.newest()
    shelf.store.read_before = read
    bodies = {one.seq: one.body for one in shelf.history.read_before(GROUP, before_seq=0, limit=9).messages}
    assert bodies[2] == b""


def test_old_pages_do_not_push_new_ones_out() -> None:
    shelf = Shelf()
    for _ in range(10):
        shelf.store.messages[GROUP].append(stored(len(shelf.store.messages[GROUP]) + 1))
    page = shelf.history.read_before(GROUP, before_seq=5, limit=2)
    assert [one.seq for one in page.messages] == [3, 4]
    assert GROUP not in shelf.recent.pages
    assert shelf.head() == 10


def test_a_lost_part_of_the_cache_does_not_keep_the_others_waiting() -> None:
    shelf = Shelf()
    other = GroupId("other")
    shelf.store.add_group(group_id=other)
    shelf.recent.lost_groups = {GROUP}

    def commit(seq: int) -> None:
        for group_id in (GROUP, other):
            shelf.store.messages[group_id].append(stored(seq))
        shelf.history.note_committed([RecentPut(group_id, 1, [stored(seq)]) for group_id in (GROUP, other)])

    commit(1)
    assert shelf.history.broken_groups == 1
    commit(2)
    assert sorted(shelf.recent.pages[other]) == [1, 2]
    assert GROUP not in shelf.recent.pages
    shelf.clock.advance(2)
    shelf.history.heal()
    assert shelf.history.broken_groups == 1
    commit(3)
    assert sorted(shelf.recent.pages[other]) == [1, 2, 3]
    shelf.recent.lost_groups = set()
    shelf.clock.advance(20)
    shelf.history.heal()
    assert sorted(shelf.recent.pages[GROUP]) == [1, 2, 3]


def test_a_batch_of_many_groups_is_one_call_of_the_cache() -> None:
    shelf = Shelf()
    calls: list[int] = []
    put_many = shelf.recent.put_many
    shelf.recent.put_many = lambda puts: calls.append(len(puts)) or put_many(puts)
    shelf.history.note_committed([RecentPut(GroupId(f"g{number}"), 1, [stored(1), stored(2), stored(4)]) for number in range(100)])
    assert calls == [200]


def test_what_another_process_committed_and_could_not_put_is_seen_within_seconds_i6() -> None:
    shelf = Shelf()
    shelf.commit()
    reader = shelf.restarted()
    assert reader.heads([GROUP]) == [Position(1, 1)]
    shelf.recent.lose_puts = True  # the writer dies before it has mended this
    shelf.commit()
    shelf.recent.lose_puts = False
    shelf.clock.advance(3.1)
    assert reader.heads([GROUP]) == [Position(1, 2)]
    assert [one.seq for one in reader.read_before(GROUP, before_seq=0, limit=9).messages] == [1, 2]
