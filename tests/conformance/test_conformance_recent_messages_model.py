"""`RecentMessages` under random schedules: whatever it answers is the truth, however late pages come that were read long ago."""

from __future__ import annotations

import dataclasses
import itertools

from conformance_builders import stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from throng.domain.ids import GroupId
from throng.domain.message import MessageKind, StoredMessage

_names = itertools.count()
BOUND = 8
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "recall", "read", "fill", "empty_then_append", "lose_one_then_append"]),
        st.integers(0, 7),
        st.integers(1, 4),
    ),
    min_size=5,
    max_size=30,
)


class Schedule:
    """One writer that puts what it commits, and readers that put back pages that they read at any earlier time.

    A put of the writer may get lost and the cache may be emptied, but the writer's next put follows before anyone looks: until
    then the cache cannot know.
    """

    def __init__(self, recent, empty) -> None:
        self.recent = recent
        self.empty = empty
        self.group = GroupId(f"g{next(_names)}")
        self.truth: list[StoredMessage] = []
        self.pages: list[list[StoredMessage]] = []

    def append(self, _: int, count: int) -> None:
        new = [stored(len(self.truth) + 1 + n) for n in range(count)]
        self.truth += new
        self.recent.put(self.group, 1, new, [])

    def recall(self, back: int, _: int) -> None:
        if target := self._commit_recall(back):
            self.recent.put(self.group, 1, self.truth[-1:], [target])

    def _commit_recall(self, back: int) -> int:
        target = len(self.truth) - back
        if target < 1 or self.truth[target - 1].recalled_by_seq or self.truth[target - 1].kind is MessageKind.RECALL:
            return 0
        event = stored(len(self.truth) + 1, target_seq=target)
        self.truth[target - 1] = dataclasses.replace(self.truth[target - 1], body=b"", recalled_by_seq=event.seq)
        self.truth.append(event)
        return target

    def read(self, back: int, count: int) -> None:
        start = max(0, len(self.truth) - back)
        if page := self.truth[start : start + count + 1]:
            self.pages.append(page)

    def fill(self, back: int, _: int) -> None:
        if self.pages:
            self.recent.put(self.group, 1, self.pages[-1 - back % len(self.pages)], [])

    def empty_then_append(self, back: int, count: int) -> None:
        self.empty()
        if back % 2 and self._commit_recall(back):
            self.recent.put(self.group, 1, self.truth[-1:], [self.truth[-1].seq - 1 - back])
        else:
            self.append(0, count)

    def lose_one_then_append(self, back: int, count: int) -> None:
        if not self._commit_recall(back):
            self.truth.append(stored(len(self.truth) + 1))
        self.append(0, count)

    def check(self) -> None:
        """Every page that is answered is true, and the newest message is there."""
        head = len(self.truth)
        for limit in range(1, BOUND + 2):
            page = self.recent.read_before(self.group, before_seq=0, limit=limit)
            assert page is not None or limit > 1, "what was put last is not here"
            if page is not None:
                assert page.head_seq == head
                assert list(page.messages) == self.truth[max(0, head - limit) :]


@given(steps=STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_true_whatever_comes_late(recent_stage, steps):
    schedule = Schedule(recent_stage.make(BOUND), recent_stage.client.flushall)
    schedule.append(0, 4)
    for verb, back, count in steps:
        getattr(schedule, verb)(back, count)
        schedule.check()
