"""HIGH overtakes NORMAL, nobody overtakes themself (I4), groups take turns, and the queue is bounded (I8)."""

from __future__ import annotations

import collections
import threading

import pytest
from group_fakes import FREE, submission
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from group_svc.core.commit_queue import CommitQueue
from group_svc.core.pending import Pending
from group_svc.ports import Candidate
from throng.domain.errors import unavailable
from throng.domain.group import Role
from throng.domain.ids import GroupId
from throng.domain.message import Lane


def pending(
    user: str, lane: Lane, offset: int = 0, *, refused: bool = False, group: str = "g", body: bytes | None = None
) -> Pending:
    refusal = unavailable("no") if refused else None
    sent = submission(user, group_id=GroupId(group), body=body)
    return Pending(Candidate(sent, refusal, "", lane, Role.MEMBER), FREE, 0, offset)


def order(queue: CommitQueue, most: int = 100) -> list[int]:
    return [item.place for item in queue.take(most, 0.0)]


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


def groups_of(taken: list[Pending]) -> list[str]:
    return [item.candidate.submission.group_id for item in taken]


def test_a_hot_group_takes_its_turn_and_no_more() -> None:
    queue = CommitQueue(turn=3)
    queue.put([pending("a", Lane.NORMAL, group="hot") for _ in range(10)])
    queue.put([pending("b", Lane.NORMAL, group="s1"), pending("c", Lane.NORMAL, group="s2")])
    assert groups_of(queue.take(8, 0.0)) == ["hot", "hot", "hot", "s1", "s2", "hot", "hot", "hot"]
    queue.put([pending("d", Lane.NORMAL, group="s3")])
    assert groups_of(queue.take(8, 0.0)) == ["hot", "hot", "hot", "s3", "hot"]
    assert len(queue) == queue.groups == 0


def test_a_turn_goes_on_with_the_next_batch() -> None:
    queue = CommitQueue(turn=3)
    queue.put([pending("a", Lane.NORMAL, group="hot") for _ in range(6)] + [pending("b", Lane.NORMAL, group="small")])
    assert groups_of(queue.take(2, 0.0)) == ["hot", "hot"]
    assert groups_of(queue.take(3, 0.0)) == ["hot", "small", "hot"]


def test_large_messages_use_up_more_of_a_turn() -> None:
    queue = CommitQueue(turn=3)
    queue.put([pending("a", Lane.NORMAL, group="large", body=b"x" * 5_000) for _ in range(3)])
    queue.put([pending("b", Lane.NORMAL, group="small") for _ in range(9)])
    assert groups_of(queue.take(100, 0.0)) == ["large", *["small"] * 3, "large", *["small"] * 6, "large"]


def test_high_comes_before_the_turns_of_other_groups_up_to_half_a_batch() -> None:
    queue = CommitQueue(turn=2)
    queue.put([pending("a", Lane.NORMAL, 1, group="g1"), pending("b", Lane.NORMAL, 2, group="g2")])
    queue.put([pending("c", Lane.HIGH, number, group="g3") for number in (3, 4, 5, 6)])
    queue.put([pending("d", Lane.HIGH, 7, group="g4")])
    # g3 has a turn of two, g4 its one, g3 a third: half of a batch of eight; then everybody's turn in the order in which they came.
    assert order(queue, 8) == [3, 4, 7, 5, 1, 2, 6]


def test_a_line_that_its_turn_emptied_hurries_no_more() -> None:
    queue = CommitQueue()
    queue.put([pending("a", Lane.HIGH, 1)])
    assert order(queue, 1) == [1]
    queue.put([pending("a", Lane.HIGH, 2), pending("b", Lane.NORMAL, 3)])
    assert order(queue, 100) == [2, 3]


class Turns(RuleBasedStateMachine):
    """Any schedule of puts and takes beside a model that knows only the promises."""

    @initialize(turn=st.integers(1, 4))
    def start(self, turn: int) -> None:
        self.turn = turn
        self.queue = CommitQueue(capacity=60, turn=turn)
        self.put_count = 0
        self.high: dict[str, list[Pending]] = collections.defaultdict(list)
        self.normal: dict[str, list[Pending]] = collections.defaultdict(list)
        self.taken_while_waiting: dict[str, collections.Counter[str]] = {}

    @precondition(lambda self: self.queue.room > 0)
    @rule(
        user=st.sampled_from("abc"),
        group=st.sampled_from(["g1", "g2", "g3"]),
        lane=st.sampled_from([Lane.HIGH, Lane.NORMAL, Lane.NORMAL]),
        refused=st.sampled_from([False, False, False, True]),
        large=st.sampled_from([False, False, True]),
        count=st.integers(1, 6),
    )
    def put(self, user: str, group: str, lane: Lane, refused: bool, large: bool, count: int) -> None:
        for _ in range(min(count, self.queue.room)):
            item = pending(user, lane, self.put_count, refused=refused, group=group, body=b"x" * 2_000 if large else b"x")
            self.put_count += 1
            self.queue.put([item])
            behind_own = any(other.candidate.submission.user_id == user for other in self.normal[group])
            (self.high if lane is Lane.HIGH and not refused and not behind_own else self.normal)[group].append(item)
            self.taken_while_waiting.setdefault(group, collections.Counter())

    @rule(most=st.integers(1, 9))
    def take(self, most: int) -> None:
        waited = len(self.queue)
        taken = self.queue.take(most, 0.0)
        assert len(taken) == min(most, waited)
        for number, item in enumerate(taken):
            self.note(item, may_hurry=number < most // 2)

    def note(self, item: Pending, *, may_hurry: bool) -> None:
        """HIGH first, each in its order: nothing lost or doubled, nobody overtakes themself. Nobody waits longer than a turn each."""
        group = item.candidate.submission.group_id
        lane = self.high[group] or self.normal[group]
        assert lane[:1] == [item]
        lane.pop(0)
        self.taken_while_waiting.pop(group)
        if self.high[group] or self.normal[group]:
            self.taken_while_waiting[group] = collections.Counter()
        if may_hurry:
            return  # it may have come before the turns
        for waiting in self.taken_while_waiting.values():
            waiting[group] += 1
        for other, waiting in self.taken_while_waiting.items():
            if other != group:
                assert waiting[group] <= 2 * self.turn, f"{group} had {waiting[group]} while {other} waited"

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "queue"):
            waiting = sum(len(items) for lane in (self.high, self.normal) for items in lane.values())
            assert len(self.queue) == waiting
            assert self.queue.room == 60 - waiting

    def teardown(self) -> None:
        while hasattr(self, "queue") and len(self.queue):
            self.take(9)


TestTurns = Turns.TestCase


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
        offsets = [item.place for item in taken if item.candidate.submission.user_id == user]
        assert offsets == sorted(offsets)
