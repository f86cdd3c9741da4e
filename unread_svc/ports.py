"""What unread_svc needs from the outside: cursors, windows of recent countable messages, and what group_svc knows.

Adapters: `CursorStore`: `sqlite`, `mysql`; `UnreadWindow`: `redis`, real or embedded; `GroupDirectory`: gRPC.
A message is countable when its kind counts as unread and it was not recalled.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position


class Countable(NamedTuple):
    """A message that counts as unread for everyone but its sender (empty: the system)."""

    seq: int
    sender_id: UserId


class UserInGroup(NamedTuple):
    """One user in one group."""

    user_id: UserId
    group_id: GroupId


class ReadCursor(NamedTuple):
    """How far a user has read in a group."""

    user_id: UserId
    group_id: GroupId
    read_seq: int


class CursorStore(Protocol):
    """Purpose: the durable read cursors.

    Ordering: none is needed; a cursor only ever grows, so that late and repeated reports change nothing.
    Durability: what `advance` returned for survives kill -9 and power loss.
    Idempotency: advancing to the same or a lower seq changes nothing.
    Concurrency: any thread. Errors: ThrongError UNAVAILABLE (all or nothing of the call is stored; repeat it) or INTERNAL.
    Not promised: that the group or the user exists.
    """

    def advance(self, cursors: Sequence[ReadCursor]) -> None:
        """Raises cursors in one transaction. A pair may stand in `cursors` more than once."""
        ...

    def read(self, pairs: Sequence[UserInGroup]) -> list[int]:
        """read_seq per pair, in order; 0: never reported."""
        ...

    def close(self) -> None:
        """Ends the use; call it when no thread uses the store any more."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What happened in a group after `prev_seq` up to `head_seq`: countable messages that came, seqs that were recalled.

    A message that was added and recalled in the same observation stands in both.
    """

    group_id: GroupId
    epoch: int
    prev_seq: int
    head_seq: int
    added: Sequence[Countable] = ()
    removed_seqs: Sequence[int] = ()


class Observed(enum.Enum):
    """What became of an observation."""

    STARTED = "started"
    """There was no window; one begins behind `prev_seq`."""
    ADVANCED = "advanced"
    """The window goes on."""
    GAP = "gap"
    """Observations are missing in between, or the epoch is new; the window begins anew behind `prev_seq`."""
    REPEATED = "repeated"
    """Nothing new but recalls, which were applied."""
    OLD_EPOCH = "old_epoch"
    """Of an epoch before the window's; nothing was changed."""


@dataclass(frozen=True, slots=True)
class WindowView:
    """Countable messages of a group as of `head_seq`: every one above `floor_seq` is in `entries`, rising by seq.

    Attributes:
        size: how many the whole window holds, those at or below `floor_seq` of a partial view included.
    """

    epoch: int
    head_seq: int
    floor_seq: int
    size: int
    entries: Sequence[Countable]


class UnreadWindow(Protocol):
    """Purpose: the newest `limits.UNREAD_WINDOW` countable messages per group, a cache of what group_svc has.

    Ordering: observations may come late, twice or never. The window is complete from its floor up to its head, as of its head.
    Durability: none; may be emptied at any moment. A window of which a part is lost is taken as missing.
    Idempotency: observing or installing again changes nothing.
    Concurrency: any thread and any process; each call on one group is atomic.
    Errors: ThrongError UNAVAILABLE or INTERNAL; some groups of the call may be changed. Callers then ask group_svc.
    Not promised: that the window reaches down to any seq, or up to the group's head.
    """

    def observe(self, observations: Sequence[Observation]) -> list[Observed]:
        """Applies observations in order; one outcome per observation."""
        ...

    def install(self, group_id: GroupId, view: WindowView) -> bool:
        """Replaces the window by a rebuilt one; False: the window had a newer head of the same epoch, and stays."""
        ...

    def read(self, wanted: Sequence[tuple[GroupId, int]]) -> list[WindowView | None]:
        """Per (group, after_seq) the window above `after_seq`, in order; None: no window, or its part of the cache is away while
        others answer."""
        ...

    def close(self) -> None:
        """Ends the use. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Membership:
    """A member of a group, the group's head at this moment, and the head when the member joined."""

    group_id: GroupId
    head: Position
    joined_seq: int


@dataclass(frozen=True, slots=True)
class CountableQuery:
    """Asks for the newest countable messages above `after_seq`; those of `exclude_sender_id` left out."""

    group_id: GroupId
    after_seq: int = 0
    exclude_sender_id: UserId | None = None


@dataclass(frozen=True, slots=True)
class CountablePage:
    """The newest `limits.UNREAD_WINDOW` countable messages, rising; fewer: there are no others. Complete as of `head`."""

    head: Position
    entries: Sequence[Countable]


class GroupDirectory(Protocol):
    """Purpose: what group_svc, which owns groups and messages, says. Reads only; joins nobody.

    Ordering: an answer is at least as new as the moment of the call. Idempotency: reads.
    Concurrency: any thread; calls under way are bounded, and beyond the bound callers wait, then get UNAVAILABLE.
    Errors: ThrongError UNAVAILABLE with a retry time, DEADLINE_EXCEEDED, INTERNAL. Every call has a deadline.
    Not promised: that answers of one call are of one moment.
    """

    def memberships(self, pairs: Sequence[UserInGroup]) -> list[Membership | None]:
        """Per pair, in order; None: no such group or no member of it."""
        ...

    def memberships_of(self, user_id: UserId) -> list[Membership]:
        """All groups of a user, by group_id. LIMIT_EXCEEDED when there are more than 10,000."""
        ...

    def heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """Per group, in order; None: no such group."""
        ...

    def countable(self, queries: Sequence[CountableQuery]) -> list[CountablePage | ThrongError]:
        """Per query, in order, the page or why it could not be had; asked at the same time."""
        ...
