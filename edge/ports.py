"""What the sessions of an edge need from the services behind it, and what they are told by them.

One adapter (`edge/adapters/grpc_upstream.py`) speaks gRPC in the business thread; sessions live in the hub thread and see
neither. Every `done` is called exactly once, in the hub thread, also on failure and on shutdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from throng.domain.errors import ThrongError
from throng.domain.group import Group, Member, Role
from throng.domain.ids import ConnId, GroupId, UserId
from throng.domain.message import Submission
from throng.domain.quick_values import quick_value


@dataclass(frozen=True, slots=True)
class EnteredGroup:
    """A user may take part in a group; `group.head_seq` is the head at that moment."""

    group: Group
    member: Member


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """Consecutive messages, oldest first; each is (seq, serialized throng.common.v1.Message)."""

    epoch: int
    head_seq: int
    after_seq: int
    messages: Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class UnreadCount:
    """0 to 99 messages of others after `read_seq`; `capped`: there are more."""

    group_id: GroupId
    count: int
    capped: bool
    read_seq: int


@dataclass(frozen=True, slots=True)
class ReadCursor:
    """How far a user has read."""

    user_id: UserId
    group_id: GroupId
    read_seq: int


@dataclass(frozen=True, slots=True)
class GroupHead:
    """Head of a group; epoch 0: no such group. `members_version` 0: not known now."""

    group_id: GroupId
    epoch: int
    head_seq: int
    members_version: int = 0


class Upstream(Protocol):
    """Purpose: the services behind the edge.

    Ordering: submissions of one connection reach the uplink in the order of the calls; nothing else is ordered.
    Durability: none. Idempotency: that of the services. Concurrency: hub thread only; no call blocks.
    Errors: a ThrongError in place of the result; UNAVAILABLE and DEADLINE_EXCEEDED while a service is away (each call has
    a deadline of a few seconds).
    Not promised: single flight; `edge.core` does that before it calls.
    """

    def submit(self, submission: Submission, done: Callable[[ThrongError | None], None]) -> None:
        """Appends to the uplink (hop 2). `done` is called when that fails; that it succeeded may go without saying (None), for
        whoever waits, waits for the answer, which comes later as an event."""
        ...

    def enter(
        self, user_id: UserId, group_id: GroupId, display_name: str, done: Callable[[EnteredGroup | ThrongError], None]
    ) -> None:
        """Checks membership, joins an open group; calls are collected into batches."""
        ...

    def fetch_after(
        self, group_id: GroupId, after_seq: int, up_to_seq: int, limit: int, done: Callable[[FetchedPage | ThrongError], None]
    ) -> None:
        """Messages after one seq up to another (0: head)."""
        ...

    def fetch_before(
        self, group_id: GroupId, before_seq: int, limit: int, done: Callable[[FetchedPage | ThrongError], None]
    ) -> None:
        """The newest messages below a seq (0: from the head)."""
        ...

    def fetch_deleted(
        self, user_id: UserId, group_id: GroupId, from_seq: int, done: Callable[[Sequence[int] | ThrongError], None]
    ) -> None:
        """Seqs that the user deleted for themself."""
        ...

    def delete_for_user(self, user_id: UserId, group_id: GroupId, seq: int, done: Callable[[ThrongError | None], None]) -> None:
        """Deletes a message for one user."""
        ...

    def list_groups(self, user_id: UserId, done: Callable[[Sequence[EnteredGroup] | ThrongError], None]) -> None:
        """All groups of a user, at most 500."""
        ...

    def fetch_unread(
        self, user_id: UserId, group_ids: Sequence[GroupId], done: Callable[[Sequence[UnreadCount] | ThrongError], None]
    ) -> None:
        """Counts of some groups; empty: of all groups of the user. Calls for one group are collected into batches."""
        ...

    def report_cursors(self, cursors: Sequence[ReadCursor], done: Callable[[ThrongError | None], None]) -> None:
        """Stores cursors that moved."""
        ...

    def fetch_heads(self, group_ids: Sequence[GroupId], done: Callable[[Sequence[GroupHead] | ThrongError], None]) -> None:
        """Heads of groups, for the comparison every 2 s (I6)."""
        ...

    def fetch_members(
        self, group_id: GroupId, user_ids: Sequence[UserId], done: Callable[[Sequence[Member] | ThrongError], None]
    ) -> None:
        """Membership per user, in order, joining nobody; role NONE: no member. At most 1,000 a call."""
        ...

    def report_routes(self, changes: Sequence[tuple[GroupId, int]]) -> None:
        """Tells how many connections groups have now (0: none); a group's first and last connection at once, counts each second."""
        ...


@quick_value(frozen=True, slots=True)
class BlockEvent:
    """Messages arrived. `block`: the serialized throng.common.v1.Block; `messages`: each (seq, serialized Message);
    `recalled`: (target_seq, seq of the recall) among them; `json_block`: proto3 JSON when a client wants it."""

    group_id: GroupId
    epoch: int
    prev_seq: int
    head_seq: int
    block: bytes
    messages: Sequence[tuple[int, bytes]]
    recalled: Sequence[tuple[int, int]]
    json_block: str | None
    published_at_ms: int


@dataclass(frozen=True, slots=True)
class HeadEvent:
    """A head moved and its messages did not come along."""

    group_id: GroupId
    epoch: int
    head_seq: int


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """What came of a submission: `error` None means durable at (`epoch`, `seq`)."""

    conn_id: ConnId
    request_id: int
    group_id: GroupId
    client_msg_id: str
    epoch: int
    seq: int
    sent_at_ms: int
    error: ThrongError | None


class AckRow(NamedTuple):
    """One submission that is durable at (`epoch`, `seq`)."""

    conn_id: ConnId
    request_id: int
    group_id: GroupId
    client_msg_id: str
    epoch: int
    seq: int
    sent_at_ms: int


@quick_value(frozen=True, slots=True)
class AcksEvent:
    """Submissions of many connections that are durable."""

    rows: Sequence[AckRow]


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """A member's role (NONE: no member any more) or mute changed; `members_version` 0: not known."""

    group_id: GroupId
    user_id: UserId
    role: Role
    muted_until_ms: int
    members_version: int = 0


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """Name, settings or announcement of a group changed."""

    group: Group


@dataclass(frozen=True, slots=True)
class OnlineEvent:
    """Connections of groups on all edges."""

    counts: Sequence[tuple[GroupId, int]]


EdgeEvent = BlockEvent | HeadEvent | AnswerEvent | AcksEvent | MemberEvent | GroupEvent | OnlineEvent


class EventSink(Protocol):
    """Purpose: takes what routers deliver (hop 6). Called in the hub thread with events in order per group; never raises."""

    def on_events(self, events: Sequence[EdgeEvent]) -> None:
        """Takes over events."""
        ...

    def on_routes_applied(self, group_ids: Sequence[GroupId] | None) -> None:
        """The registry holds the routes of groups that were gained, or, None, of all after a break: their heads are compared now,
        for something may have been missed."""
        ...

    def wants_json(self, group_id: GroupId) -> bool:
        """Some client here wants JSON for the group. May be called from any thread; an answer that is late by a moment is fine."""
        ...
