"""Groups and members: what changes is stored, forgotten by the cache and told to the edges, in this order (I9)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence

from group_svc.core.group_rules import check_settings
from group_svc.core.membership_cache import MembershipCache, Pair
from group_svc.ports import GroupPublication, MemberPublication, MembershipStore, Publisher
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import GroupId, UserId

Entered = tuple[Group, Member] | ThrongError


class Directory:
    """Reads go straight to the store. Any thread.

    Joins are not told: an edge learns of a member when they enter, and a large group must not be flooded by its arrivals.
    """

    def __init__(self, store: MembershipStore, cache: MembershipCache, publisher: Publisher) -> None:
        self.store = store
        self._cache = cache
        self._publisher = publisher
        self._updating = threading.Lock()

    def create(self, group: Group, *, owner_id: UserId | None) -> Group:
        """Makes a group. GROUP_EXISTS."""
        check_settings(group.settings)
        created = self.store.create_group(group, owner_id=owner_id)
        self._cache.forget_group(group.group_id)
        return created

    def update(
        self,
        group_id: GroupId,
        *,
        name: str | None,
        announcement: str | None,
        change_settings: Callable[[GroupSettings], GroupSettings] | None,
    ) -> Group:
        """Changes a group and tells its edges. GROUP_NOT_FOUND, INVALID_ARGUMENT."""
        with self._updating:
            settings = None
            if change_settings is not None:
                settings = check_settings(change_settings(self.store.get_group(group_id).settings))
            group = self.store.update_group(group_id, name=name, announcement=announcement, settings=settings)
        self._cache.forget_group(group_id)
        self._publisher.publish([GroupPublication(group)])
        return group

    def add_members(self, group_id: GroupId, members: Sequence[Member]) -> tuple[int, int]:
        """(added, member_count). GROUP_NOT_FOUND; CONFLICT for a second owner."""
        result = self.store.add_members(group_id, members)
        self._cache.forget(group_id, [member.user_id for member in members])
        return result

    def remove_members(self, group_id: GroupId, user_ids: Sequence[UserId]) -> tuple[int, int]:
        """(removed, member_count); edges let go of the removed at once. GROUP_NOT_FOUND; CONFLICT for the owner."""
        result = self.store.remove_members(group_id, user_ids)
        self._cache.forget(group_id, user_ids)
        gone = list(dict.fromkeys(user_ids))
        versions = self._versions(group_id, len(gone)) if result[0] else [0] * len(gone)
        self._publisher.publish(
            [
                MemberPublication(group_id, Member(user_id, Role.NONE), version)
                for user_id, version in zip(gone, versions, strict=True)
            ]
        )
        return result

    def _versions(self, group_id: GroupId, count: int) -> list[int]:
        """Versions of the last `count` changes; 0 each when they cannot be read now: edges then find them by comparing.

        Read behind the change: when another one came in between, edges see a gap and look for themselves.
        """
        (last,) = self.members_versions([group_id])
        return [last - count + place for place in range(1, count + 1)] if last >= count else [0] * count

    def update_member(
        self,
        group_id: GroupId,
        user_id: UserId,
        *,
        role: Role | None,
        muted_until_ms: int | None,
        display_name: str | None,
    ) -> Member:
        """Changes a member and tells the group's edges. NOT_A_MEMBER, GROUP_NOT_FOUND, CONFLICT.

        An owner who hands the group over is an administrator from then on; edges learn that when they next ask.
        """
        member = self.store.update_member(group_id, user_id, role=role, muted_until_ms=muted_until_ms, display_name=display_name)
        if role is Role.OWNER:
            self._cache.forget_group(group_id)
        else:
            self._cache.forget(group_id, [user_id])
        (version,) = self._versions(group_id, 1)
        self._publisher.publish([MemberPublication(group_id, member, version)])
        return member

    def members_versions(self, group_ids: Sequence[GroupId]) -> list[int]:
        """`Group.members_version` per group, in order; 0: not known now."""
        try:
            return self.store.get_members_versions(group_ids)
        except ThrongError:
            return [0] * len(group_ids)

    def get_many(self, pairs: Sequence[Pair]) -> list[Entered]:
        """Group and member per pair, in order, or NOT_A_MEMBER or GROUP_NOT_FOUND. One store call; joins nobody."""
        return [_entered(*found) for found in self.store.get_memberships(pairs)]

    def enter(self, entries: Sequence[tuple[GroupId, UserId, str]]) -> list[Entered]:
        """Lets users in; those who are new to an open group join it.

        One store call when all are members; otherwise one more per group that is joined, and one that reads the new members.
        """
        pairs = [(group_id, user_id) for group_id, user_id, _ in entries]
        found = self.store.get_memberships(pairs)
        joining: dict[GroupId, dict[UserId, Member]] = collections.defaultdict(dict)
        for (group_id, user_id, display_name), (group, member) in zip(entries, found, strict=True):
            if group is not None and group.settings.open and member is None:
                joining[group_id].setdefault(user_id, Member(user_id, display_name=display_name))
        for group_id, members in joining.items():
            self.add_members(group_id, list(members.values()))
        if joining:
            joined = [pair for pair in dict.fromkeys(pairs) if pair[1] in joining.get(pair[0], {})]
            fresh = dict(zip(joined, self.store.get_memberships(joined), strict=True))
            found = [fresh.get(pair, old) for pair, old in zip(pairs, found, strict=True)]
        return [_entered(*one) for one in found]


def _entered(group: Group | None, member: Member | None) -> Entered:
    if group is None:
        return ThrongError(ErrorCode.GROUP_NOT_FOUND, "There is no such group.")
    if member is None:
        return ThrongError(ErrorCode.NOT_A_MEMBER, "You are not a member of this group.", fields={"group_id": group.group_id})
    return (group, member)
