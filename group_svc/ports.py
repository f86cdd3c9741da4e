"""What group_svc needs from the outside: stores, the cache of recent messages, the ways out.

Adapters: `MessageStore` and `MembershipStore`: `sqlite`, `mysql`; `RecentMessages`: `redis`, real or embedded;
`Publisher`: gRPC to router_svc; `UnreadObserver`: gRPC to unread_svc; `AnswerForwarder`: gRPC to other group services;
`SafetyCheck`: a word list; `SafetyHook`: gRPC to a service of the installer's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from throng.domain.errors import ThrongError
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind, Origin, Position, StoredMessage, Submission
from throng.domain.quick_values import quick_value


@quick_value(frozen=True, slots=True)
class Candidate:
    """A submission that the checks have seen.

    Attributes:
        submission: as it came from the uplink.
        refusal: why the checks refuse it. It is still looked up: if it is persisted already, it is ACKed again (I2, I3).
        sender_name: display name stored with the message.
        lane: as the group's writer decided.
        sender_role: role of the sender; decides whose messages a RECALL may take back.
    """

    submission: Submission
    refusal: ThrongError | None
    sender_name: str
    lane: Lane
    sender_role: Role


@quick_value(frozen=True, slots=True)
class Committed:
    """The submission is durable. `repeated`: it was before this call, and nothing was changed.

    `recalled_seq` is the message that a RECALL blanked, otherwise 0.
    """

    position: Position
    message: StoredMessage
    repeated: bool
    recalled_seq: int = 0


@quick_value(frozen=True, slots=True)
class Refused:
    """The submission is not stored, for the candidate's own refusal or for one that only the store can see."""

    error: ThrongError


Outcome = Committed | Refused


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages, oldest first: seqs `after_seq` + 1 … without a hole."""

    epoch: int
    head_seq: int
    after_seq: int
    messages: Sequence[StoredMessage]


class DeletedQuery(NamedTuple):
    """Whose deletions in which group, from which seq on."""

    user_id: UserId
    group_id: GroupId
    from_seq: int


class MessageStore(Protocol):
    """Purpose: the durable history of all groups; gives seqs.

    Ordering: candidates of one group get seqs in the order given; commit order is seq order; seqs have no holes (I1).
    Durability: what `commit` returned as Committed survives kill -9 and power loss (I3).
    Idempotency: a (`user_id`, `client_msg_id`) that is persisted comes back as Committed(repeated) with its seq. With another
    body, kind or group it is Refused(CLIENT_MSG_ID_REUSED); a body that was blanked by a recall is not compared.
    The same id twice in one call is one message.
    Concurrency: any thread; two writers of one group, even in two processes, cannot give one seq twice.
    Errors: ThrongError UNAVAILABLE (nothing or everything of this call is committed; the caller repeats the call) or INTERNAL.
    Not promised: that groups of one call are committed in one transaction.
    """

    def commit(self, candidates: Sequence[Candidate], *, now_ms: int) -> list[Outcome]:
        """Persists what may be persisted; one outcome per candidate, in order.

        A RECALL blanks its target in the same transaction: empty body, `recalled_by_seq` set. It is Refused with MESSAGE_NOT_FOUND
        (no such seq, or the target is a recall event or SYSTEM) or PERMISSION_DENIED (not the sender, and role does not moderate).
        A second recall of one target is Committed(repeated) at the first one's position. GROUP_NOT_FOUND when there is no group.
        """
        ...

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page:
        """Messages after `after_seq` up to `up_to_seq` (0: head), at most `limit`. GROUP_NOT_FOUND when there is no group."""
        ...

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page:
        """The newest `limit` messages below `before_seq` (0: from the head). GROUP_NOT_FOUND when there is no group."""
        ...

    def countable(
        self, group_id: GroupId, *, after_seq: int, exclude_sender: UserId | None, limit: int
    ) -> tuple[int, int, list[tuple[int, UserId]]]:
        """(epoch, head_seq, newest (seq, sender) that count as unread, rising). GROUP_NOT_FOUND when there is no group."""
        ...

    def delete_for_user(self, user_id: UserId, group_id: GroupId, seq: int) -> None:
        """Notes that one user deleted a message for themself; again changes nothing. MESSAGE_NOT_FOUND when there is none."""
        ...

    def deleted_for_user(self, user_id: UserId, group_id: GroupId, *, from_seq: int, limit: int) -> list[int]:
        """Seqs at or above `from_seq` that the user deleted: the newest `limit`, rising."""
        ...

    def deleted_for_users(self, queries: Sequence[DeletedQuery], *, limit: int) -> list[list[int]]:
        """`deleted_for_user` per query, in order; those who deleted nothing, nearly all, cost one look-up by key together."""
        ...


class MembershipStore(Protocol):
    """Purpose: groups and their members.

    Ordering: a change is seen by every call that starts after it returned. `member_count` always equals the number of members.
    Durability: as `MessageStore`. Idempotency: adding a member or removing a non-member changes nothing.
    Concurrency: any thread. Errors: ThrongError with the codes named at each method, UNAVAILABLE, INTERNAL.
    Cost: pages are read by key; no call's cost grows with the size of a group but by what it returns.
    """

    def create_group(self, group: Group, *, owner_id: UserId | None) -> Group:
        """Makes a group with epoch 1 and head 0. GROUP_EXISTS."""
        ...

    def get_group(self, group_id: GroupId) -> Group:
        """GROUP_NOT_FOUND."""
        ...

    def update_group(
        self, group_id: GroupId, *, name: str | None, announcement: str | None, settings: GroupSettings | None
    ) -> Group:
        """Replaces what is not None. GROUP_NOT_FOUND."""
        ...

    def list_groups(self, *, after_group_id: str, limit: int) -> list[Group]:
        """By group_id."""
        ...

    def list_members(self, group_id: GroupId, *, after_user_id: str, limit: int) -> list[Member]:
        """By user_id. GROUP_NOT_FOUND."""
        ...

    def add_members(self, group_id: GroupId, members: Sequence[Member]) -> tuple[int, int]:
        """(added, member_count); `joined_seq` is set to the head. GROUP_NOT_FOUND; CONFLICT for a second owner."""
        ...

    def remove_members(self, group_id: GroupId, user_ids: Sequence[UserId]) -> tuple[int, int]:
        """(removed, member_count). GROUP_NOT_FOUND; CONFLICT for the owner (then nobody is removed).

        When somebody was removed, `members_version` rises by the number of different users named.
        """
        ...

    def update_member(
        self,
        group_id: GroupId,
        user_id: UserId,
        *,
        role: Role | None,
        muted_until_ms: int | None,
        display_name: str | None,
    ) -> Member:
        """Replaces what is not None; OWNER makes the former owner an administrator. `members_version` rises by one. NOT_A_MEMBER,
        GROUP_NOT_FOUND; CONFLICT for taking the owner's role away."""
        ...

    def get_memberships(self, pairs: Sequence[tuple[GroupId, UserId]]) -> list[tuple[Group | None, Member | None]]:
        """Group (None: no such) and member (None: no member) per pair, in order."""
        ...

    def list_user_groups(self, user_id: UserId, *, after_group_id: str, limit: int) -> list[tuple[Group, Member]]:
        """By group_id."""
        ...

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """Head per group, in order; None: no such group."""
        ...

    def get_members_versions(self, group_ids: Sequence[GroupId]) -> list[int]:
        """`Group.members_version` per group, in order; 0: no such group, or no change yet."""
        ...


@quick_value(frozen=True, slots=True)
class RecentPut:
    """What one `RecentMessages.put` is given: consecutive messages, rising by seq, and the recalled seqs."""

    group_id: GroupId
    epoch: int
    messages: Sequence[StoredMessage]
    recalled: Sequence[int] = ()


class RecentMessages(Protocol):
    """Purpose: the newest messages and the head of each group, in memory; a cache of `MessageStore`.

    Ordering: by seq. Durability: none; may be emptied at any moment, and is then filled again by its callers.
    Idempotency: putting a message again changes nothing. Concurrency: any thread.
    Errors: ThrongError UNAVAILABLE; callers then go to the store, nothing else breaks.
    Bound: the newest `limits.RECENT_MESSAGES` of a group, and a number of bytes that the adapter names (the newest message is kept
    whatever its size). Not promised: that a message that was put is found.
    """

    def put(self, group_id: GroupId, epoch: int, messages: Sequence[StoredMessage], recalled: Sequence[int]) -> None:
        """Adds consecutive messages, raises the head to the last one, drops the body of recalled seqs and the oldest beyond
        the bound. Messages of another epoch replace everything; a gap before the first one drops what lay below it."""
        ...

    def put_many(self, puts: Sequence[RecentPut]) -> list[ThrongError | None]:
        """`put` for each, in order, at the cost of about one. Raises nothing: an outcome per put, since a part of the cache may be
        away; None: done."""
        ...

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page | None:
        """As `MessageStore.read_after`; None when any message of the answer is not here."""
        ...

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page | None:
        """As `MessageStore.read_before`; None when any message of the answer is not here."""
        ...

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """Head per group, in order; None: not known here, or its part of the cache is away while others answer."""
        ...

    def put_heads(self, heads: Sequence[tuple[GroupId, Position]]) -> None:
        """Raises heads (never lowers within an epoch)."""
        ...


@quick_value(frozen=True, slots=True)
class BlockPublication:
    """Consecutive persisted messages of one group, for all edges that hold it."""

    group_id: GroupId
    epoch: int
    prev_seq: int
    messages: Sequence[StoredMessage]
    recalled: Sequence[int] = ()


@quick_value(frozen=True, slots=True)
class AnswerPublication:
    """What came of a submission, for the connection it came from."""

    origin: Origin
    group_id: GroupId
    client_msg_id: str
    position: Position | None
    sent_at_ms: int = 0
    error: ThrongError | None = None


@dataclass(frozen=True, slots=True)
class MemberPublication:
    """A member's role (NONE: removed) or mute changed, for all edges that hold the group. `members_version` 0: nothing changed."""

    group_id: GroupId
    member: Member
    members_version: int = 0


@dataclass(frozen=True, slots=True)
class GroupPublication:
    """Name, settings or announcement changed, for all edges that hold the group."""

    group: Group


PublicationItem = BlockPublication | AnswerPublication | MemberPublication | GroupPublication


class Publisher(Protocol):
    """Purpose: hands publications to router_svc (hop 5).

    Ordering: per group as given. Durability: none; what is lost is healed by the comparison of heads, and a lost ACK by the
    client's retry. Idempotency: may be published again after a reconnect; receivers drop by seq.
    Concurrency: any thread; never blocks. Overflow: blocks of a group shrink to its head, answers are dropped; both are counted.
    """

    def publish(self, items: Sequence[PublicationItem]) -> None:
        """Queues publications."""
        ...


class UnreadObserver(Protocol):
    """Purpose: tells unread_svc of new messages and recalls (hop 5b). Bounded; may lose anything; never blocks."""

    def observe(self, block: BlockPublication) -> None:
        """Queues one block."""
        ...


class AnswerWaiters(Protocol):
    """Purpose: internal callers of SendMessage that wait for their answer.

    Ordering, durability: none. Concurrency: any thread. An answer for which nobody waits is dropped.
    """

    def register(self, on_answer: Callable[[AnswerPublication], None]) -> Origin:
        """Makes an origin whose answer calls `on_answer` once."""
        ...

    def forget(self, origin: Origin) -> None:
        """Waits no more. Idempotent."""
        ...

    def deliver(self, answer: AnswerPublication) -> bool:
        """Calls whoever waits; False when the origin is none of this process, and the answer must go elsewhere."""
        ...


class AnswerForwarder(Protocol):
    """Purpose: carries answers to internal callers that wait in another group service (hop 5).

    Ordering, durability: none; what is lost ends in DEADLINE_EXCEEDED at the caller, who repeats with the same id.
    Concurrency: any thread; never blocks. Overflow: answers are dropped and counted.
    """

    def forward(self, answer: AnswerPublication) -> bool:
        """Queues an answer; False when its origin is no group service, and the answer must be published."""
        ...


@quick_value(frozen=True, slots=True)
class BodyFacts:
    """What the checks need to know of a body; a field that the body's kind does not have is empty.

    Attributes:
        text: of a text or of the system's words.
        label: type of a custom payload, kind of a system event.
        foreign_fields: something is set that a submission must not set, such as `seq` or `sender_id`.
    """

    kind: MessageKind
    mentions: Sequence[str] = ()
    text: str = ""
    url: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0
    label: str = ""
    payload_bytes: int = 0
    target_seq: int = 0
    foreign_fields: bool = False


class BodyInspector(Protocol):
    """Purpose: reads a serialized body for the checks. Pure, any thread. Errors: INVALID_ARGUMENT for what cannot be read or is no
    content that a submission may have (nothing, or an edit)."""

    def inspect(self, body: bytes) -> BodyFacts:
        """Reads a body."""
        ...


class SafetyCheck(Protocol):
    """Purpose: tells whether people may see a text. Concurrency: any thread. Errors: none. Not promised: a reason."""

    def blocks(self, text: str) -> bool:
        """True when the text must not be sent."""
        ...


class SafetyVerdict(enum.Enum):
    """What a hook says of a message."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    UNDECIDED = "undecided"


class SafetyHook(Protocol):
    """Purpose: asks somebody outside whether people may see a message, before it is stored.

    Ordering: none; verdicts come in any order. Idempotency: the same message may be asked about again. Concurrency: any thread;
    `ask` never waits. Errors: none; whatever goes wrong is UNDECIDED. Bound: a verdict comes within the adapter's deadline;
    how many are asked for at a time is the caller's care.
    """

    def ask(self, submission: Submission, decided: Callable[[SafetyVerdict], None]) -> None:
        """`decided` is called exactly once, on any thread, possibly before this returns."""
        ...
