"""Statements of group_svc's MySQL tables, and their rows as SQL.

Every look-up names its index: the optimizer may not trade it for a scan while a table is young and its statistics are wrong.
Ranges of seqs have both ends, so that no more is read than is returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from group_svc.adapters.commit_plan import MessageKey, SubmissionKey
from group_svc.adapters.sql_rows import GROUP_COLUMNS, MEMBER_COLUMNS, MESSAGE_COLUMNS, clamp
from group_svc.ports import DeletedQuery
from throng.adapters.mysql_migrations import Schema
from throng.adapters.mysql_statements import Value, chunks, list_of, literal, row_of, rows_of
from throng.domain.group import Member
from throng.domain.ids import GroupId, UserId
from throng.domain.message import StoredMessage

SCHEMA = Schema("group", "group_svc.adapters.migrations_mysql")

HEAD = "SELECT epoch, head_seq FROM chat_group WHERE group_id = %s"
RANGE = f"SELECT {MESSAGE_COLUMNS} FROM message FORCE INDEX (PRIMARY) WHERE group_id = %s AND seq > %s AND seq <= %s ORDER BY seq"
EXISTS = "SELECT 1 FROM message WHERE group_id = %s AND seq = %s"
DELETED = """
SELECT seq FROM message_deleted_for_user FORCE INDEX (PRIMARY) WHERE user_id = %s AND group_id = %s AND seq >= %s
ORDER BY seq DESC LIMIT %s
"""
DELETE_FOR_USER = """
INSERT INTO message_deleted_for_user (user_id, group_id, seq) VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE seq = VALUES(seq)
"""
INSERT_MESSAGES = f"INSERT INTO message (group_id, {MESSAGE_COLUMNS}) VALUES "
BLANK = "UPDATE message SET body = '', recalled_by_seq = %s WHERE group_id = %s AND seq = %s"

GROUP = f"SELECT {GROUP_COLUMNS} FROM chat_group g WHERE g.group_id = %s"
GROUPS = f"SELECT {GROUP_COLUMNS} FROM chat_group g FORCE INDEX (PRIMARY) WHERE g.group_id > %s ORDER BY g.group_id LIMIT %s"
LOCK_GROUP = f"SELECT {GROUP_COLUMNS}, g.owner_id FROM chat_group g WHERE g.group_id = %s FOR UPDATE"
INSERT_GROUP = """
INSERT INTO chat_group (group_id, name, epoch, head_seq, member_count, owner_id, settings, announcement, created_at_ms)
VALUES (%s, %s, 1, 0, %s, %s, %s, %s, %s)
"""
UPDATE_GROUP = "UPDATE chat_group SET name = %s, announcement = %s, settings = %s WHERE group_id = %s"
COUNT = "UPDATE chat_group SET member_count = %s, owner_id = %s WHERE group_id = %s"
REMOVED = "UPDATE chat_group SET member_count = %s, members_version = members_version + %s WHERE group_id = %s"
CHANGED = "UPDATE chat_group SET members_version = members_version + 1, owner_id = %s WHERE group_id = %s"
MEMBER = f"SELECT {MEMBER_COLUMNS} FROM group_member m WHERE m.group_id = %s AND m.user_id = %s"
MEMBERS = f"""
SELECT {MEMBER_COLUMNS} FROM group_member m FORCE INDEX (PRIMARY) WHERE m.group_id = %s AND m.user_id > %s
ORDER BY m.user_id LIMIT %s
"""
INSERT_MEMBERS = "INSERT INTO group_member (group_id, user_id, role, joined_seq, muted_until_ms, display_name) VALUES "
# Changes nothing in a row that is there, and then does not count it as changed: one look for both, half the time of two.
UNLESS_MEMBER = " ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)"
UPDATE_MEMBER = """
UPDATE group_member SET role = %s, muted_until_ms = %s, display_name = %s WHERE group_id = %s AND user_id = %s
"""
USER_GROUPS = f"""
SELECT {GROUP_COLUMNS}, {MEMBER_COLUMNS}
FROM group_member m FORCE INDEX (group_member_by_user) STRAIGHT_JOIN chat_group g ON g.group_id = m.group_id
WHERE m.user_id = %s AND m.group_id > %s ORDER BY m.group_id LIMIT %s
"""

# Only rows that are there and locked: nothing is inserted, the other values are never seen.
_RAISE_HEAD = (
    "INSERT INTO chat_group (group_id, name, epoch, head_seq, member_count, settings, announcement, created_at_ms) VALUES "
)
_RAISE_TAIL = " ON DUPLICATE KEY UPDATE head_seq = VALUES(head_seq)"


def lock_heads(group_ids: Sequence[GroupId]) -> str:
    """Locks groups in the order of their ids, so that two writers never wait for each other."""
    return (
        "SELECT group_id, epoch, head_seq FROM chat_group FORCE INDEX (PRIMARY) "
        f"WHERE group_id IN ({list_of(group_ids)}) ORDER BY group_id FOR UPDATE"
    )


def find_submissions(keys: Sequence[SubmissionKey]) -> str:
    """Where messages with these (sender_id, client_msg_id) stand; reads the index alone."""
    return (
        "SELECT group_id, seq FROM message FORCE INDEX (message_by_client_msg_id) "
        f"WHERE (sender_id, client_msg_id) IN ({rows_of(keys)})"
    )


def find_messages(keys: Sequence[MessageKey]) -> str:
    """Messages by primary key: group_id, then MESSAGE_COLUMNS."""
    return f"SELECT group_id, {MESSAGE_COLUMNS} FROM message FORCE INDEX (PRIMARY) WHERE (group_id, seq) IN ({rows_of(keys)})"


def find_deleted(queries: Sequence[DeletedQuery], most: int) -> str:
    """(user_id, group_id, seq) of what many users deleted, by ranges of the primary key; at most so many rows.

    Without ORDER BY a table with few rows is read as a whole.
    """
    ranges = " OR ".join(
        f"(user_id = {literal(user_id)} AND group_id = {literal(group_id)} AND seq >= {clamp(from_seq)})"
        for user_id, group_id, from_seq in queries
    )
    return (
        f"SELECT user_id, group_id, seq FROM message_deleted_for_user FORCE INDEX (PRIMARY) WHERE {ranges} "
        f"ORDER BY user_id, group_id, seq LIMIT {most}"
    )


def find_groups(group_ids: Sequence[GroupId], columns: str = GROUP_COLUMNS) -> str:
    """Groups by primary key."""
    return f"SELECT {columns} FROM chat_group g FORCE INDEX (PRIMARY) WHERE g.group_id IN ({list_of(group_ids)})"


def find_members(pairs: Sequence[tuple[GroupId, UserId]]) -> str:
    """Members by primary key: group_id, then MEMBER_COLUMNS."""
    return (
        f"SELECT m.group_id, {MEMBER_COLUMNS} FROM group_member m FORCE INDEX (PRIMARY) "
        f"WHERE (m.group_id, m.user_id) IN ({rows_of(pairs)})"
    )


def delete_members(group_id: GroupId, user_ids: Sequence[UserId]) -> str:
    """Deletes by primary key."""
    return f"DELETE FROM group_member WHERE group_id = {literal(group_id)} AND user_id IN ({list_of(user_ids)})"


def countable(exclude_sender: UserId | None) -> str:
    """Messages that count as unread in a range of seqs, downward; `%s`: group_id, after, up to, kind, (sender,) limit."""
    other = "" if exclude_sender is None else "AND sender_id <> %s "
    return (
        "SELECT seq, sender_id FROM message FORCE INDEX (PRIMARY) WHERE group_id = %s AND seq > %s AND seq <= %s "
        f"AND recalled_by_seq = 0 AND kind <> %s {other}ORDER BY seq DESC LIMIT %s"
    )


def raise_heads(heads: Mapping[GroupId, int]) -> list[str]:
    """New heads of locked groups, one statement per several hundred."""
    rows = [f"({literal(group_id)},'',1,{seq},0,'','',0)" for group_id, seq in heads.items()]
    return [f"{_RAISE_HEAD}{','.join(part)}{_RAISE_TAIL}" for part in chunks(rows)]


def message_row(key: MessageKey, message: StoredMessage) -> str:
    """A row for INSERT_MESSAGES."""
    return (
        f"({literal(key[0])},{message.seq},{literal(message.sender_id)},{literal(message.sender_name)},"
        f"{literal(message.client_msg_id)},{int(message.kind)},{int(message.lane)},X'{message.body.hex()}',"
        f"{message.sent_at_ms},{message.recalled_by_seq})"
    )


def member_row(group_id: GroupId, joined_seq: int, member: Member) -> str:
    """A row for INSERT_MEMBERS."""
    values: tuple[Value, ...] = (
        group_id,
        member.user_id,
        int(member.role),
        joined_seq,
        member.muted_until_ms,
        member.display_name,
    )
    return row_of(values)
