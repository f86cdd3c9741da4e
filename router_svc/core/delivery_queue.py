"""What waits for one edge: bounded, and when it is full, blocks shrink to one head per group and never to silence (hop 6, I8).

Overflow policy, in this order, until what arrives fits:

1. A block that arrives: it and all queued blocks of its group become one head notice of the group. While that notice
   waits, further blocks of the group only raise it.
2. An answer or a change that arrives: queued blocks of other groups shrink the same way, the group that waits longest first.
3. Only answers, changes and heads are left: the oldest answer is dropped (its client asks again with the same id).
4. Only changes and heads are left: the oldest change is dropped.

5. Online counts that arrive are refused, also while others wait: whoever counts says it later, with what is true then.

Head notices are always admitted: there is at most one for each group that the edge holds. A head behind what was queued
before it loses nothing, since a client that sees it pulls everything up to it.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router_svc.ports import EventKind, Outgoing
from throng.domain.ids import GroupId

HEAD_BYTES = 100
"""What a head notice counts for: two identifiers of up to 64 bytes and two numbers, roughly."""

ONLINE_BYTES = 12
"""What an online count takes beside its group."""


@dataclass(frozen=True, slots=True)
class HeadNotice:
    """All that is left of blocks for which there was no room."""

    group_id: GroupId
    epoch: int
    head_seq: int


@dataclass(frozen=True, slots=True)
class OnlineNotice:
    """Connections of groups on all edges."""

    counts: Mapping[GroupId, int]


Item = Outgoing | HeadNotice | OnlineNotice


class Push(enum.Enum):
    """What became of an event, and what it cost."""

    QUEUED = "queued"
    SHRUNK = "shrunk"
    """Blocks became a head, this one or others."""
    ANSWER_DROPPED = "answer_dropped"
    CONTROL_DROPPED = "control_dropped"


class DeliveryQueue:
    """One edge's queue; the loop's thread only."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._next_ticket = 0
        self._online_waiting = 0
        self._blocks: OrderedDict[GroupId, deque[int]] = OrderedDict()
        self._heads: dict[GroupId, int] = {}
        self._others: dict[EventKind, deque[int]] = {EventKind.ANSWER: deque(), EventKind.CONTROL: deque()}
        self.size_bytes = 0
        self.shrunk_blocks = 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Outgoing) -> Push:
        """Takes an event; it is queued, or less of it or of others is, as the policy says."""
        if item.kind is EventKind.BLOCK:
            return self._push_block(item)
        outcome = Push.QUEUED
        while not self._fits(len(item.event)):
            if self._blocks:
                self._shrink(next(iter(self._blocks)))
                outcome = Push.SHRUNK
            elif self._drop_oldest(EventKind.ANSWER):
                outcome = Push.ANSWER_DROPPED
            elif item.kind is EventKind.ANSWER:
                return Push.ANSWER_DROPPED
            elif self._drop_oldest(EventKind.CONTROL):
                outcome = Push.CONTROL_DROPPED
            else:
                break  # heads alone are over the bound; there is one at most per group
        self._append(item)
        return outcome

    def _push_block(self, item: Outgoing) -> Push:
        if item.group_id not in self._heads and self._fits(len(item.event)):
            self._append(item)
            return Push.QUEUED
        self._shrink(item.group_id)
        self.shrunk_blocks += 1
        self._raise_head(HeadNotice(item.group_id, item.epoch, item.head_seq))
        return Push.SHRUNK

    def push_online(self, notice: OnlineNotice) -> bool:
        """Takes online counts; False: refused."""
        if self._online_waiting or not self._fits(_cost(notice)):
            return False
        self._append(notice)
        return True

    def take(self, *, max_events: int, max_bytes: int) -> list[Item]:
        """Removes and returns the oldest events: at least one if there is any, and not more than the two bounds allow."""
        taken: list[Item] = []
        size = 0
        while self._items and len(taken) < max_events:
            ticket, item = next(iter(self._items.items()))
            cost = _cost(item)
            if taken and size + cost > max_bytes:
                break
            self._remove(ticket, item)
            taken.append(item)
            size += cost
        return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Returns what was taken and may not have arrived, in front of everything; with what came since it must fit, else it
        shrinks as if it came now."""
        waiting = list(self._items.values())
        self._items.clear()
        self._blocks.clear()
        self._heads.clear()
        for tickets in self._others.values():
            tickets.clear()
        self.size_bytes = self._online_waiting = 0
        for item in [*items, *waiting]:
            if isinstance(item, HeadNotice):
                self._raise_head(item)
            elif isinstance(item, OnlineNotice):
                self._append(item)
            else:
                self.push(item)

    def _fits(self, size_bytes: int) -> bool:
        if not self._items:
            return True  # an event larger than the bound must not wait for ever
        return len(self._items) < self._max_events and self.size_bytes + size_bytes <= self._max_bytes

    def _append(self, item: Item) -> None:
        ticket = self._next_ticket
        self._next_ticket += 1
        self._items[ticket] = item
        self.size_bytes += _cost(item)
        if isinstance(item, HeadNotice):
            self._heads[item.group_id] = ticket
        elif isinstance(item, OnlineNotice):
            self._online_waiting += 1
        elif item.kind is EventKind.BLOCK:
            self._blocks.setdefault(item.group_id, deque()).append(ticket)
        else:
            self._others[item.kind].append(ticket)

    def _remove(self, ticket: int, item: Item) -> None:
        """Forgets an item that is the oldest of its kind (and group)."""
        del self._items[ticket]
        self.size_bytes -= _cost(item)
        if isinstance(item, HeadNotice):
            del self._heads[item.group_id]
        elif isinstance(item, OnlineNotice):
            self._online_waiting -= 1
        elif item.kind is EventKind.BLOCK:
            tickets = self._blocks[item.group_id]
            tickets.popleft()
            if not tickets:
                del self._blocks[item.group_id]
        else:
            self._others[item.kind].popleft()

    def _drop_oldest(self, kind: EventKind) -> bool:
        if not self._others[kind]:
            return False
        ticket = self._others[kind][0]
        self._remove(ticket, self._items[ticket])
        return True

    def _shrink(self, group_id: GroupId) -> None:
        """Makes all queued blocks of a group one head notice, at the end."""
        last: Outgoing | None = None
        while group_id in self._blocks:
            ticket = self._blocks[group_id][0]
            item = self._items[ticket]
            assert isinstance(item, Outgoing)
            self._remove(ticket, item)
            self.shrunk_blocks += 1
            last = item
        if last is not None:
            self._raise_head(HeadNotice(group_id, last.epoch, last.head_seq))

    def _raise_head(self, head: HeadNotice) -> None:
        ticket = self._heads.get(head.group_id)
        if ticket is None:
            self._append(head)
            return
        held = self._items[ticket]
        assert isinstance(held, HeadNotice)
        if (head.epoch, head.head_seq) > (held.epoch, held.head_seq):
            self._items[ticket] = head


def _cost(item: Item) -> int:
    if isinstance(item, OnlineNotice):
        return sum(ONLINE_BYTES + len(group_id) for group_id in item.counts)
    return HEAD_BYTES if isinstance(item, HeadNotice) else len(item.event)
