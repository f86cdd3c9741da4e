"""Groups and members as the checks know them, a few seconds old at most (hop 4)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable, Sequence

from group_svc.ports import MembershipStore
from throng.domain.group import Group, Member
from throng.domain.ids import GroupId, UserId
from throng.ports.clock import Clock

Pair = tuple[GroupId, UserId]
Membership = tuple[Group | None, Member | None]


class MembershipCache:
    """A bounded cache of `MembershipStore.get_memberships`. Any thread.

    Only members are kept: "not a member" is always asked again, so nobody is refused who has just joined through another
    process. A change by this process is seen at once (`forget`), one by another process after `ttl_seconds`.
    """

    def __init__(self, store: MembershipStore, clock: Clock, *, ttl_seconds: float = 3.0, max_entries: int = 100_000) -> None:
        self._store = store
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._changes = 0
        self._entries: collections.OrderedDict[Pair, tuple[float, Group, Member]] = collections.OrderedDict()

    def lookup(self, pairs: Sequence[Pair]) -> list[Membership]:
        """Group and member per pair, in order; at most one store call.

        Raises:
            ThrongError: UNAVAILABLE or INTERNAL, from the store.
        """
        now = self._clock.monotonic()
        found: dict[Pair, Membership] = {}
        with self._lock:
            changes = self._changes
            for pair in pairs:
                entry = self._entries.get(pair)
                if entry is not None and now < entry[0]:
                    found[pair] = (entry[1], entry[2])
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in found]
        if missing:
            fetched = self._store.get_memberships(missing)
            found.update(zip(missing, fetched, strict=True))
            self._keep(zip(missing, fetched, strict=True), now + self._ttl_seconds, changes)
        return [found[pair] for pair in pairs]

    def _keep(self, fetched: Iterable[tuple[Pair, Membership]], expires_at: float, changes: int) -> None:
        with self._lock:
            if changes != self._changes:
                return  # something changed while we read: what we read may be the older state
            for pair, (group, member) in fetched:
                if group is not None and member is not None:
                    self._entries.pop(pair, None)
                    self._entries[pair] = (expires_at, group, member)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def forget(self, group_id: GroupId, user_ids: Iterable[UserId]) -> None:
        """Drops members that this process has changed; call it after the change."""
        with self._lock:
            self._changes += 1
            for user_id in user_ids:
                self._entries.pop((group_id, user_id), None)

    def forget_group(self, group_id: GroupId) -> None:
        """Drops all that is known of a group, after its settings changed."""
        with self._lock:
            self._changes += 1
            for pair in [pair for pair in self._entries if pair[0] == group_id]:
                del self._entries[pair]
