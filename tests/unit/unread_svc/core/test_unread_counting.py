"""Counting in a window, and when it cannot tell (I7)."""

from __future__ import annotations

import pytest

from throng.domain.ids import UserId
from throng.domain.message import Position
from unread_svc.core.counting import Gap, Unread, WindowCounts, capped, cursor_in_force, find_gap, view_of
from unread_svc.ports import Countable, CountablePage, WindowView

ANN, BO = UserId("ann"), UserId("bo")


def view(*seqs: int, floor_seq: int = 0, head_seq: int = 0, sender: UserId = BO) -> WindowView:
    entries = tuple(Countable(seq, sender) for seq in seqs)
    return WindowView(1, head_seq or (seqs[-1] if seqs else 0), floor_seq, len(seqs), entries)


@pytest.mark.parametrize(("number", "expected"), [(0, (0, False)), (99, (99, False)), (100, (99, True)), (5_000, (99, True))])
def test_99_is_the_last_exact_number(number: int, expected: tuple[int, bool]) -> None:
    """I7"""
    assert capped(number, 7) == Unread(*expected, 7)


def test_what_came_before_joining_is_not_unread() -> None:
    assert cursor_in_force(read_seq=3, joined_seq=8) == 8
    assert cursor_in_force(read_seq=9, joined_seq=8) == 9


def test_own_messages_do_not_count() -> None:
    """I7"""
    entries = (Countable(1, ANN), Countable(2, BO), Countable(3, ANN), Countable(4, BO))
    counts = WindowCounts(WindowView(1, 4, 0, 4, entries))
    assert counts.count(ANN, 0) == Unread(2, False, 0)
    assert counts.count(BO, 1) == Unread(1, False, 1)


def test_a_cursor_on_a_recalled_seq_counts_what_is_above_it() -> None:
    """I7"""
    assert WindowCounts(view(1, 4, 6)).count(ANN, 4) == Unread(1, False, 4)
    assert WindowCounts(view(1, 4, 6)).count(ANN, 3) == Unread(2, False, 3)
    assert WindowCounts(view(1, 4, 6)).count(ANN, 9) == Unread(0, False, 9)


def test_a_window_tells_down_to_its_floor_and_no_further() -> None:
    counts = WindowCounts(view(11, 12, floor_seq=10))
    assert counts.count(ANN, 10) == Unread(2, False, 10)
    assert counts.count(ANN, 9) is None


def test_a_full_window_of_others_is_99_plus_for_every_cursor_below() -> None:
    counts = WindowCounts(view(*range(101, 201), floor_seq=100))
    assert counts.count(ANN, 3) == Unread(99, True, 3)
    assert counts.count(BO, 3) is None


@pytest.mark.parametrize(
    ("found", "head", "cursor", "gap"),
    [
        (None, Position(1, 5), 0, Gap.MISSING),
        (view(4, 5), Position(2, 5), 0, Gap.OTHER_EPOCH),
        (view(4, 5), Position(1, 6), 0, Gap.BEHIND),
        (view(4, 5, floor_seq=3), Position(1, 5), 2, Gap.SHORT),
        (view(4, 5, floor_seq=3), Position(1, 5), 3, None),
        (view(4, 5, head_seq=9), Position(1, 5), 0, None),
        (view(*range(1, 101), floor_seq=0), Position(1, 100), 0, None),
        (view(*range(51, 151), floor_seq=50), Position(1, 150), 2, None),
    ],
)
def test_when_a_window_is_rebuilt(found: WindowView | None, head: Position, cursor: int, gap: Gap | None) -> None:
    assert find_gap(found, head=head, cursor=cursor) is gap


def test_a_page_that_is_not_full_reaches_down_to_the_beginning() -> None:
    page = CountablePage(Position(3, 9), [Countable(4, BO), Countable(7, ANN)])
    assert view_of(page) == WindowView(3, 9, 0, 2, (Countable(4, BO), Countable(7, ANN)))


def test_a_full_page_reaches_down_to_its_first_message() -> None:
    page = CountablePage(Position(1, 300), [Countable(seq, BO) for seq in range(201, 301)])
    assert view_of(page).floor_seq == 200


def test_what_lies_above_the_head_of_a_page_is_left_out() -> None:
    page = CountablePage(Position(1, 200), [Countable(seq, BO) for seq in range(150, 250)])
    found = view_of(page)
    assert (found.floor_seq, found.size, found.entries[-1].seq) == (149, 51, 200)
    assert view_of(CountablePage(Position(1, 9), page.entries)) == WindowView(1, 9, 9, 0, ())
