"""Reported cursors: merged, held at the head, and settings that contradict each other."""

from __future__ import annotations

import pytest
from groups_model import GroupsModel

from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId, UserId
from throng.runtime.settings import SettingsError, load
from throng.testing.fake_clock import FakeClock
from unread_svc.core.cursors import merge
from unread_svc.head_bound import HeadBound
from unread_svc.ports import ReadCursor
from unread_svc.settings import UnreadSettings


def cursor(user_id: str, group_id: str, read_seq: int) -> ReadCursor:
    return ReadCursor(UserId(user_id), GroupId(group_id), read_seq)


def test_merging_keeps_the_highest_and_drops_zeros() -> None:
    reported = [cursor("u", "g", 3), cursor("u", "g", 5), cursor("u", "g", 4), cursor("v", "g", 0), cursor("u", "h", 1)]
    assert merge(reported) == [cursor("u", "g", 5), cursor("u", "h", 1)]


def test_cursors_are_held_at_the_head_and_unknown_groups_dropped() -> None:
    model = GroupsModel()
    model.send("g", "ann", 3)
    bound = HeadBound(model, clock=FakeClock())
    assert bound.apply([cursor("u", "g", 9), cursor("v", "g", 2), cursor("u", "none", 1)]) == [
        cursor("u", "g", 3),
        cursor("v", "g", 2),
    ]


def test_a_fresh_head_serves_until_a_cursor_passes_it_or_it_is_old() -> None:
    model, clock = GroupsModel(), FakeClock()
    model.send("g", "ann", 3)
    bound = HeadBound(model, clock=clock)
    bound.apply([cursor("u", "g", 3)])
    bound.apply([cursor("v", "g", 2)])
    assert model.calls["heads"] == 1
    model.send("g", "ann", 1)
    assert bound.apply([cursor("u", "g", 4)]) == [cursor("u", "g", 4)]
    assert model.calls["heads"] == 2
    clock.advance(2.1)
    bound.apply([cursor("u", "g", 1)])
    assert model.calls["heads"] == 3


def test_without_group_svc_nothing_is_let_through() -> None:
    model = GroupsModel()
    model.away = True
    with pytest.raises(ThrongError):
        HeadBound(model, clock=FakeClock()).apply([cursor("u", "g", 1)])


def test_settings_come_from_the_environment() -> None:
    found = load(UnreadSettings, environment={"THRONG_UNREAD_GROUP_ADDRESSES": "a:1, b:2", "THRONG_UNREAD_PORT": "0"})
    assert (found.group_addresses, found.port) == (("a:1", "b:2"), 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"threads": 8, "max_observe_streams": 8}, "max_observe_streams must be below threads"),
        ({"group_addresses": "nowhere"}, "unread.group_addresses"),
        ({"redis_url": "http://x"}, "unread.redis_url"),
        ({"port": 70_000}, "unread.port"),
    ],
)
def test_wrong_settings_are_named_in_one_sentence(flags: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(UnreadSettings, flags=flags, environment={})
