"""`MembershipStore`: what stands in its docstring, on every adapter."""

from __future__ import annotations

import threading

import pytest
from conformance_builders import candidate, submission

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery, Group, GroupSettings, Member, OverBudget, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position

G1, G2, NOWHERE = GroupId("g1"), GroupId("g2"), GroupId("nowhere")
ANN, BOB, CID = UserId("ann"), UserId("bob"), UserId("cid")
SETTINGS = GroupSettings(
    open=True,
    send_interval_ms=0,
    budget_per_second=7,
    block_max_messages=3,
    block_interval_ms=20,
    delivery=Delivery.NOTIFY,
    over_budget=OverBudget.SAMPLE,
)


@pytest.fixture
def members(stores):
    stores.members.create_group(Group(G1, "One", created_at_ms=5), owner_id=ANN)
    return stores.members


def say(stores, group: str, count: int) -> None:
    stores.messages.commit([candidate(submission(group)) for _ in range(count)], now_ms=1)


def code(call) -> ErrorCode:
    with pytest.raises(ThrongError) as caught:
        call()
    return caught.value.code


def count_of(members) -> int:
    listed = members.list_members(G1, after_user_id="", limit=10_000)
    count = members.get_group(G1).member_count
    assert count == len(listed), "member_count always equals the number of members"
    return count


def test_a_group_is_kept_whole_and_starts_at_epoch_1_and_head_0(stores):
    asked = Group(G2, "Zwei 二", epoch=9, head_seq=9, member_count=9, settings=SETTINGS, announcement="hi", created_at_ms=77)
    made = stores.members.create_group(asked, owner_id=ANN)
    expected = Group(G2, "Zwei 二", 1, 0, 1, SETTINGS, "hi", 77)
    assert made == expected == stores.members.get_group(G2)
    assert stores.members.list_members(G2, after_user_id="", limit=5) == [Member(ANN, Role.OWNER)]


def test_a_group_may_have_no_owner(stores):
    assert stores.members.create_group(Group(G2, "Two"), owner_id=None).member_count == 0
    assert stores.members.list_members(G2, after_user_id="", limit=5) == []
    assert stores.members.add_members(G2, [Member(ANN, Role.OWNER)]) == (1, 1)


def test_a_group_is_made_once(members):
    before = members.get_group(G1)
    assert code(lambda: members.create_group(Group(G1, "Other"), owner_id=BOB)) is ErrorCode.GROUP_EXISTS
    assert members.get_group(G1) == before
    assert count_of(members) == 1


def test_an_update_replaces_what_is_given(members):
    changed = members.update_group(G1, name="Uno", announcement=None, settings=None)
    assert changed == Group(G1, "Uno", 1, 0, 1, GroupSettings(), "", 5)
    changed = members.update_group(G1, name=None, announcement="hear", settings=SETTINGS)
    assert changed == Group(G1, "Uno", 1, 0, 1, SETTINGS, "hear", 5) == members.get_group(G1)
    assert members.update_group(G1, name=None, announcement="", settings=None).announcement == ""


def test_unknown_groups_are_named(members):
    calls = [
        lambda: members.get_group(NOWHERE),
        lambda: members.update_group(NOWHERE, name="x", announcement=None, settings=None),
        lambda: members.list_members(NOWHERE, after_user_id="", limit=5),
        lambda: members.add_members(NOWHERE, [Member(ANN)]),
        lambda: members.remove_members(NOWHERE, [ANN]),
        lambda: members.update_member(NOWHERE, ANN, role=None, muted_until_ms=None, display_name="x"),
    ]
    assert [code(call) for call in calls] == [ErrorCode.GROUP_NOT_FOUND] * len(calls)


def test_groups_are_paged_by_key_byte_by_byte(stores):
    names = ["B", "a", "A", "b", "a.1", "a-1", "a_1", "a:1", "10", "9"]
    for name in names:
        stores.members.create_group(Group(GroupId(name), name), owner_id=None)
    seen: list[str] = []
    while page := stores.members.list_groups(after_group_id=seen[-1] if seen else "", limit=3):
        seen += [group.group_id for group in page]
    assert seen == sorted(names)


def test_members_are_added_once_and_join_at_the_head(stores, members):
    say(stores, "g1", 4)
    assert members.add_members(G1, [Member(BOB, joined_seq=99, display_name="Bob B", muted_until_ms=8), Member(CID)]) == (2, 3)
    assert members.add_members(G1, [Member(BOB, Role.ADMINISTRATOR, display_name="X"), Member(UserId("dan"))]) == (1, 4)
    listed = members.list_members(G1, after_user_id="ann", limit=2)
    assert listed == [Member(BOB, Role.MEMBER, 4, 8, "Bob B"), Member(CID, Role.MEMBER, 4)]
    assert members.list_members(G1, after_user_id="cid", limit=2) == [Member(UserId("dan"), Role.MEMBER, 4)]
    assert count_of(members) == 4


def test_the_same_person_twice_in_one_call_is_one_member(members):
    assert members.add_members(G1, [Member(BOB, display_name="first"), Member(BOB, display_name="second")]) == (1, 2)
    assert members.remove_members(G1, [BOB, BOB]) == (1, 1)
    assert count_of(members) == 1


def test_nothing_is_added_or_removed_for_nobody(members):
    assert members.add_members(G1, []) == (0, 1)
    assert members.remove_members(G1, []) == (0, 1)


def test_a_group_has_one_owner(members):
    two = [Member(BOB), Member(CID, Role.OWNER)]
    assert code(lambda: members.add_members(G1, two)) is ErrorCode.CONFLICT
    assert count_of(members) == 1
    assert members.add_members(G1, [Member(ANN, Role.OWNER), Member(BOB)]) == (1, 2)


def test_removing_a_non_member_changes_nothing(members):
    members.add_members(G1, [Member(BOB), Member(CID)])
    assert members.remove_members(G1, [BOB, UserId("nobody")]) == (1, 2)
    assert members.remove_members(G1, [BOB]) == (0, 2)
    assert count_of(members) == 2


def test_the_owner_cannot_be_removed_and_then_nobody_is(members):
    members.add_members(G1, [Member(BOB)])
    assert code(lambda: members.remove_members(G1, [BOB, ANN])) is ErrorCode.CONFLICT
    assert count_of(members) == 2


def test_a_member_who_comes_back_starts_anew(stores, members):
    members.add_members(G1, [Member(BOB, Role.ADMINISTRATOR, display_name="Bob")])
    members.remove_members(G1, [BOB])
    say(stores, "g1", 2)
    members.add_members(G1, [Member(BOB)])
    assert members.get_memberships([(G1, BOB)])[0][1] == Member(BOB, Role.MEMBER, 2)


def test_a_member_is_changed_field_by_field(members):
    members.add_members(G1, [Member(BOB)])

    def change(role=None, muted_until_ms=None, display_name=None):
        return members.update_member(G1, BOB, role=role, muted_until_ms=muted_until_ms, display_name=display_name)

    assert change(display_name="Bob") == Member(BOB, Role.MEMBER, 0, 0, "Bob")
    assert change(muted_until_ms=9_999) == Member(BOB, Role.MEMBER, 0, 9_999, "Bob")
    assert change(role=Role.ADMINISTRATOR) == Member(BOB, Role.ADMINISTRATOR, 0, 9_999, "Bob")
    assert change(muted_until_ms=0, display_name="") == Member(BOB, Role.ADMINISTRATOR, 0, 0, "")
    assert change() == members.get_memberships([(G1, BOB)])[0][1]


def test_a_new_owner_makes_the_former_one_an_administrator(members):
    members.add_members(G1, [Member(BOB)])
    assert members.update_member(G1, BOB, role=Role.OWNER, muted_until_ms=None, display_name=None).role is Role.OWNER
    assert [member.role for member in members.list_members(G1, after_user_id="", limit=5)] == [Role.ADMINISTRATOR, Role.OWNER]
    assert members.update_member(G1, BOB, role=Role.OWNER, muted_until_ms=1, display_name=None).muted_until_ms == 1


def test_the_owners_role_cannot_just_be_dropped(members):
    def demote():
        members.update_member(G1, ANN, role=Role.MEMBER, muted_until_ms=None, display_name=None)

    assert code(demote) is ErrorCode.CONFLICT
    assert members.list_members(G1, after_user_id="", limit=5) == [Member(ANN, Role.OWNER)]


def test_only_members_are_changed(members):
    call = lambda: members.update_member(G1, BOB, role=None, muted_until_ms=1, display_name=None)  # noqa: E731
    assert code(call) is ErrorCode.NOT_A_MEMBER


def test_memberships_are_looked_up_in_order_for_many_pairs(stores, members):
    stores.members.create_group(Group(G2, "Two"), owner_id=None)
    many = [UserId(f"user-{n}") for n in range(1_300)]
    members.add_members(G1, [Member(user) for user in many])
    one, two = members.get_group(G1), members.get_group(G2)
    pairs = [(G1, ANN), (G2, ANN), (NOWHERE, ANN), (G1, BOB), (G1, ANN), *((G1, user) for user in many)]
    found = members.get_memberships(pairs)
    assert found[:5] == [(one, Member(ANN, Role.OWNER)), (two, None), (None, None), (one, None), (one, Member(ANN, Role.OWNER))]
    assert found[5:] == [(one, Member(user)) for user in many]
    assert members.get_memberships([]) == []


def test_a_users_groups_are_paged_by_key(stores):
    names = [GroupId(f"g{n}") for n in range(7)]
    for name in names:
        stores.members.create_group(Group(name, name), owner_id=ANN)
    stores.members.add_members(names[3], [Member(BOB)])
    first = stores.members.list_user_groups(ANN, after_group_id="", limit=4)
    rest = stores.members.list_user_groups(ANN, after_group_id=first[-1][0].group_id, limit=4)
    assert [group.group_id for group, _ in first + rest] == names
    assert {member for _, member in first + rest} == {Member(ANN, Role.OWNER)}
    assert stores.members.list_user_groups(BOB, after_group_id="", limit=4) == [
        (stores.members.get_group(names[3]), Member(BOB, Role.MEMBER))
    ]


def test_heads_are_told_in_order(stores, members):
    stores.members.create_group(Group(G2, "Two"), owner_id=None)
    say(stores, "g2", 3)
    assert members.get_heads([NOWHERE, G2, G1, G2]) == [None, Position(1, 3), Position(1, 0), Position(1, 3)]
    assert members.get_heads([GroupId(f"none-{n}") for n in range(1_000)]) == [None] * 1_000
    assert members.get_heads([]) == []


def test_removals_and_changes_of_a_role_or_mute_raise_the_version_joining_does_not(stores, members):
    members.add_members(G1, [Member(BOB), Member(CID)])
    assert members.get_members_versions([G1, NOWHERE]) == [0, 0]
    members.update_member(G1, BOB, role=None, muted_until_ms=9, display_name=None)
    assert members.get_members_versions([G1]) == [1]
    members.remove_members(G1, [BOB, UserId("nobody"), BOB])
    assert members.get_members_versions([NOWHERE, G1, G1]) == [0, 3, 3]
    members.remove_members(G1, [BOB])
    assert members.get_group(G1).members_version == 3
    assert members.get_memberships([(G1, CID)])[0][0].members_version == 3
    assert members.list_user_groups(CID, after_group_id="", limit=5)[0][0].members_version == 3


def test_a_change_is_seen_by_calls_that_start_after_it_even_elsewhere(open_stores, members):
    other = open_stores().members
    members.add_members(G1, [Member(BOB)])
    assert other.get_memberships([(G1, BOB)])[0][1] == Member(BOB)
    other.remove_members(G1, [BOB])
    assert members.get_memberships([(G1, BOB)])[0][1] is None


def test_the_count_is_right_whoever_adds_and_removes_at_once(open_stores, members):
    ends = [open_stores().members, members]
    users = [UserId(f"user-{n}") for n in range(12)]

    def churn(number: int) -> None:
        end = ends[number % 2]
        for turn in range(6):
            end.add_members(G1, [Member(user) for user in users[: 4 + (number + turn) % 8]])
            end.remove_members(G1, users[number : number + 3])

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert count_of(members) > 1
