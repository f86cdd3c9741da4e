"""What groups, members and messages truly are, for tests of unread counts: a model that also answers as `GroupDirectory`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position
from unread_svc.ports import Countable, CountablePage, CountableQuery, Membership, Observation, UserInGroup


@dataclass
class ModelMessage:
    """One message of the model; recall events do not count."""

    seq: int
    sender_id: UserId
    counts: bool = True


@dataclass
class ModelGroup:
    """One group of the model: its history, its members with joined_seq, and how far blocks were formed."""

    epoch: int = 1
    messages: list[ModelMessage] = field(default_factory=list)
    joined: dict[UserId, int] = field(default_factory=dict)
    observed_seq: int = 0
    removed_since: list[int] = field(default_factory=list)

    @property
    def head(self) -> Position:
        return Position(self.epoch, len(self.messages))


class GroupsModel:
    """The truth. Also a `GroupDirectory`, UNAVAILABLE while `away` is set; `calls` counts what it was asked."""

    def __init__(self) -> None:
        self.groups: dict[GroupId, ModelGroup] = {}
        self.away = False
        self.calls: dict[str, int] = {}
        self.before_answer: Callable[[], None] | None = None
        """Runs once, after a page of countable messages was read and before it is returned."""

    def send(self, group_id: str, sender_id: str, number: int = 1) -> None:
        """Appends countable messages."""
        group = self.groups.setdefault(GroupId(group_id), ModelGroup())
        group.messages += [ModelMessage(group.head.seq + 1 + i, UserId(sender_id)) for i in range(number)]

    def recall(self, group_id: str, seq: int) -> None:
        """Takes a message back, by an event that has a seq of its own."""
        group = self.groups[GroupId(group_id)]
        target = group.messages[seq - 1]
        target.counts = False
        group.removed_since.append(seq)
        group.messages.append(ModelMessage(group.head.seq + 1, target.sender_id, counts=False))

    def join(self, group_id: str, user_id: str) -> None:
        """Makes a user a member (again): what came before is not unread."""
        group = self.groups.setdefault(GroupId(group_id), ModelGroup())
        group.joined[UserId(user_id)] = group.head.seq

    def restore(self, group_id: str, head_seq: int) -> None:
        """History above `head_seq` is lost; another epoch begins."""
        group = self.groups[GroupId(group_id)]
        del group.messages[head_seq:]
        group.epoch += 1
        group.observed_seq = group.head.seq
        group.removed_since.clear()

    def observe(self, group_id: str) -> Observation:
        """The observation of what came since the last one, as group_svc forms it from its messages at commit time."""
        group = self.groups[GroupId(group_id)]
        removed, group.removed_since = group.removed_since, []
        fresh = group.messages[group.observed_seq :]
        added = [Countable(m.seq, m.sender_id) for m in fresh if m.counts or m.seq in removed]
        observation = Observation(GroupId(group_id), group.epoch, group.observed_seq, group.head.seq, added, removed)
        group.observed_seq = group.head.seq
        return observation

    def expected(self, group_id: str, user_id: str, read_seq: int) -> tuple[int, bool]:
        """(count, capped) by the definition of I7."""
        group = self.groups[GroupId(group_id)]
        cursor = max(read_seq, group.joined[UserId(user_id)])
        number = sum(m.counts and m.seq > cursor and m.sender_id != user_id for m in group.messages)
        return min(number, 99), number > 99

    def _asked(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.away:
            raise unavailable("group_svc is away")

    def memberships(self, pairs: Sequence[UserInGroup]) -> list[Membership | None]:
        self._asked("memberships")
        return [self._membership(pair.group_id, pair.user_id) for pair in pairs]

    def _membership(self, group_id: GroupId, user_id: UserId) -> Membership | None:
        group = self.groups.get(group_id)
        if group is None or user_id not in group.joined:
            return None
        return Membership(group_id, group.head, group.joined[user_id])

    def memberships_of(self, user_id: UserId) -> list[Membership]:
        self._asked("memberships_of")
        found = (self._membership(group_id, user_id) for group_id in sorted(self.groups))
        return [membership for membership in found if membership is not None]

    def heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        self._asked("heads")
        return [self.groups[group_id].head if group_id in self.groups else None for group_id in group_ids]

    def countable(self, queries: Sequence[CountableQuery]) -> list[CountablePage | ThrongError]:
        self._asked("countable")
        pages = [self._page(query) for query in queries]
        hook, self.before_answer = self.before_answer, None
        if hook:
            hook()
        return pages

    def _page(self, query: CountableQuery) -> CountablePage | ThrongError:
        group = self.groups.get(query.group_id)
        if group is None:
            return ThrongError(ErrorCode.GROUP_NOT_FOUND, "no such group")
        entries = [
            Countable(m.seq, m.sender_id)
            for m in group.messages
            if m.counts and m.seq > query.after_seq and m.sender_id != query.exclude_sender_id
        ]
        return CountablePage(group.head, entries[-100:])


class DictCursors:
    """`CursorStore` in a dict."""

    def __init__(self) -> None:
        self.read_seqs: dict[UserInGroup, int] = {}

    def advance(self, cursors: Sequence[tuple[UserId, GroupId, int]]) -> None:
        for user_id, group_id, read_seq in cursors:
            pair = UserInGroup(user_id, group_id)
            self.read_seqs[pair] = max(read_seq, self.read_seqs.get(pair, 0))

    def read(self, pairs: Sequence[UserInGroup]) -> list[int]:
        return [self.read_seqs.get(pair, 0) for pair in pairs]

    def close(self) -> None:
        pass
