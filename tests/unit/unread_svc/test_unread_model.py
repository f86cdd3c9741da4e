"""I7 over random schedules: messages, recalls, reads, joins, lost, repeated and reordered observations, an emptied Redis."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
from groups_model import DictCursors, GroupsModel
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client import CollectorRegistry

from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_calls import Call, command
from throng.adapters.redis_client import RedisThreads
from throng.domain.ids import GroupId, UserId
from throng.testing.fake_clock import FakeClock
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.counter import UnreadCounter
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import Observation, UserInGroup
from unread_svc.rebuild import WindowRebuilder

USERS = ("ann", "bo", "cy")
GROUPS = ("a", "b")
_names = itertools.count()
users = st.sampled_from(USERS)
groups = st.sampled_from(GROUPS)
fractions = st.one_of(st.floats(0, 1), st.just(1.0))
seldom = st.integers(0, 3).map(lambda number: number == 0)


class UnreadMachine(RuleBasedStateMachine):
    """After every step, the counts that are asked for equal the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.model = GroupsModel()
        self.cursors = DictCursors()
        self.redis = RedisThreads(RedisAccess(f"embedded://unread-model-{next(_names)}"))
        self.window = RedisUnreadWindow(self.redis, lifetime_seconds=1_000)
        self.observations: list[Observation] = []
        metrics = UnreadMetrics(CollectorRegistry())
        window = BestEffortWindow(self.window, metrics)
        rebuilder = WindowRebuilder(self.model, window, metrics, wait_seconds=1)
        self.counter = UnreadCounter(self.model, self.cursors, window, rebuilder, metrics, clock=FakeClock())
        for group_id, user_id in itertools.product(GROUPS, USERS):
            self.model.join(group_id, user_id)

    def seq_at(self, group_id: str, fraction: float) -> int:
        return round(fraction * self.model.groups[GroupId(group_id)].head.seq)

    @rule(group_id=groups, user_id=users, number=st.one_of(st.integers(1, 4), st.integers(40, 120)))
    def send(self, group_id: str, user_id: str, number: int) -> None:
        self.model.send(group_id, user_id, number)

    @rule(group_id=groups, fraction=fractions)
    def recall(self, group_id: str, fraction: float) -> None:
        seq = self.seq_at(group_id, fraction)
        if seq and self.model.groups[GroupId(group_id)].messages[seq - 1].counts:
            self.model.recall(group_id, seq)

    @rule(group_id=groups, user_id=users, fraction=fractions)
    def read(self, group_id: str, user_id: str, fraction: float) -> None:
        self.cursors.advance([(UserId(user_id), GroupId(group_id), self.seq_at(group_id, fraction))])

    @rule(group_id=groups, user_id=users)
    def join_again(self, group_id: str, user_id: str) -> None:
        self.model.join(group_id, user_id)

    @rule(group_id=groups, fraction=fractions, happens=seldom)
    def restore(self, group_id: str, fraction: float, happens: bool) -> None:
        if happens:
            self.model.restore(group_id, self.seq_at(group_id, fraction))

    @rule(group_id=groups, lost=seldom)
    def observe(self, group_id: str, lost: bool) -> None:
        observation = self.model.observe(group_id)
        self.observations.append(observation)
        if not lost:
            self.window.observe([observation])

    @rule(fraction=fractions)
    def observe_late_or_again(self, fraction: float) -> None:
        if self.observations:
            self.window.observe([self.observations[round(fraction * (len(self.observations) - 1))]])

    @rule(fraction=fractions, group_id=groups)
    def observe_while_a_window_is_rebuilt(self, fraction: float, group_id: str) -> None:
        self.observations.append(self.model.observe(group_id))
        late = self.observations[round(fraction * (len(self.observations) - 1))]
        self.model.before_answer = lambda: self.window.observe([late, self.observations[-1]])

    @rule(group_id=groups, user_id=users)
    def messages_come_while_a_window_is_rebuilt(self, group_id: str, user_id: str) -> None:
        """What comes during a count may be left out of that count, so that it is made here and not checked."""

        def happen() -> None:
            self.model.send(group_id, user_id, 3)
            self.model.recall(group_id, self.model.groups[GroupId(group_id)].head.seq - 1)
            self.window.observe([self.model.observe(group_id)])

        self.model.before_answer = happen
        self.counter.count_all(UserId(USERS[0]))
        self.model.before_answer = None

    @rule(happens=seldom)
    def empty_redis(self, happens: bool) -> None:
        if happens:
            self.redis.run([Call(("FLUSHALL",), "")])

    @rule(group_id=groups, part=st.sampled_from(["recent", "meta"]), happens=seldom)
    def evict_a_key(self, group_id: str, part: str, happens: bool) -> None:
        if happens:
            self.redis.run([command("DEL", f"throng:unread:{part}:{{{group_id}}}")])

    @rule(user_id=users)
    def count_all_groups(self, user_id: str) -> None:
        """I7"""
        counts = dict(self.counter.count_all(UserId(user_id)))
        assert sorted(counts) == sorted(GROUPS)
        for group_id, unread in counts.items():
            read_seq = self.cursors.read([UserInGroup(UserId(user_id), group_id)])[0]
            assert (unread.count, unread.capped) == self.model.expected(group_id, user_id, read_seq)

    @invariant()
    def a_window_at_the_head_is_complete(self) -> None:
        """I7. Asks the window alone, so that asking does not heal what the next step is to find."""
        group_ids = [GroupId(group_id) for group_id in GROUPS]
        for group_id, view in zip(group_ids, self.window.read([(group_id, 0) for group_id in group_ids]), strict=True):
            group = self.model.groups[group_id]
            if view is not None and (view.epoch, view.head_seq) == (group.head.epoch, group.head.seq):
                whole = {m.seq for m in group.messages if m.counts and m.seq > view.floor_seq}
                assert {entry.seq for entry in view.entries if entry.seq > view.floor_seq} == whole

    @rule()
    def count_pairs(self) -> None:
        """I7"""
        pairs = [UserInGroup(UserId(user_id), GroupId(group_id)) for group_id in GROUPS for user_id in USERS]
        read_seqs = self.cursors.read(pairs)
        for pair, read_seq, unread in zip(pairs, read_seqs, self.counter.count_pairs(pairs), strict=True):
            assert unread is not None
            expected = self.model.expected(pair.group_id, pair.user_id, read_seq)
            assert (unread.count, unread.capped) == expected, (pair, read_seq, unread)


UnreadMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestUnreadModel = UnreadMachine.TestCase
