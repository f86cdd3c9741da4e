"""What `UnreadWindow` promises, on the embedded Redis and on a real one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.ports import Countable, Observation, Observed, WindowView

G = GroupId("g")
BIG = (1 << 53) - 1
_names = itertools.count()


def by(sender_id: str, *seqs: int) -> list[Countable]:
    return [Countable(seq, UserId(sender_id)) for seq in seqs]


def observation(
    prev_seq: int, head_seq: int, added: Sequence[Countable] = (), removed: Sequence[int] = (), *, epoch: int = 1
) -> Observation:
    return Observation(G, epoch, prev_seq, head_seq, added, removed)


@pytest.fixture
def client(redis_place: tuple[str, Any]) -> Any:
    return redis_place[1]


@pytest.fixture
def window(redis_place: tuple[str, Any]) -> Iterator[RedisUnreadWindow]:
    window = RedisUnreadWindow(RedisThreads(RedisAccess(redis_place[0])), lifetime_seconds=1_000)
    yield window
    window.close()


def observe(window: RedisUnreadWindow, *observations: Observation) -> list[Observed]:
    return window.observe(observations)


def read(window: RedisUnreadWindow, after_seq: int = 0) -> WindowView | None:
    return window.read([(G, after_seq)])[0]


def seqs(window: RedisUnreadWindow, after_seq: int = 0) -> list[int]:
    view = read(window, after_seq)
    assert view is not None
    return [entry.seq for entry in view.entries]


def test_there_is_no_window_at_first(window: RedisUnreadWindow) -> None:
    assert window.read([(G, 0), (GroupId("h"), 5)]) == [None, None]
    assert window.read([]) == []
    assert window.observe([]) == []


def test_the_first_observation_starts_a_window_that_is_complete_behind_its_prev_seq(window: RedisUnreadWindow) -> None:
    assert observe(window, observation(7, 9, by("u", 8, 9))) == [Observed.STARTED]
    assert read(window) == WindowView(1, 9, 7, 2, tuple(by("u", 8, 9)))


def test_observations_go_on_in_order(window: RedisUnreadWindow) -> None:
    outcomes = observe(window, observation(0, 2, by("u", 1, 2)), observation(2, 3, by("v", 3)), observation(3, 4, by("u", 4)))
    assert outcomes == [Observed.STARTED, Observed.ADVANCED, Observed.ADVANCED]
    assert read(window) == WindowView(1, 4, 0, 4, (*by("u", 1, 2), *by("v", 3), *by("u", 4)))


def test_reading_above_a_seq_gives_what_is_above_it(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 4, by("u", 1, 2, 4)))
    assert read(window, 2) == WindowView(1, 4, 2, 3, tuple(by("u", 4)))
    assert read(window, 3) == WindowView(1, 4, 3, 3, tuple(by("u", 4)))
    assert read(window, 9) == WindowView(1, 4, 9, 3, ())


def test_senders_keep_every_allowed_character(window: RedisUnreadWindow) -> None:
    entries = [*by("a:b:", 1), *by("", 2), *by("-._", 3), *by("7:", 4)]
    observe(window, observation(0, 4, entries))
    view = read(window)
    assert view is not None
    assert list(view.entries) == entries


def test_repeated_observations_change_nothing(window: RedisUnreadWindow) -> None:
    first, second = observation(0, 2, by("u", 1, 2)), observation(2, 3, by("u", 3))
    observe(window, first, second)
    before = read(window)
    assert observe(window, first, second, first) == [Observed.REPEATED] * 3
    assert read(window) == before


def test_what_was_recalled_does_not_come_back_with_a_repeated_observation(window: RedisUnreadWindow) -> None:
    first = observation(0, 2, by("u", 1, 2))
    observe(window, first, observation(2, 3, removed=[1]))
    assert observe(window, first) == [Observed.REPEATED]
    assert read(window) == WindowView(1, 3, 0, 1, tuple(by("u", 2)))


def test_recalls_leave_the_window(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 3, by("u", 1, 2, 3)), observation(3, 5, removed=[1, 3]))
    assert seqs(window) == [2]


def test_added_and_recalled_in_one_observation(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 3, by("u", 1, 2), [2]))
    assert seqs(window) == [1]


def test_a_recall_that_comes_late_applies(window: RedisUnreadWindow) -> None:
    window.install(G, WindowView(1, 4, 0, 2, tuple(by("u", 1, 2))))
    assert observe(window, observation(2, 3, removed=[1])) == [Observed.REPEATED]
    view = read(window)
    assert view is not None
    assert (view.head_seq, [entry.seq for entry in view.entries]) == (4, [2])


def test_an_observation_that_overlaps_adds_only_what_is_new(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 3, by("u", 1, 2)), observation(3, 4, removed=[2]))
    assert observe(window, observation(1, 6, by("u", 2, 5, 6))) == [Observed.ADVANCED]
    assert read(window) == WindowView(1, 6, 0, 3, tuple(by("u", 1, 5, 6)))


def test_a_gap_begins_the_window_anew(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 2, by("u", 1, 2)))
    assert observe(window, observation(3, 5, by("u", 5))) == [Observed.GAP]
    assert read(window) == WindowView(1, 5, 3, 1, tuple(by("u", 5)))


def test_a_new_epoch_begins_the_window_anew_and_an_old_one_is_ignored(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 9, by("u", 8, 9)))
    assert observe(window, observation(4, 5, by("u", 5), epoch=2)) == [Observed.GAP]
    assert observe(window, observation(5, 9, by("u", 9), [5], epoch=1)) == [Observed.OLD_EPOCH]
    assert read(window) == WindowView(2, 5, 4, 1, tuple(by("u", 5)))


def test_at_most_100_are_kept_and_the_floor_rises(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 250, by("u", *range(1, 251))))
    view = read(window)
    assert view is not None
    assert (view.floor_seq, view.size, [entry.seq for entry in view.entries]) == (150, 100, list(range(151, 251)))
    observe(window, observation(250, 252, by("u", 252)))
    view = read(window)
    assert view is not None
    assert (view.floor_seq, view.size, view.entries[0].seq) == (151, 100, 152)


def test_the_floor_does_not_rise_without_need(window: RedisUnreadWindow) -> None:
    observe(window, observation(0, 200, by("u", *range(101, 201))))
    view = read(window)
    assert view is not None
    assert (view.floor_seq, view.size) == (0, 100)


def test_installing_replaces(window: RedisUnreadWindow) -> None:
    observe(window, observation(5, 6, by("u", 6)))
    assert window.install(G, WindowView(1, 8, 2, 3, tuple(by("u", 3, 4, 8)))) is True
    assert read(window) == WindowView(1, 8, 2, 3, tuple(by("u", 3, 4, 8)))
    assert observe(window, observation(8, 9, by("u", 9))) == [Observed.ADVANCED]


def test_installing_an_older_head_keeps_the_newer_window(window: RedisUnreadWindow) -> None:
    observe(window, observation(5, 9, by("u", 9)))
    assert window.install(G, WindowView(1, 8, 0, 2, tuple(by("u", 3, 8)))) is False
    assert read(window) == WindowView(1, 9, 5, 1, tuple(by("u", 9)))


def test_installing_the_same_head_lowers_the_floor(window: RedisUnreadWindow) -> None:
    observe(window, observation(5, 9, by("u", 9)))
    assert window.install(G, WindowView(1, 9, 0, 2, tuple(by("u", 3, 9)))) is True
    assert read(window) == WindowView(1, 9, 0, 2, tuple(by("u", 3, 9)))


def test_installing_another_epoch_replaces(window: RedisUnreadWindow) -> None:
    observe(window, observation(5, 9, by("u", 9)))
    assert window.install(G, WindowView(2, 3, 0, 1, tuple(by("u", 1)))) is True
    assert read(window) == WindowView(2, 3, 0, 1, tuple(by("u", 1)))


def test_an_empty_window_is_a_window(window: RedisUnreadWindow) -> None:
    window.install(G, WindowView(1, 4, 0, 0, ()))
    assert read(window) == WindowView(1, 4, 0, 0, ())
    assert observe(window, observation(4, 5, by("u", 5))) == [Observed.ADVANCED]


def test_large_seqs_are_exact(window: RedisUnreadWindow) -> None:
    observe(window, observation(BIG - 4, BIG - 1, by("u", BIG - 3, BIG - 2, BIG - 1)), observation(BIG - 1, BIG, removed=[BIG - 2]))
    assert read(window, BIG - 3) == WindowView(1, BIG, BIG - 3, 2, tuple(by("u", BIG - 1)))
    window.install(G, WindowView(1, BIG, BIG - 2, 1, tuple(by("u", BIG))))
    assert read(window) == WindowView(1, BIG, BIG - 2, 1, tuple(by("u", BIG)))


def test_flushall_leaves_no_window_and_observing_starts_anew(window: RedisUnreadWindow, client: Any) -> None:
    """I10"""
    observe(window, observation(0, 2, by("u", 1, 2)))
    client.flushall()
    assert read(window) is None
    assert observe(window, observation(2, 3, by("u", 3))) == [Observed.STARTED]
    assert read(window) == WindowView(1, 3, 2, 1, tuple(by("u", 3)))


def test_scripts_that_the_server_lost_are_loaded_again(window: RedisUnreadWindow, client: Any) -> None:
    """I10"""
    observe(window, observation(0, 2, by("u", 1, 2)))
    client.script_flush()
    assert seqs(window) == [1, 2]
    client.script_flush()
    assert observe(window, observation(2, 3, by("u", 3))) == [Observed.ADVANCED]
    client.script_flush()
    assert window.install(G, WindowView(1, 9, 0, 0, ())) is True


@pytest.mark.parametrize("key", ["throng:unread:recent:{g}", "throng:unread:meta:{g}"])
def test_a_window_of_which_a_part_was_evicted_is_missing(window: RedisUnreadWindow, client: Any, key: str) -> None:
    observe(window, observation(0, 2, by("u", 1, 2)))
    client.delete(key)
    assert read(window) is None
    assert observe(window, observation(2, 3, by("u", 3))) == [Observed.STARTED]
    assert read(window) == WindowView(1, 3, 2, 1, tuple(by("u", 3)))


def test_a_silent_group_is_forgotten_after_its_lifetime(window: RedisUnreadWindow, client: Any) -> None:
    observe(window, observation(0, 1, by("u", 1)))
    for key in ("throng:unread:recent:{g}", "throng:unread:meta:{g}"):
        assert 0 < client.ttl(key) <= 1_000


def test_groups_do_not_touch_each_other(window: RedisUnreadWindow) -> None:
    many = [Observation(GroupId(f"g{number}"), 1, 0, 1, by(f"u{number}", 1)) for number in range(1_200)]
    assert window.observe(many) == [Observed.STARTED] * 1_200
    views = window.read([(observed.group_id, 0) for observed in reversed(many)])
    assert [view.entries[0].sender_id for view in views if view] == [f"u{number}" for number in reversed(range(1_200))]


def test_a_redis_that_is_away_is_unavailable() -> None:
    window = RedisUnreadWindow(RedisThreads(RedisAccess("redis://127.0.0.1:1/0", timeout_seconds=0.2)), lifetime_seconds=1_000)
    for call in (
        lambda: window.read([(G, 0)]),
        lambda: window.observe([observation(0, 1)]),
        lambda: window.install(G, WindowView(1, 1, 0, 0, ())),
    ):
        with pytest.raises(ThrongError) as raised:
            call()
        assert raised.value.code is ErrorCode.UNAVAILABLE
    window.close()
