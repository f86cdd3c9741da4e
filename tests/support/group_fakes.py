"""Fakes for tests of group_svc: stores in memory that can be away, publishers and observers that keep what they get."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Callable, Sequence

from group_svc.ports import (
    AnswerPublication,
    BlockPublication,
    Candidate,
    Committed,
    Outcome,
    Page,
    PublicationItem,
    Refused,
)
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Position, StoredMessage, Submission

GROUP = GroupId("g")
FREE = GroupSettings(open=True, send_interval_ms=0, budget_per_second=0, block_max_messages=1, block_interval_ms=0)
ORIGIN = Origin(EdgeId("edge-1"), 7, ConnId("c1"), 0)


def new_id() -> str:
    return str(uuid.uuid4())


def text_body(text: str, *, mentions: Sequence[str] = ()) -> bytes:
    message = message_pb2.Message(text=message_pb2.Text(text=text), mentions=mentions)
    return message.SerializeToString(deterministic=True)


def submission(user: str, *, client_msg_id: str = "", text: str = "hello", body: bytes | None = None, **fields) -> Submission:
    values = {
        "group_id": GROUP,
        "user_id": UserId(user),
        "client_msg_id": client_msg_id or new_id(),
        "kind": MessageKind.TEXT,
        "body": text_body(text) if body is None else body,
        "origin": ORIGIN,
        "received_at_ms": 1_700_000_000_000,
    }
    return Submission(**(values | fields))


def recall(user: str, target_seq: int, **fields) -> Submission:
    body = message_pb2.Message(recall=message_pb2.Recall(target_seq=target_seq)).SerializeToString(deterministic=True)
    return submission(user, body=body, kind=MessageKind.RECALL, target_seq=target_seq, **fields)


def stored(seq: int, *, sender: str = "ann", body: bytes = b"", kind: MessageKind = MessageKind.TEXT) -> StoredMessage:
    from throng.domain.message import Lane

    return StoredMessage(seq, UserId(sender), "", f"id-{seq}", kind, Lane.NORMAL, body or text_body(f"m{seq}"), 1)


class FakeStore:
    """Groups, members and messages of any number of groups. `faults` are raised by the next commits, one each; a fault in
    `after_commit` is raised although everything was committed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.groups: dict[GroupId, Group] = {}
        self.members: dict[tuple[GroupId, UserId], Member] = {}
        self.messages: dict[GroupId, list[StoredMessage]] = {}
        self.versions: dict[GroupId, int] = {}
        self.ids: dict[tuple[UserId, str], tuple[GroupId, int]] = {}
        self.faults: list[ThrongError | Exception] = []
        self.after_commit: list[ThrongError] = []
        self.poison: Callable[[Candidate], bool] = lambda candidate: False
        self.commits: list[int] = []
        self.membership_calls = 0
        self.membership_fault: ThrongError | None = None
        self.reads = 0

    def add_group(self, *, settings: GroupSettings = FREE, members: Sequence[str] = (), group_id: GroupId = GROUP) -> None:
        self.groups[group_id] = Group(group_id, group_id, settings=settings)
        self.messages[group_id] = []
        for user in members:
            self.members[group_id, UserId(user)] = Member(UserId(user), display_name=user.title())

    def commit(self, candidates: Sequence[Candidate], *, now_ms: int) -> list[Outcome]:
        with self.lock:
            if self.faults:
                raise self.faults.pop(0)
            if any(self.poison(candidate) for candidate in candidates):
                raise ThrongError(ErrorCode.INTERNAL, "poison")
            self.commits.append(len(candidates))
            outcomes = [self._commit_one(candidate, now_ms) for candidate in candidates]
            if self.after_commit:
                raise self.after_commit.pop(0)
            return outcomes

    def _commit_one(self, candidate: Candidate, now_ms: int) -> Outcome:
        wanted = candidate.submission
        known = self.ids.get((wanted.user_id, wanted.client_msg_id))
        if known is not None:
            message = self.messages[known[0]][known[1] - 1]
            if known[0] != wanted.group_id or (message.body != wanted.body and not message.recalled_by_seq):
                return Refused(ThrongError(ErrorCode.CLIENT_MSG_ID_REUSED, "used"))
            return Committed(Position(1, message.seq), message, repeated=True, recalled_seq=wanted.target_seq)
        if candidate.refusal is not None:
            return Refused(candidate.refusal)
        messages = self.messages[wanted.group_id]
        seq = len(messages) + 1
        if wanted.kind is MessageKind.RECALL:
            target = messages[wanted.target_seq - 1]
            messages[wanted.target_seq - 1] = dataclasses.replace(target, body=b"", recalled_by_seq=seq)
        message = StoredMessage(
            seq,
            wanted.user_id,
            candidate.sender_name,
            wanted.client_msg_id,
            wanted.kind,
            candidate.lane,
            wanted.body,
            now_ms,
        )
        messages.append(message)
        self.ids[wanted.user_id, wanted.client_msg_id] = (wanted.group_id, seq)
        return Committed(Position(1, seq), message, repeated=False, recalled_seq=wanted.target_seq)

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page:
        self.reads += 1
        messages = self.messages[group_id]
        last = min(up_to_seq or len(messages), after_seq + limit)
        return Page(1, len(messages), after_seq, messages[after_seq:last])

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page:
        self.reads += 1
        messages = self.messages[group_id]
        last = min(before_seq - 1, len(messages)) if before_seq else len(messages)
        first = max(last - limit, 0)
        return Page(1, len(messages), first, messages[first:last])

    def get_memberships(self, pairs):
        self.membership_calls += 1
        if self.membership_fault is not None:
            raise self.membership_fault
        return [(self.groups.get(group_id), self.members.get((group_id, user_id))) for group_id, user_id in pairs]

    def get_members_versions(self, group_ids):
        return [self.versions.get(group_id, 0) for group_id in group_ids]

    def get_heads(self, group_ids):
        self.reads += 1
        return [Position(1, len(self.messages[one])) if one in self.messages else None for one in group_ids]

    def get_group(self, group_id: GroupId) -> Group:
        if group_id not in self.groups:
            raise ThrongError(ErrorCode.GROUP_NOT_FOUND, "none")
        return self.groups[group_id]

    def update_group(self, group_id: GroupId, *, name, announcement, settings) -> Group:
        changes = {"name": name, "announcement": announcement, "settings": settings}
        group = dataclasses.replace(self.get_group(group_id), **{key: value for key, value in changes.items() if value is not None})
        self.groups[group_id] = group
        return group

    def add_members(self, group_id: GroupId, members: Sequence[Member]) -> tuple[int, int]:
        fresh = {member.user_id: member for member in members if (group_id, member.user_id) not in self.members}
        for member in fresh.values():
            joined = dataclasses.replace(member, joined_seq=len(self.messages[group_id]))
            self.members[group_id, member.user_id] = joined
        return len(fresh), len(self.members)

    def remove_members(self, group_id: GroupId, user_ids: Sequence[UserId]) -> tuple[int, int]:
        gone = [user_id for user_id in user_ids if self.members.pop((group_id, user_id), None)]
        if gone:
            self.versions[group_id] = self.versions.get(group_id, 0) + len(set(user_ids))
        return len(gone), len(self.members)

    def update_member(self, group_id: GroupId, user_id: UserId, *, role, muted_until_ms, display_name) -> Member:
        changes = {"role": role, "muted_until_ms": muted_until_ms, "display_name": display_name}
        member = dataclasses.replace(
            self.members[group_id, user_id], **{key: value for key, value in changes.items() if value is not None}
        )
        self.members[group_id, user_id] = member
        self.versions[group_id] = self.versions.get(group_id, 0) + 1
        return member

    def set_role(self, user: str, role: Role) -> None:
        self.update_member(GROUP, UserId(user), role=role, muted_until_ms=None, display_name=None)


class FakeRecent:
    """The cache as a dict per group; away while `away`, and a put can be lost as by kill -9 (`lose_puts`)."""

    def __init__(self) -> None:
        self.pages: dict[GroupId, dict[int, StoredMessage]] = {}
        self.heads: dict[GroupId, Position] = {}
        self.away = False
        self.lose_puts = False
        self.lost_groups: set[GroupId] = set()
        self.puts = 0

    def _check(self) -> None:
        if self.away:
            raise unavailable("Redis is away")

    def put(self, group_id, epoch, messages, recalled) -> None:
        self._check()
        if group_id in self.lost_groups:
            raise unavailable("a part of Redis is away")
        self.puts += 1
        if self.lose_puts:
            return
        known = self.pages.setdefault(group_id, {})
        if known and messages and messages[0].seq > max(known) + 1:
            known.clear()
        for message in messages:
            known.setdefault(message.seq, message)
        for seq in recalled:
            if seq in known:
                known[seq] = dataclasses.replace(known[seq], body=b"", recalled_by_seq=messages[-1].seq)
        self.put_heads([(group_id, Position(epoch, messages[-1].seq))])

    def put_many(self, puts):
        return [self._outcome(put) for put in puts]

    def _outcome(self, put):
        if put.group_id in self.lost_groups:
            return unavailable("a part of Redis is away")
        try:
            self.put(put.group_id, put.epoch, put.messages, put.recalled)
        except ThrongError as error:
            return error
        return None

    def put_heads(self, heads) -> None:
        self._check()
        for group_id, head in heads:
            old = self.heads.get(group_id, Position(0, 0))
            self.heads[group_id] = max(old, head, key=lambda one: (one.epoch, one.seq))

    def get_heads(self, group_ids):
        self._check()
        return [self.heads.get(group_id) for group_id in group_ids]

    def _page(self, group_id, after_seq, last):
        self._check()
        head = self.heads.get(group_id)
        known = self.pages.get(group_id, {})
        if head is None or any(seq not in known for seq in range(after_seq + 1, last + 1)):
            return None
        return Page(head.epoch, head.seq, after_seq, [known[seq] for seq in range(after_seq + 1, last + 1)])

    def read_after(self, group_id, *, after_seq, up_to_seq, limit):
        head = self.heads.get(group_id, Position(0, 0)).seq
        return self._page(group_id, after_seq, min(up_to_seq or head, after_seq + limit))

    def read_before(self, group_id, *, before_seq, limit):
        last = before_seq - 1 if before_seq else self.heads.get(group_id, Position(0, 0)).seq
        return self._page(group_id, max(last - limit, 0), last)


class RecordingPublisher:
    """Keeps publications; also serves as the observer."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.items: list[PublicationItem] = []
        self.observed: list[BlockPublication] = []

    def publish(self, items: Sequence[PublicationItem]) -> None:
        with self.changed:
            self.items += items
            self.changed.notify_all()

    def observe(self, block: BlockPublication) -> None:
        self.observed.append(block)

    @property
    def answers(self) -> list[AnswerPublication]:
        return [item for item in list(self.items) if isinstance(item, AnswerPublication)]

    @property
    def blocks(self) -> list[BlockPublication]:
        return [item for item in list(self.items) if isinstance(item, BlockPublication)]

    def wait_answers(self, count: int, timeout_seconds: float = 10.0) -> list[AnswerPublication]:
        with self.changed:
            arrived = self.changed.wait_for(lambda: len(self.answers) >= count, timeout_seconds)
        assert arrived, f"{len(self.answers)} of {count} answers came"
        return self.answers


class NobodyWaits:
    """`AnswerWaiters` without waiters."""

    def register(self, on_answer):
        return ORIGIN

    def forget(self, origin) -> None:
        return None

    def deliver(self, answer) -> bool:
        return False


class NobodyElse:
    """`AnswerForwarder` of a group service that is alone."""

    def forward(self, answer: AnswerPublication) -> bool:
        return False
