"""What an edge says to clients (hop 7); the codec turns each into a frame. Messages are serialized throng.common.v1.Message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.ports import EnteredGroup, UnreadCount
from throng.domain.errors import ErrorCode
from throng.domain.group import Delivery, Group, Role
from throng.domain.quick_values import quick_value


@dataclass(frozen=True, slots=True)
class Welcome:
    """First frame on every connection; times in milliseconds."""

    user_id: str
    edge_id: str
    conn_id: str
    heartbeat_interval_ms: int
    max_frame_bytes: int
    min_send_interval_ms: int
    reconnect_base_ms: int
    reconnect_max_ms: int


@dataclass(frozen=True, slots=True)
class Entered:
    """Answer to `enter`. `unread` None: could not be had; `resume_token` empty: none for now. `shared`: group and
    messages as the codec's `share` made them, where many get the same; both are looked at no more then. `online` 0: not known."""

    group: Group
    role: Role
    messages: Sequence[bytes]
    unread: UnreadCount | None
    deleted_seqs: Sequence[int]
    delivery: Delivery
    reset: bool
    resume_token: str = ""
    shared: bytes | None = None
    online: int = 0


@quick_value(frozen=True, slots=True)
class Ack:
    """A submitted message is durable."""

    group_id: str
    client_msg_id: str
    epoch: int
    seq: int
    sent_at_ms: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A submitted message was refused."""

    group_id: str
    client_msg_id: str
    code: ErrorCode
    text: str
    retry_after_ms: int = 0


@quick_value(frozen=True, slots=True)
class Notice:
    """The head of a group has moved."""

    group_id: str
    epoch: int
    head_seq: int


@quick_value(frozen=True, slots=True)
class Block:
    """Consecutive messages. `serialized` and `json`: the whole block, where it is ready already."""

    group_id: str
    epoch: int
    prev_seq: int
    messages: Sequence[bytes]
    serialized: bytes | None = None
    json: str | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """Answer to `pull` and `history`: `messages` have the seqs `after_seq` + 1 and so on."""

    group_id: str
    epoch: int
    after_seq: int
    head_seq: int
    messages: Sequence[bytes]
    deleted_seqs: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Groups:
    """Answer to `list_groups`."""

    groups: Sequence[tuple[EnteredGroup, UnreadCount | None]]
    unread_unavailable: bool


@dataclass(frozen=True, slots=True)
class UnreadCounts:
    """Unread counts of some groups."""

    counts: Sequence[UnreadCount]


@dataclass(frozen=True, slots=True)
class Online:
    """How many connections a group has on all edges, about."""

    group_id: str
    count: int


@dataclass(frozen=True, slots=True)
class GroupLeft:
    """Answer to `leave`."""

    group_id: str


@dataclass(frozen=True, slots=True)
class GroupRemoved:
    """The user is no member any more."""

    group_id: str


@dataclass(frozen=True, slots=True)
class GroupDeletedForMe:
    """The user deleted these for themself."""

    group_id: str
    seqs: Sequence[int]


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """Name, settings or announcement changed."""

    group: Group


@dataclass(frozen=True, slots=True)
class Resume:
    """A fresh resume token."""

    group_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Drain:
    """The edge is about to stop."""

    reconnect_after_ms: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `ping`; milliseconds since 1970 UTC."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A request other than `send` failed."""

    code: ErrorCode
    text: str
    retry_after_ms: int = 0
    group_id: str = field(default="")


Response = (
    Welcome
    | Entered
    | Ack
    | Reject
    | Notice
    | Block
    | Pulled
    | Groups
    | UnreadCounts
    | Online
    | GroupLeft
    | GroupRemoved
    | GroupDeletedForMe
    | GroupChanged
    | Resume
    | Drain
    | Pong
    | Failure
)
