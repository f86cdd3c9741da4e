"""Forms blocks, once per group: consecutive messages that are pushed as one frame (hop 5); pure."""

from __future__ import annotations

import collections
import dataclasses
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from group_svc.ports import BlockPublication
from throng.domain import limits
from throng.domain.group import GroupSettings
from throng.domain.ids import GroupId
from throng.domain.message import StoredMessage

MAX_BLOCK_BYTES = 256 * 1024
"""Bodies in one block; a larger one is split."""

_QUIET_SECONDS = limits.MAX_BLOCK_INTERVAL_MS / 1000
_ENVELOPE_BYTES = 200


@dataclass(slots=True)
class _Group:
    epoch: int
    flushed_at: float
    settings: GroupSettings
    wakes_at: float | None = None
    messages: list[StoredMessage] = field(default_factory=list)
    recalled: list[int] = field(default_factory=list)


class BlockFormer:
    """Collects persisted messages per group. Not locked; time is passed in (seconds, monotonic).

    The first message after a quiet interval goes at once. After it a block goes when it holds `block_max_messages`, or
    `block_interval_ms` after the one before it: the quieter a group is, the less a message waits, never longer than the interval,
    and there are no more blocks than one per interval and one per `block_max_messages`. `block_max_messages` 0 or 1, or an interval
    of 0: no waiting, and what was committed together goes together. Messages of a block are consecutive: a gap or another epoch
    flushes what waited.
    """

    def __init__(self) -> None:
        self._groups: collections.OrderedDict[GroupId, _Group] = collections.OrderedDict()
        self._deadlines: list[tuple[float, GroupId]] = []
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Messages that wait for their block."""
        return self._waiting

    @property
    def groups(self) -> int:
        """Groups that are remembered."""
        return len(self._groups)

    def add(
        self,
        group_id: GroupId,
        epoch: int,
        messages: Sequence[StoredMessage],
        recalls: Sequence[tuple[int, int]],
        settings: GroupSettings,
        now: float,
    ) -> list[BlockPublication]:
        """Takes messages of one group, rising by seq, and (target, event) for each recall among them; returns what goes now."""
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = _Group(epoch, float("-inf"), settings)
        group.settings = settings
        ready: list[BlockPublication] = []
        if group.epoch != epoch:
            ready += self._flush(group_id, group, now)
            group.epoch = epoch
        quiet = not group.messages and now - group.flushed_at >= settings.block_interval_ms / 1000
        for message in messages:
            if group.messages and message.seq != group.messages[-1].seq + 1:
                ready += self._flush(group_id, group, now)
            group.messages.append(message)
            self._waiting += 1
        group.recalled += [target for target, _ in recalls]
        _blank(group.messages, dict(recalls))
        if quiet or not settings.block_wait_ms or len(group.messages) >= settings.block_max_messages:
            ready += self._flush(group_id, group, now)
        elif group.messages:
            self._wake(group_id, group)
        self._forget_quiet(now)
        return ready

    def due(self, now: float) -> list[BlockPublication]:
        """Returns the blocks whose time has come."""
        ready: list[BlockPublication] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, group_id = heapq.heappop(self._deadlines)
            group = self._groups.get(group_id)
            if group is None:
                continue
            group.wakes_at = None
            if group.messages and self._due_at(group) <= now:
                ready += self._flush(group_id, group, now)
            elif group.messages:
                self._wake(group_id, group)
        self._forget_quiet(now)
        return ready

    def _wake(self, group_id: GroupId, group: _Group) -> None:
        """Keeps one deadline per group, however many blocks go before it comes."""
        due_at = self._due_at(group)
        if group.wakes_at is None or due_at < group.wakes_at:
            group.wakes_at = due_at
            heapq.heappush(self._deadlines, (due_at, group_id))

    def next_deadline(self) -> float | None:
        """When `due` may next have something; None: not before the next `add`."""
        return self._deadlines[0][0] if self._deadlines else None

    def flush_all(self, now: float) -> list[BlockPublication]:
        """Returns everything that waits."""
        ready: list[BlockPublication] = []
        for group_id, group in list(self._groups.items()):
            ready += self._flush(group_id, group, now)
        self._deadlines.clear()
        return ready

    @staticmethod
    def _due_at(group: _Group) -> float:
        return group.flushed_at + group.settings.block_interval_ms / 1000

    def _flush(self, group_id: GroupId, group: _Group, now: float) -> list[BlockPublication]:
        if not group.messages:
            return []
        most = group.settings.block_max_messages if group.settings.block_wait_ms else limits.MAX_BLOCK_MESSAGES
        parts = _split(group.messages, min(most, limits.MAX_BLOCK_MESSAGES))
        recalls = group.recalled
        blocks = [
            BlockPublication(group_id, group.epoch, part[0].seq - 1, tuple(part), tuple(recalls) if part is parts[-1] else ())
            for part in parts
        ]
        self._waiting -= len(group.messages)
        group.messages, group.recalled = [], []
        group.flushed_at = now
        self._groups.move_to_end(group_id)
        return blocks

    def _forget_quiet(self, now: float) -> None:
        for group_id in list(self._oldest(8)):
            group = self._groups[group_id]
            if not group.messages and now - group.flushed_at > _QUIET_SECONDS:
                del self._groups[group_id]

    def _oldest(self, count: int) -> list[GroupId]:
        return [group_id for group_id, _ in zip(self._groups, range(count), strict=False)]


def _blank(messages: list[StoredMessage], recalls: Mapping[int, int]) -> None:
    """A message that is taken back before its block goes out leaves without its body."""
    if not recalls:
        return
    for index, message in enumerate(messages):
        if message.seq in recalls and not message.recalled_by_seq:
            messages[index] = dataclasses.replace(message, body=b"", recalled_by_seq=recalls[message.seq])


def _split(messages: Sequence[StoredMessage], most: int) -> list[list[StoredMessage]]:
    parts: list[list[StoredMessage]] = [[]]
    size_bytes = 0
    for message in messages:
        message_bytes = len(message.body) + _ENVELOPE_BYTES
        if parts[-1] and (len(parts[-1]) >= most or size_bytes + message_bytes > MAX_BLOCK_BYTES):
            parts.append([])
            size_bytes = 0
        parts[-1].append(message)
        size_bytes += message_bytes
    return parts
