"""Rows of group_svc's SQL tables as values of the domain and back, the same for SQLite and MySQL; lists of keys for SQLite."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from throng.domain.group import Delivery, Group, GroupSettings, Member, OverBudget, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind, StoredMessage

T = TypeVar("T")

GROUP_COLUMNS = (
    "g.group_id, g.name, g.epoch, g.head_seq, g.member_count, g.settings, g.announcement, g.created_at_ms, g.members_version"
)
MEMBER_COLUMNS = "m.user_id, m.role, m.joined_seq, m.muted_until_ms, m.display_name"
MESSAGE_COLUMNS = "seq, sender_id, sender_name, client_msg_id, kind, lane, body, sent_at_ms, recalled_by_seq"
GROUP_WIDTH = 9

MAX_INTEGER = 2**63 - 1
_CHUNK = 500
_KINDS = {int(kind): kind for kind in MessageKind}
_LANES = {int(lane): lane for lane in Lane}


def clamp(number: int) -> int:
    """A uint64 of the contract as SQL's largest integer at most: nothing is stored above, so ranges mean the same."""
    return min(number, MAX_INTEGER)


def chunks(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices that stay far below SQLite's limit of variables."""
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def values_list(count: int, width: int) -> str:
    """`(?,?),(?,?)…` for a common table that is joined with CROSS JOIN: `IN (VALUES …)` with pairs scans the whole index."""
    return ",".join([f"({','.join('?' * width)})"] * count)


def encode_settings(settings: GroupSettings) -> str:
    """Settings as the text of the column."""
    return json.dumps(dataclasses.asdict(settings), separators=(",", ":"))


@functools.lru_cache(maxsize=1024)
def decode_settings(text: str) -> GroupSettings:
    """Reads the column; a field that an older version did not write has its default."""
    fields: dict[str, Any] = json.loads(text)
    known = {field.name for field in dataclasses.fields(GroupSettings)}
    fields = {name: value for name, value in fields.items() if name in known}
    if "delivery" in fields:
        fields["delivery"] = Delivery(fields["delivery"])
    if "over_budget" in fields:
        fields["over_budget"] = OverBudget.SAMPLE if fields["over_budget"] == OverBudget.SAMPLE else OverBudget.REJECT
    return GroupSettings(**fields)


def group_from_row(row: Sequence[Any]) -> Group:
    """Reads GROUP_COLUMNS."""
    return Group(GroupId(row[0]), row[1], row[2], row[3], row[4], decode_settings(row[5]), row[6], row[7], row[8])


def member_from_row(row: Sequence[Any]) -> Member:
    """Reads MEMBER_COLUMNS."""
    return Member(UserId(row[0]), Role(row[1]), row[2], row[3], row[4])


def message_from_row(row: Sequence[Any]) -> StoredMessage:
    """Reads MESSAGE_COLUMNS."""
    return StoredMessage(row[0], UserId(row[1]), row[2], row[3], _KINDS[row[4]], _LANES[row[5]], row[6], row[7], row[8])


def message_to_row(group_id: GroupId, message: StoredMessage) -> tuple[Any, ...]:
    """A row of `message`: group_id, then MESSAGE_COLUMNS."""
    return (
        group_id,
        message.seq,
        message.sender_id,
        message.sender_name,
        message.client_msg_id,
        int(message.kind),
        int(message.lane),
        message.body,
        message.sent_at_ms,
        message.recalled_by_seq,
    )
