"""A receiver: what a server may do passes, and what it may not do is found and called by its name."""

from __future__ import annotations

import pytest

from throng.bench.findings import Findings, Kind
from throng.bench.group_view import GroupView
from throng.bench.latencies import Latencies
from throng.bench.pages import Page, flaw_of
from throng.bench.receiver import Receiver
from throng.bench.series import Slot


def page(after: int, count: int, *, group: str = "g", epoch: int = 1, written: int = 1, salt: int = 0) -> Page:
    seqs = list(range(after + 1, after + count + 1))
    return Page(group, epoch, after, after + count, tuple(seq * 1000 + salt for seq in seqs), (written,) * count)


class Stage:
    """A receiver that has entered at seq 10."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.slot = Slot()
        self.view = GroupView("g", self.findings, Latencies(), self.slot)
        self.receiver = Receiver("r1", "g", self.view, self.findings)
        self.receiver.on_entered(page(8, 2), 10, reset=False, now_ns=1)

    def block(self, one: Page) -> None:
        self.view.note(one, "receivers")
        self.receiver.on_page(one, 5)

    @property
    def kinds(self) -> dict[Kind, int]:
        return self.findings.counts


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_lies_before_entering_is_not_expected(stage: Stage) -> None:
    assert (stage.receiver.base_seq, stage.receiver.held_seq) == (10, 10)
    assert stage.receiver.next_pull() is None


def test_blocks_in_order_are_shown(stage: Stage) -> None:
    stage.block(page(10, 3))
    stage.block(page(13, 1))
    assert stage.receiver.held_seq == 14
    assert stage.slot.delivered == 4
    assert stage.kinds == {}


def test_a_gap_is_pulled_and_closed_by_several_pages(stage: Stage) -> None:
    stage.block(page(14, 1))
    assert stage.receiver.next_pull() == (1, 10, 14)
    stage.receiver.pulling = True
    assert stage.receiver.next_pull() is None
    stage.receiver.on_pulled(page(10, 2), 15, 6)
    assert stage.receiver.next_pull() == (1, 12, 14)
    stage.receiver.on_pulled(page(12, 2), 15, 6)
    assert stage.receiver.held_seq == 15
    assert stage.slot.delivered == 5
    assert stage.receiver.next_pull() is None
    assert (stage.receiver.gaps, stage.kinds) == (1, {})


def test_a_gap_that_is_never_closed_stays_open(stage: Stage) -> None:
    stage.block(page(11, 4))
    assert stage.receiver.held_seq == 10
    assert stage.view.known_head == 15


def test_a_duplicate_is_dropped_and_counted(stage: Stage) -> None:
    stage.block(page(10, 2))
    stage.block(page(10, 2))
    stage.block(page(11, 2))
    assert stage.receiver.held_seq == 13
    assert stage.receiver.redundant == 3
    assert stage.slot.delivered == 3
    assert stage.kinds == {}


def test_swapped_blocks_are_put_in_order(stage: Stage) -> None:
    stage.block(page(11, 1))
    stage.block(page(10, 1))
    assert stage.receiver.held_seq == 12
    assert stage.kinds == {}


def test_a_swap_inside_a_block_is_misordered(stage: Stage) -> None:
    flaw = flaw_of(10, [12, 11])
    stage.block(Page("g", 1, 10, 11, (1, 2), (0, 0), flaw))
    assert stage.kinds == {Kind.MISORDERED: 1}
    assert stage.receiver.held_seq == 10


def test_a_hole_inside_a_block_is_misordered(stage: Stage) -> None:
    stage.block(Page("g", 1, 10, 13, (1, 2), (0, 0), flaw_of(10, [11, 13])))
    assert stage.kinds == {Kind.MISORDERED: 1}


def test_a_message_of_a_foreign_group_is_found(stage: Stage) -> None:
    stage.block(page(10, 1, group="other"))
    stage.receiver.on_notice("other", 1, 3)
    assert stage.kinds == {Kind.FOREIGN: 2}
    assert stage.receiver.held_seq == 10


def test_two_different_messages_with_one_seq_are_a_conflict(stage: Stage) -> None:
    stage.block(page(10, 1))
    stage.block(page(10, 1, salt=7))
    assert stage.kinds == {Kind.CONFLICT: 1}
    assert stage.findings.examples[0].seq == 11


def test_a_pull_that_is_answered_behind_the_gap_is_a_hole(stage: Stage) -> None:
    stage.receiver.on_notice("g", 1, 15)
    stage.receiver.on_pulled(page(12, 3), 15, 6)
    assert stage.kinds == {Kind.HOLE_IN_HISTORY: 1}
    assert stage.receiver.held_seq == 10


def test_a_notice_is_pulled(stage: Stage) -> None:
    stage.receiver.on_notice("g", 1, 12)
    assert stage.receiver.next_pull() == (1, 10, 12)


def test_coming_back_after_more_than_a_page_pulls_what_lies_between(stage: Stage) -> None:
    stage.receiver.on_offline()
    stage.receiver.on_entered(page(60, 50), 110, reset=False, now_ns=100)
    assert stage.receiver.next_pull() == (1, 10, 60)
    stage.receiver.on_pulled(page(10, 50), 110, 400)
    assert stage.receiver.held_seq == 110
    assert stage.receiver.catch_up_ns_max == 300
    assert stage.kinds == {}


def test_a_change_of_epoch_is_told_and_counting_starts_anew(stage: Stage) -> None:
    stage.block(page(0, 1, epoch=2))
    assert not stage.receiver.online, "it has to enter again"
    stage.receiver.on_entered(page(0, 1, epoch=2), 1, reset=True, now_ns=9)
    assert stage.kinds == {Kind.EPOCH_CHANGED: 1}
    assert (stage.receiver.epoch, stage.receiver.base_seq) == (2, 1)
    stage.block(page(1, 1, epoch=2))
    assert stage.receiver.held_seq == 2


def test_an_epoch_that_goes_back_is_found(stage: Stage) -> None:
    stage.receiver.on_entered(page(0, 1, epoch=3), 1, reset=True, now_ns=9)
    stage.block(page(1, 1, epoch=2))
    assert stage.kinds == {Kind.EPOCH_CHANGED: 1, Kind.EPOCH_WENT_BACK: 1}


def test_it_is_known_since_when_a_receiver_lacks_something(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100
    monkeypatch.setattr("throng.bench.group_view.time.monotonic_ns", lambda: now)
    assert stage.view.lacking_since_ns(10) == 0
    stage.view.hear(1, 12)
    now = 200
    stage.view.hear(1, 11)
    stage.view.hear(1, 14)
    assert stage.view.lacking_since_ns(10) == 100, "a message counts from when it was known, however old it is"
    assert stage.view.lacking_since_ns(12) == 200
    assert stage.view.lacking_since_ns(14) == 0
    stage.view.start(2, 0)
    assert stage.view.lacking_since_ns(0) == 0
