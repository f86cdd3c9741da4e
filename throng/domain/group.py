"""Groups, members, roles and settings."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from throng.domain.ids import GroupId, UserId

MODERATOR_INTERVAL_MS = 1_000
"""Owner and administrators wait no longer than this between two messages, whatever the group's interval."""


class Role(enum.IntEnum):
    """What a member may do; NONE: no member. Same numbers as throng.common.v1.Role."""

    NONE = 0
    OWNER = 1
    ADMINISTRATOR = 2
    MEMBER = 3

    @property
    def moderates(self) -> bool:
        """May add, remove and mute members and recall their messages; speaks in the HIGH lane."""
        return self in (Role.OWNER, Role.ADMINISTRATOR)


class Delivery(enum.IntEnum):
    """What an edge sends for a group when messages come. Same numbers as throng.common.v1.Delivery."""

    UNSPECIFIED = 0
    INLINE = 1
    NOTIFY = 2


class OverBudget(enum.IntEnum):
    """What happens to NORMAL messages over a group's budget. Same numbers as throng.common.v1.OverBudget."""

    UNSPECIFIED = 0
    REJECT = 1
    SAMPLE = 2


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Limits and habits of a group.

    Attributes:
        open: anyone who enters becomes a member.
        send_interval_ms: least time between two messages of one user; 0: no limit. A long one is called slow mode.
        budget_per_second: messages per second that the group accepts in all; 0: no limit.
        block_max_messages: a block is pushed when it holds this many; 0 and 1: no waiting.
        block_interval_ms: a block that is not full is pushed this long after the one before it; 0: no waiting.
        delivery: for clients that ask for none.
        over_budget: what happens to NORMAL messages over the budget.
    """

    open: bool = False
    send_interval_ms: int = 1_000
    budget_per_second: int = 20
    block_max_messages: int = 10
    block_interval_ms: int = 1_000
    delivery: Delivery = Delivery.INLINE
    over_budget: OverBudget = OverBudget.REJECT

    @property
    def block_wait_ms(self) -> int:
        """How long a message may wait for its block; 0: what was committed together goes at once."""
        return self.block_interval_ms if self.block_max_messages > 1 else 0

    def send_interval_ms_of(self, role: Role) -> int:
        """Least time between two messages of a user of this role: slow mode does not slow those who moderate."""
        return min(self.send_interval_ms, MODERATOR_INTERVAL_MS) if role.moderates else self.send_interval_ms


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its owner service stores it. `head_seq` 0: no message yet; `epoch` starts at 1.

    `members_version` rises by one with every removal and every change of a role or a mute; joining does not change it.
    """

    group_id: GroupId
    name: str
    epoch: int = 1
    head_seq: int = 0
    member_count: int = 0
    settings: GroupSettings = field(default_factory=GroupSettings)
    announcement: str = ""
    created_at_ms: int = 0
    members_version: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a group. `joined_seq` is the head when they joined; `muted_until_ms` 0: may speak."""

    user_id: UserId
    role: Role = Role.MEMBER
    joined_seq: int = 0
    muted_until_ms: int = 0
    display_name: str = ""
