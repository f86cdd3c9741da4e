"""The gate before the commit queue: a verdict that is waited for holds up its user alone, order is kept (I4), all of it bounded (I8)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from group_fakes import FREE, recall, submission
from hypothesis import given
from hypothesis import strategies as st

from group_svc.core.commit_queue import CommitQueue
from group_svc.core.pending import Pending
from group_svc.core.safety_gate import SafetyGate, SafetyPolicy
from group_svc.ports import Candidate, SafetyVerdict
from throng.domain.errors import ErrorCode, unavailable
from throng.domain.group import Role
from throng.domain.message import Lane, Submission

ALLOWED, BLOCKED, UNDECIDED = SafetyVerdict.ALLOWED, SafetyVerdict.BLOCKED, SafetyVerdict.UNDECIDED


class HookInHand:
    """Decides when the test says so, or at once with `always`."""

    def __init__(self, always: SafetyVerdict | None = None) -> None:
        self.asked: list[tuple[Submission, Callable[[SafetyVerdict], None]]] = []
        self.always = always
        self.most = 0

    def ask(self, one: Submission, decided: Callable[[SafetyVerdict], None]) -> None:
        if self.always is not None:
            decided(self.always)
            return
        self.asked.append((one, decided))
        self.most = max(self.most, len(self.asked))

    def decide(self, user: str, verdict: SafetyVerdict = ALLOWED) -> None:
        place = next(place for place, (one, _) in enumerate(self.asked) if one.user_id == user)
        self.asked.pop(place)[1](verdict)


class Stage:
    def __init__(self, hook: HookInHand | None = None, *, capacity: int = 100, **policy) -> None:
        self.hook = hook or HookInHand()
        self.queue = CommitQueue(capacity=capacity)
        self.gate = SafetyGate(self.queue, self.hook, SafetyPolicy(**policy))
        self.numbers = 0

    def put(self, *users: str, lane: Lane = Lane.NORMAL, one: Submission | None = None, refused: bool = False) -> None:
        for user in users:
            refusal = unavailable("no") if refused else None
            self.gate.put([Pending(Candidate(one or submission(user), refusal, "", lane, Role.MEMBER), FREE, 0, self.numbers)])
            self.numbers += 1

    def taken(self) -> list[int]:
        return [item.place for item in self.queue.take(100, 0.0)]

    def outcomes(self) -> list[ErrorCode | None]:
        refusals = [item.candidate.refusal for item in self.queue.take(100, 0.0)]
        return [None if refusal is None else refusal.code for refusal in refusals]


def test_a_slow_verdict_holds_up_its_user_alone_and_keeps_their_order_i4() -> None:
    stage = Stage()
    stage.put("slow", "quick", "slow")
    stage.hook.decide("quick")
    assert stage.taken() == [1]
    stage.hook.asked.reverse()  # the second of the slow one is decided first
    stage.hook.decide("slow")
    assert stage.taken() == []
    stage.hook.decide("slow")
    assert stage.taken() == [0, 2]
    assert len(stage.gate) == 0


def test_what_is_not_asked_about_passes_but_not_its_own_user() -> None:
    stage = Stage()
    stage.put("a")
    stage.put("a", one=recall("a", 1))
    stage.put("b", one=recall("b", 1))
    stage.put("c", refused=True)
    assert stage.taken() == [2, 3]
    stage.hook.decide("a")
    assert stage.taken() == [0, 1]


@pytest.mark.parametrize(
    ("verdict", "fail_open", "code"),
    [
        (ALLOWED, False, None),
        (BLOCKED, True, ErrorCode.BLOCKED_CONTENT),
        (UNDECIDED, True, None),
        (UNDECIDED, False, ErrorCode.UNAVAILABLE),
    ],
)
def test_verdicts(verdict: SafetyVerdict, fail_open: bool, code: ErrorCode | None) -> None:
    stage = Stage(fail_open=fail_open)
    stage.put("a", lane=Lane.HIGH)
    stage.hook.decide("a", verdict)
    assert stage.outcomes() == [code]


def test_calls_at_a_time_are_bounded_and_the_others_follow_i8() -> None:
    stage = Stage(max_calls=2)
    stage.put("a", "b", "c", "d")
    assert [one.user_id for one, _ in stage.hook.asked] == ["a", "b"]
    stage.hook.decide("b")
    stage.hook.decide("a")
    assert [one.user_id for one, _ in stage.hook.asked] == ["c", "d"]
    assert stage.hook.most == 2


def test_a_hook_that_decides_at_once_is_not_asked_ever_deeper() -> None:
    stage = Stage(capacity=5_000)
    stage.gate = SafetyGate(stage.queue, stage.hook, SafetyPolicy(max_calls=1, capacity=5_000))
    stage.put(*[f"u{number}" for number in range(3_000)])
    stage.hook.always = ALLOWED
    stage.hook.decide("u0")
    assert len(stage.queue) == 3_000


def test_held_messages_keep_their_places_in_the_commit_queue_i8() -> None:
    stage = Stage(capacity=5)
    stage.put("a", "b")
    stage.put("c", one=recall("c", 1))
    assert stage.gate.room == 2
    assert stage.queue.room == 4
    assert stage.gate.wait_for_room(2, 0.0)
    assert not stage.gate.wait_for_room(3, 0.0)
    stage.put("d", "e")
    assert stage.gate.room == 0
    waiting = threading.Thread(target=stage.put, args=("f",))
    waiting.start()
    for user in "abde":
        stage.hook.decide(user)  # returns at once, though nothing has been taken
    assert sorted(stage.taken()) == [0, 1, 2, 3, 4]
    waiting.join(5)
    assert not waiting.is_alive()
    stage.hook.decide("f")
    assert len(stage.queue) == 1


def test_its_own_capacity_bounds_it_too_i8() -> None:
    stage = Stage()
    stage.gate = SafetyGate(stage.queue, stage.hook, SafetyPolicy(capacity=2))
    stage.put("a", "b")
    assert stage.gate.room == 0
    released = threading.Timer(0.05, stage.hook.decide, ["a"])
    released.start()
    assert stage.gate.wait_for_room(1, 10.0)
    released.join()


def test_a_closed_queue_ends_a_wait_and_finish_tells_what_is_left() -> None:
    stage = Stage(capacity=1)
    stage.put("a")
    assert not stage.gate.finish(0.01)
    results: list[bool] = []
    item = Pending(Candidate(submission("b"), None, "", Lane.NORMAL, Role.MEMBER), FREE, 0, 7)
    waiting = threading.Thread(target=lambda: results.append(stage.gate.put([item])))
    waiting.start()
    stage.queue.close()
    waiting.join(5)
    assert results == [False]
    stage.hook.decide("a")
    assert stage.gate.finish(0.0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["text", "recall", "refused"]), st.integers(0, 3)), max_size=40),
    st.integers(1, 4),
)
def test_any_schedule_of_verdicts_keeps_each_users_order_i4(entries: list[tuple[str, str, int]], calls: int) -> None:
    stage = Stage(max_calls=calls)
    users: dict[int, str] = {}
    taken: list[int] = []
    for user, kind, decide in entries:
        users[stage.numbers] = user
        stage.put(user, one=recall(user, 1) if kind == "recall" else None, refused=kind == "refused")
        if decide and decide <= len(stage.hook.asked):
            stage.hook.asked.pop(decide - 1)[1](BLOCKED if decide == 2 else ALLOWED)
            taken += stage.taken()
    while stage.hook.asked:
        stage.hook.asked.pop()[1](ALLOWED)
        taken += stage.taken()
    taken += stage.taken()
    assert sorted(taken) == list(range(len(entries)))
    for user in "abc":
        own = [number for number in taken if users[number] == user]
        assert own == sorted(own)
    assert stage.hook.most <= calls
