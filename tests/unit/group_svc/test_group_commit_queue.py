"""HIGH overtakes NORMAL, nobody overtakes themself (I4), and the queue is bounded (I8)."""

from __future__ import annotations

import threading

import pytest
from group_fakes import FREE, submission
from hypothesis import given
from hypothesis import strategies as st

from group_svc.core.commit_queue import CommitQueue
from group_svc.core.pending import Pending
from group_svc.ports import Candidate
from throng.domain.errors import unavailable
from throng.domain.group import Role
from throng.domain.message import Lane


def pending(user: str, lane: Lane, offset: int = 0, *, refused: bool = False) -> Pending:
    refusal = unavailable("no") if refused else None
    return Pending(Candidate(submission(user), refusal, "", lane, Role.MEMBER), FREE, 0, offset)


def order(queue: CommitQueue, most: int = 100) -> list[int]:
    return [item.offset for item in queue.take(most, 0.0)]


def test_high_goes_first() -> None:
    queue = CommitQueue()
    queue.put([pending("a", Lane.NORMAL, 1), pending("b", Lane.NORMAL, 2), pending("c", Lane.HIGH, 3)])
    assert order(queue) == [3, 1, 2]


def test_high_behind_ones_own_normal_waits_i4() -> None:
    queue = CommitQueue()
    queue.put([pending("a", Lane.NORMAL, 1), pending("a", Lane.HIGH, 2), pending("b", Lane.HIGH, 3)])
    assert order(queue) == [3, 1, 2]


def test_a_flood_of_refused_ones_overtakes_nobody() -> None:
    queue = CommitQueue()
    queue.put([pending("a", Lane.NORMAL, 1), pending("b", Lane.HIGH, 2, refused=True)])
    assert order(queue) == [1, 2]


def test_put_waits_for_room_and_close_ends_the_wait_i8() -> None:
    queue = CommitQueue(capacity=2)
    assert queue.put([pending("a", Lane.NORMAL, 1), pending("a", Lane.NORMAL, 2)])
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(queue.put([pending("a", Lane.NORMAL, 3)])))
    waiting.start()
    assert order(queue, 1) == [1]
    waiting.join(5)
    assert results == [True]
    blocked = threading.Thread(target=lambda: results.append(queue.put([pending("a", Lane.NORMAL, 4)])))
    blocked.start()
    queue.close()
    blocked.join(5)
    assert results == [True, False]
    assert order(queue) == [2, 3]


def test_lanes_that_wait_for_room_do_not_wake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue is normal while the store is slow: whoever waits for room must sleep, not take turns in waking the others."""
    queue = CommitQueue(capacity=1)
    queue.put([pending("a", Lane.NORMAL, 0)])
    waits: list[str] = []
    real_wait = threading.Condition.wait

    def counted(condition: threading.Condition, timeout: float | None = None) -> bool:
        waits.append(threading.current_thread().name)
        return real_wait(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", counted)
    lanes = [
        threading.Thread(target=queue.put, args=([pending(f"u{number}", Lane.NORMAL, number)],), name=f"lane-{number}")
        for number in (1, 2, 3)
    ]
    for lane in lanes:
        lane.start()
    taken: list[int] = []
    while len(taken) < 4:
        taken += order(queue, 1)
    for lane in lanes:
        lane.join(5)
    assert sorted(taken) == [0, 1, 2, 3]
    # Each take may wake all three once; turn by turn it would be thousands.
    assert len([name for name in waits if name.startswith("lane-")]) <= 12


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Lane), st.booleans()), max_size=40), st.integers(1, 7))
def test_each_users_order_is_kept_i4(entries: list[tuple[str, Lane, bool]], most: int) -> None:
    queue = CommitQueue()
    taken: list[Pending] = []
    for offset, (user, lane, take) in enumerate(entries):
        queue.put([pending(user, lane, offset)])
        if take:
            taken += queue.take(most, 0.0)
    while batch := queue.take(most, 0.0):
        taken += batch
    assert len(taken) == len(entries)
    for user in "abc":
        offsets = [item.offset for item in taken if item.candidate.submission.user_id == user]
        assert offsets == sorted(offsets)
