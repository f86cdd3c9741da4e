"""`MessageStore` over a SQLite file: one transaction per batch, pages by key range (hops 4 and 8)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from group_svc.adapters.commit_plan import CommitPlan, SubmissionKey, submission_key
from group_svc.adapters.membership_rules import no_such_group
from group_svc.adapters.sql_rows import (
    MESSAGE_COLUMNS,
    chunks,
    clamp,
    message_from_row,
    message_to_row,
    values_list,
)
from group_svc.ports import Candidate, DeletedQuery, Outcome, Page
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Position, StoredMessage

_HEAD = "SELECT epoch, head_seq FROM chat_group WHERE group_id = ?"
_ONE = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE group_id = ? AND seq = ?"
_EXISTS = "SELECT 1 FROM message WHERE group_id = ? AND seq = ?"
_RANGE = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE group_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
_COUNTABLE = """
SELECT seq, sender_id FROM message
WHERE group_id = ? AND seq > ? AND seq <= ? AND recalled_by_seq = 0 AND kind <> ? AND sender_id IS NOT ?
ORDER BY seq DESC LIMIT ?
"""
_DELETED = "SELECT seq FROM message_deleted_for_user WHERE user_id = ? AND group_id = ? AND seq >= ? ORDER BY seq DESC LIMIT ?"
_DELETE = "INSERT OR IGNORE INTO message_deleted_for_user (user_id, group_id, seq) VALUES (?, ?, ?)"
_INSERT = f"INSERT INTO message (group_id, {MESSAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BLANK = "UPDATE message SET body = x'', recalled_by_seq = ? WHERE group_id = ? AND seq = ?"
_RAISE = "UPDATE chat_group SET head_seq = ? WHERE group_id = ?"


class SQLiteMessageStore:
    """The durable history of all groups in one file. Two stores over one file, in two processes even, exclude each other."""

    def __init__(self, database: SQLiteDatabase) -> None:
        """Keeps the database; whoever made it closes it."""
        self._database = database

    def commit(self, candidates: Sequence[Candidate], *, now_ms: int) -> list[Outcome]:
        """One transaction for all candidates; see `MessageStore.commit`."""
        if not candidates:
            return []
        with self._database.write() as connection:
            plan = CommitPlan(
                heads=_read_heads(connection, candidates),
                persisted=_read_persisted(connection, candidates),
                load_message=lambda group_id, seq: _read_one(connection, group_id, seq),
                now_ms=now_ms,
            )
            outcomes = plan.run(candidates)
            if plan.new_messages:
                connection.executemany(_INSERT, [message_to_row(key[0], message) for key, message in plan.new_messages.items()])
                connection.executemany(_RAISE, [(seq, group_id) for group_id, seq in plan.heads.items()])
            if plan.blanked:
                connection.executemany(_BLANK, [(event_seq, *key) for key, event_seq in plan.blanked.items()])
        return outcomes

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page:
        """One range of the primary key."""
        with self._database.read() as connection:
            head = _head(connection, group_id)
            last = min(up_to_seq or head.seq, head.seq)
            rows = connection.execute(_RANGE, (group_id, clamp(after_seq), last, limit)).fetchall()
        return Page(head.epoch, head.seq, after_seq, [message_from_row(row) for row in rows])

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page:
        """One range of the primary key: seqs are dense, so where it begins is known."""
        with self._database.read() as connection:
            head = _head(connection, group_id)
            last = min(before_seq - 1, head.seq) if before_seq else head.seq
            after_seq = max(0, last - limit)
            rows = connection.execute(_RANGE, (group_id, after_seq, last, limit)).fetchall()
        return Page(head.epoch, head.seq, after_seq, [message_from_row(row) for row in rows])

    def countable(
        self, group_id: GroupId, *, after_seq: int, exclude_sender: UserId | None, limit: int
    ) -> tuple[int, int, list[tuple[int, UserId]]]:
        """Reads the primary key downward from the head until there are enough."""
        with self._database.read() as connection:
            head = _head(connection, group_id)
            rows = connection.execute(
                _COUNTABLE, (group_id, clamp(after_seq), head.seq, int(MessageKind.RECALL), exclude_sender, limit)
            ).fetchall()
        return head.epoch, head.seq, [(seq, UserId(sender_id)) for seq, sender_id in reversed(rows)]

    def delete_for_user(self, user_id: UserId, group_id: GroupId, seq: int) -> None:
        """Notes one deletion; see `MessageStore.delete_for_user`."""
        with self._database.write() as connection:
            if connection.execute(_EXISTS, (group_id, clamp(seq))).fetchone() is None:
                raise ThrongError(
                    ErrorCode.MESSAGE_NOT_FOUND, "there is no such message", fields={"group_id": group_id, "seq": str(seq)}
                )
            connection.execute(_DELETE, (user_id, group_id, seq))

    def deleted_for_user(self, user_id: UserId, group_id: GroupId, *, from_seq: int, limit: int) -> list[int]:
        """One range of the primary key, downward."""
        (found,) = self.deleted_for_users([DeletedQuery(user_id, group_id, from_seq)], limit=limit)
        return found

    def deleted_for_users(self, queries: Sequence[DeletedQuery], *, limit: int) -> list[list[int]]:
        """One range of the primary key each, downward."""
        with self._database.read() as connection:
            found = [
                connection.execute(_DELETED, (query.user_id, query.group_id, clamp(query.from_seq), limit)).fetchall()
                for query in queries
            ]
        return [[row[0] for row in reversed(rows)] for rows in found]


def _head(connection: sqlite3.Connection, group_id: GroupId) -> Position:
    row = connection.execute(_HEAD, (group_id,)).fetchone()
    if row is None:
        raise no_such_group(group_id)
    return Position(row[0], row[1])


def _read_heads(connection: sqlite3.Connection, candidates: Sequence[Candidate]) -> dict[GroupId, Position]:
    heads = {}
    for group_id in {candidate.submission.group_id for candidate in candidates}:
        row = connection.execute(_HEAD, (group_id,)).fetchone()
        if row is not None:
            heads[group_id] = Position(row[0], row[1])
    return heads


def _read_persisted(
    connection: sqlite3.Connection, candidates: Sequence[Candidate]
) -> dict[SubmissionKey, tuple[GroupId, StoredMessage]]:
    keys = list({submission_key(candidate.submission) for candidate in candidates})
    places: list[tuple[str, int]] = []
    for chunk in chunks(keys):
        sql = (
            f"WITH wanted (sender_id, client_msg_id) AS (VALUES {values_list(len(chunk), 2)}) "
            "SELECT message.group_id, message.seq FROM wanted CROSS JOIN message "
            "ON message.sender_id = wanted.sender_id AND message.client_msg_id = wanted.client_msg_id"
        )
        places += connection.execute(sql, [part for key in chunk for part in key]).fetchall()
    persisted: dict[SubmissionKey, tuple[GroupId, StoredMessage]] = {}
    for group_id, seq in places:
        message = _read_one(connection, GroupId(group_id), seq)
        assert message is not None
        persisted[message.sender_id, message.client_msg_id] = (GroupId(group_id), message)
    return persisted


def _read_one(connection: sqlite3.Connection, group_id: GroupId, seq: int) -> StoredMessage | None:
    row = connection.execute(_ONE, (group_id, clamp(seq))).fetchone()
    return None if row is None else message_from_row(row)
