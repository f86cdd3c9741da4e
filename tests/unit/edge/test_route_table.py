"""Routes as they are reported: changes, snapshot, digest."""

from __future__ import annotations

import hashlib
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.route_table import SNAPSHOT_GROUPS, RouteTable, group_hash
from throng.domain.ids import GroupId

G1, G2 = GroupId("g1"), GroupId("g2")


def test_the_hash_is_the_contracts() -> None:
    assert group_hash("lobby") == int(hashlib.sha256(b"lobby").hexdigest()[:16], 16)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 3))))
def test_the_digest_is_always_that_of_the_groups_held(changes: list[tuple[str, int]]) -> None:
    table = RouteTable()
    held: dict[str, int] = {}
    for group, count in changes:
        table.update([(GroupId(group), count)])
        held[group] = count
    present = [group for group, count in held.items() if count]
    assert len(table) == len(present)
    assert table.xor_hash == reduce(lambda x, y: x ^ y, map(group_hash, present), 0)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 2))), st.data())
def test_whoever_applies_all_reports_holds_what_the_edge_holds(changes: list[tuple[str, int]], data: st.DataObject) -> None:
    table = RouteTable()
    mirror: dict[str, int] = {}
    held: dict[str, int] = {}
    for group, count in changes:
        table.update([(GroupId(group), count)])
        held[group] = count
        if data.draw(st.booleans()):
            mirror.update(table.take_changes()[0])
        if data.draw(st.booleans()):
            mirror = {name: number for part, _ in table.snapshot() for name, number in part}
    mirror.update(table.take_changes()[0])
    assert {g: c for g, c in mirror.items() if c} == {g: c for g, c in held.items() if c}


def test_only_a_first_connection_counts_as_gained() -> None:
    table = RouteTable()
    table.update([(G1, 1)])
    assert table.take_changes() == ([(G1, 1)], [G1])
    table.update([(G1, 2)])
    assert table.take_changes() == ([(G1, 2)], [])
    table.update([(G1, 2)])
    assert not table.changed
    table.update([(G1, 0)])
    assert table.take_changes() == ([(G1, 0)], [])


def test_a_group_that_went_again_was_not_gained() -> None:
    table = RouteTable()
    table.update([(G1, 1)])
    table.update([(G1, 0)])
    assert table.take_changes() == ([(G1, 0)], [])


def test_an_empty_snapshot_is_one_complete_part() -> None:
    assert list(RouteTable().snapshot()) == [([], True)]


def test_large_reports_come_in_parts() -> None:
    table = RouteTable()
    count = SNAPSHOT_GROUPS + 5
    table.update([(GroupId(f"g{number}"), 1) for number in range(count)])
    first, gained = table.take_changes()
    assert (len(first), len(gained), table.changed) == (SNAPSHOT_GROUPS, SNAPSHOT_GROUPS, True)
    rest, gained = table.take_changes()
    assert ([group_id for group_id, _ in rest], table.changed) == (gained, False)
    assert len(gained) == 5
    parts = list(table.snapshot())
    assert [(len(groups), complete) for groups, complete in parts] == [(SNAPSHOT_GROUPS, False), (5, True)]
