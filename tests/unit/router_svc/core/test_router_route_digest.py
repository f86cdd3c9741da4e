"""The digest over an edge's groups, as router.proto defines it."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from router_svc.core.route_digest import HeldGroups, group_hash
from throng.domain.ids import GroupId

GROUPS = st.sampled_from([GroupId(f"g{n}") for n in range(8)])


def test_a_group_adds_the_first_eight_bytes_of_its_sha_256() -> None:
    assert group_hash("lobby") == int(hashlib.sha256(b"lobby").hexdigest()[:16], 16)


@given(st.lists(st.tuples(GROUPS, st.integers(0, 3))))
def test_the_digest_depends_only_on_what_is_held(changes: list[tuple[GroupId, int]]) -> None:
    held = HeldGroups()
    for group_id, connections in changes:
        held.update({group_id: connections})
    final = {group_id for group_id, connections in dict(changes).items() if connections}
    expected = 0
    for group_id in final:
        expected ^= group_hash(group_id)
    assert held.matches(len(final), expected)
    assert held.group_count == len(final)
    assert not held.matches(len(final), expected ^ 1)
    assert not held.matches(len(final) + 1, expected)
