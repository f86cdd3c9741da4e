"""Positions, submissions and stored messages. Bodies stay serialized: the domain never reads them."""

from __future__ import annotations

import enum

from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.quick_values import quick_value


class Lane(enum.IntEnum):
    """Priority before numbering. Same numbers as throng.common.v1.Lane."""

    HIGH = 1
    NORMAL = 2


class MessageKind(enum.IntEnum):
    """What a stored message is. Same numbers as the fields of the oneof `content` in throng.common.v1.Message."""

    TEXT = 10
    IMAGE = 11
    CUSTOM = 12
    SYSTEM = 13
    RECALL = 14

    @property
    def counts_as_unread(self) -> bool:
        """Recall events are read by nobody."""
        return self is not MessageKind.RECALL


@quick_value(frozen=True, slots=True)
class Position:
    """A place in a group's history; seqs of different epochs cannot be compared."""

    epoch: int
    seq: int


@quick_value(frozen=True, slots=True)
class Origin:
    """Where the answer to a submission goes: one connection of one life of one edge (or internal caller)."""

    edge_id: EdgeId
    incarnation: int
    conn_id: ConnId
    request_id: int = 0


@quick_value(frozen=True, slots=True)
class Submission:
    """One record of the uplink.

    Attributes:
        client_msg_id: UUID in lower case; (`user_id`, `client_msg_id`) is unique for ever.
        kind: what the body is.
        target_seq: for a RECALL the message that is taken back, otherwise 0.
        body: serialized throng.common.v1.Message with only content, mentions and reply_to_seq set.
        received_at_ms: when the edge received it, milliseconds since 1970 UTC.
        lane: as far as the edge knows; the group's writer decides.
        unlimited: interval and budget do not apply (internal programs).
    """

    group_id: GroupId
    user_id: UserId
    client_msg_id: str
    kind: MessageKind
    body: bytes
    origin: Origin
    received_at_ms: int
    target_seq: int = 0
    lane: Lane = Lane.NORMAL
    unlimited: bool = False


@quick_value(frozen=True, slots=True)
class StoredMessage:
    """A persisted message.

    Attributes:
        body: as submitted; empty once recalled.
        sent_at_ms: when the writer accepted it, milliseconds since 1970 UTC.
        recalled_by_seq: seq of the recall event that blanked it; 0: not recalled.
    """

    seq: int
    sender_id: UserId
    sender_name: str
    client_msg_id: str
    kind: MessageKind
    lane: Lane
    body: bytes
    sent_at_ms: int
    recalled_by_seq: int = 0
