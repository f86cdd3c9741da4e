"""`RecentMessages` under random schedules: whatever it answers is the truth, however late pages come that were read long ago."""

from __future__ import annotations

import dataclasses
import itertools

from conformance_builders import stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from throng.domain.ids import GroupId
from throng.domain.message import StoredMessage

_names = itertools.count()
BOUND = 6
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4), st.integers(0, 30)),
        st.tuples(st.just("recall"), st.integers(1, 30), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 30), st.integers(1, 8)),
        st.tuples(st.just("fill"), st.integers(0, 9), st.just(0)),
    ),
    max_size=25,
)


class Schedule:
    """One writer that puts all it commits, and readers that put back pages they read at any earlier time."""

    def __init__(self, recent) -> None:
        self.recent = recent
        self.group = GroupId(f"g{next(_names)}")
        self.truth: list[StoredMessage] = []
        self.pages: list[list[StoredMessage]] = []

    def append(self, count: int, _: int) -> None:
        new = [stored(len(self.truth) + 1 + n) for n in range(count)]
        self.truth += new
        self.recent.put(self.group, 1, new, [])

    def recall(self, target: int, _: int) -> None:
        if target > len(self.truth) or self.truth[target - 1].recalled_by_seq or not target % 5:
            return
        if self.truth[target - 1].kind is not stored(1).kind:
            return
        event = stored(len(self.truth) + 1, target_seq=target)
        self.truth[target - 1] = dataclasses.replace(self.truth[target - 1], body=b"", recalled_by_seq=event.seq)
        self.truth.append(event)
        self.recent.put(self.group, 1, [event], [target])

    def read(self, after_seq: int, count: int) -> None:
        if page := self.truth[after_seq : after_seq + count]:
            self.pages.append(page)

    def fill(self, number: int, _: int) -> None:
        if self.pages:
            self.recent.put(self.group, 1, self.pages[number % len(self.pages)], [])

    def check(self) -> None:
        head = len(self.truth)
        for limit in range(1, BOUND + 2):
            page = self.recent.read_before(self.group, before_seq=0, limit=limit)
            if page is not None:
                assert page.head_seq == head
                assert list(page.messages) == self.truth[max(0, head - limit) :]
        if head:
            assert self.recent.read_before(self.group, before_seq=0, limit=1) is not None, "what was put last is here"


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_true_whatever_comes_late(recent_stage, steps):
    schedule = Schedule(recent_stage.make(BOUND))
    for verb, first, second in steps:
        getattr(schedule, verb)(first, second)
        schedule.check()
