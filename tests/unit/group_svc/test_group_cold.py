"""A group that was spoken in and fell silent leaves nothing behind in the write path but its place in caches of bounded size."""

from __future__ import annotations

import pytest
from group_fakes import FakeRecent, FakeStore, RecordingPublisher, stored, submission
from prometheus_client import CollectorRegistry

from group_svc.core.block_pump import BlockPump, Stored
from group_svc.core.commit_queue import CommitQueue
from group_svc.core.history import History
from group_svc.core.hot_groups import WINDOW_SECONDS, HotGroups
from group_svc.core.pending import Pending
from group_svc.metrics import GroupMetrics
from group_svc.ports import Candidate
from throng.domain.group import GroupSettings, Role
from throng.domain.ids import GroupId
from throng.domain.message import Lane
from throng.testing.fake_clock import FakeClock

GROUPS = [GroupId(f"g{number}") for number in range(500)]
SETTINGS = GroupSettings()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_line_before_the_writer_goes_with_its_last_message() -> None:
    queue = CommitQueue()
    for group_id in GROUPS:
        candidate = Candidate(submission("a", group_id=group_id), None, "", Lane.HIGH, Role.MEMBER)
        queue.put([Pending(candidate, SETTINGS, 0, 0)])
    assert queue.groups == len(GROUPS)
    assert len(queue.take(1_000, 0.0)) == len(GROUPS)
    assert queue.groups == 0
    assert queue.take(1_000, 0.0) == []
    assert not queue._turns
    assert not queue._hurrying


def test_a_single_message_goes_at_once_and_leaves_no_deadline(clock: FakeClock) -> None:
    out = RecordingPublisher()
    pump = BlockPump(out, out, clock, GroupMetrics(CollectorRegistry()))
    pump.add([Stored(group_id, 1, [stored(1)], [], SETTINGS) for group_id in GROUPS])
    assert len(out.blocks) == len(GROUPS)
    assert pump._former.next_deadline() is None, "no timer"
    clock.advance(11.0)
    for _ in range(len(GROUPS)):
        pump.flush_due()
    assert pump._former.groups == 0, "forgotten without another message"


def test_rates_are_counted_for_no_group_that_is_silent(clock: FakeClock) -> None:
    hot = HotGroups(clock)
    hot.note(GROUPS)
    for _ in range(2):
        clock.advance(WINDOW_SECONDS)
        assert hot.rates() == []
    assert not hot._counts


def test_a_cold_group_is_read_from_the_store_once(clock: FakeClock) -> None:
    store, recent = FakeStore(), FakeRecent()
    store.add_group(members=["a"], group_id=GROUPS[0])
    store.commit([Candidate(submission("a", group_id=GROUPS[0]), None, "", Lane.NORMAL, Role.MEMBER) for _ in range(30)], now_ms=1)
    history = History(store, store, recent, clock, GroupMetrics(CollectorRegistry()))
    assert recent.pages == {}, "nothing is cached before somebody asks"
    for _ in range(20):
        assert len(history.read_before(GROUPS[0], before_seq=0, limit=20).messages) == 20
    assert store.reads == 1
    assert recent.puts == 1
