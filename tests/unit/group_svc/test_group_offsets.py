"""Only what lies below the first unfinished record is committed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from group_svc.core.offsets import OffsetTracker


def test_a_hole_holds_back_what_lies_behind_it() -> None:
    tracker = OffsetTracker()
    for offset in range(5, 10):
        tracker.begin([(0, offset)])
    tracker.finish([(0, 6), (0, 7), (0, 9)])
    assert tracker.committable() == {}
    tracker.finish([(0, 5)])
    assert tracker.committable() == {0: 8}
    assert tracker.unfinished() == 2


def test_a_record_of_many_parts_is_committed_when_the_last_is_finished() -> None:
    tracker = OffsetTracker(parts=4)
    tracker.begin([(0, 5 * 4), (0, 6 * 4), (0, 6 * 4 + 1), (0, 6 * 4 + 2), (0, 8 * 4)])
    tracker.finish([(0, 5 * 4), (0, 6 * 4 + 2), (0, 6 * 4)])
    assert tracker.committable() == {0: 6}
    tracker.finish([(0, 6 * 4), (0, 8 * 4)])
    assert tracker.committable() == {0: 6}, "what is finished twice is one part"
    tracker.finish([(0, 6 * 4 + 1)])
    assert tracker.committable() == {0: 9}


def test_partitions_are_apart_and_dropped_ones_ignored() -> None:
    tracker = OffsetTracker()
    tracker.begin([(0, 1)])
    tracker.begin([(1, 1)])
    tracker.drop([0])
    tracker.finish([(0, 1), (1, 1), (2, 4)])
    assert tracker.committable() == {1: 2}


def test_a_partition_that_comes_back_begins_again() -> None:
    tracker = OffsetTracker()
    tracker.begin([(0, 7)])
    tracker.begin([(0, 8)])
    tracker.begin([(0, 3)])
    tracker.finish([(0, 3)])
    assert tracker.committable() == {0: 4}


def test_waits_for_partitions() -> None:
    tracker = OffsetTracker()
    tracker.begin([(0, 1)])
    assert not tracker.wait_finished([0], 0.0)
    assert tracker.wait_finished([1], 0.0)
    tracker.finish([(0, 1)])
    assert tracker.wait_finished([0], 0.0)


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_never_commits_past_an_unfinished_record(count: int, order: random.Random) -> None:
    tracker = OffsetTracker()
    for offset in range(count):
        tracker.begin([(0, offset)])
    finished: set[int] = set()
    offsets = list(range(count))
    order.shuffle(offsets)
    for offset in offsets:
        tracker.finish([(0, offset)])
        finished.add(offset)
        expected = next((one for one in range(count) if one not in finished), count)
        assert tracker.committable().get(0, 0) == expected
