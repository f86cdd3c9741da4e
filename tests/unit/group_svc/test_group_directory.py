"""Changes of groups and members: stored, forgotten by the cache, told to the edges."""

from __future__ import annotations

import pytest
from group_fakes import FREE, GROUP, FakeStore, RecordingPublisher

from group_svc.core.directory import Directory
from group_svc.core.membership_cache import MembershipCache
from group_svc.ports import GroupPublication, MemberPublication
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import GroupSettings, Role
from throng.domain.ids import GroupId, UserId
from throng.testing.fake_clock import FakeClock

ANN, BOB, EVE = UserId("ann"), UserId("bob"), UserId("eve")
CLOSED = GroupId("closed")


class Office:
    def __init__(self) -> None:
        self.store, self.out = FakeStore(), RecordingPublisher()
        self.store.add_group(members=["ann"])
        self.store.add_group(group_id=CLOSED, settings=GroupSettings(open=False), members=["ann"])
        self.cache = MembershipCache(self.store, FakeClock())
        self.directory = Directory(self.store, self.cache, self.out)

    def role(self, user_id: UserId) -> Role:
        member = self.cache.lookup([(GROUP, user_id)])[0][1]
        return Role.NONE if member is None else member.role


def test_a_removal_is_seen_by_checks_and_told_to_edges_at_once_i9() -> None:
    office = Office()
    assert office.role(ANN) is Role.MEMBER
    assert office.directory.remove_members(GROUP, [ANN, ANN])[0] == 1
    assert office.role(ANN) is Role.NONE
    (told,) = office.out.items
    assert isinstance(told, MemberPublication)
    assert (told.member.user_id, told.member.role) == (ANN, Role.NONE)


def test_each_change_that_is_told_has_its_own_version_i9() -> None:
    office = Office()
    office.directory.remove_members(GROUP, [UserId("nobody")])
    office.directory.remove_members(GROUP, [ANN, UserId("nobody")])
    assert [item.members_version for item in office.out.items] == [0, 1, 2]


def test_a_removal_is_told_even_when_its_version_cannot_be_read_i9() -> None:
    office = Office()

    def away(group_ids: object) -> list[int]:
        raise unavailable("away")

    office.store.get_members_versions = away  # type: ignore[method-assign]
    office.directory.remove_members(GROUP, [ANN, UserId("nobody")])
    assert [(item.member.role, item.members_version) for item in office.out.items] == [(Role.NONE, 0)] * 2


def test_a_mute_is_seen_and_told() -> None:
    office = Office()
    office.role(ANN)
    office.directory.update_member(GROUP, ANN, role=Role.ADMINISTRATOR, muted_until_ms=99, display_name=None)
    assert office.role(ANN) is Role.ADMINISTRATOR
    assert office.out.items[0].member.muted_until_ms == 99


def test_settings_are_checked_merged_seen_and_told() -> None:
    office = Office()
    office.role(ANN)
    changed = office.directory.update(
        GROUP, name=None, announcement="hear", change_settings=lambda base: GroupSettings(open=base.open, send_interval_ms=5)
    )
    assert (changed.announcement, changed.settings.open, changed.settings.send_interval_ms) == ("hear", True, 5)
    group = office.cache.lookup([(GROUP, ANN)])[0][0]
    assert group is not None
    assert group.settings.send_interval_ms == 5
    assert isinstance(office.out.items[0], GroupPublication)
    with pytest.raises(ThrongError) as refused:
        office.directory.update(
            GROUP, name=None, announcement=None, change_settings=lambda base: GroupSettings(budget_per_second=-1)
        )
    assert refused.value.code is ErrorCode.INVALID_ARGUMENT


def test_entering_joins_open_groups_only_and_needs_one_call_for_members() -> None:
    office = Office()
    results = office.directory.enter([(GROUP, ANN, ""), (GROUP, ANN, "")])
    assert office.store.membership_calls == 1
    assert all(not isinstance(one, ThrongError) for one in results)
    entries = [(GROUP, BOB, "Bob"), (CLOSED, BOB, ""), (GROUP, EVE, ""), (GroupId("none"), EVE, ""), (GROUP, BOB, "again")]
    bob, closed, eve, none, again = office.directory.enter(entries)
    assert office.store.membership_calls == 3
    assert (bob[1].display_name, bob[1].role) == ("Bob", Role.MEMBER)
    assert again == bob
    assert eve[1].user_id == EVE
    assert (closed.code, none.code) == (ErrorCode.NOT_A_MEMBER, ErrorCode.GROUP_NOT_FOUND)
    assert office.out.items == [], "arrivals are not told"


def test_reading_many_joins_nobody() -> None:
    office = Office()
    ann, bob = office.directory.get_many([(GROUP, ANN), (GROUP, BOB)])
    assert ann[0].settings == FREE
    assert bob.code is ErrorCode.NOT_A_MEMBER
    assert (GROUP, BOB) not in office.store.members
