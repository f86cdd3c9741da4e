"""`MessageStore` over MySQL: one transaction per batch, pages by key range (hops 4 and 8)."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from group_svc.adapters import mysql_rows as sql
from group_svc.adapters.commit_plan import CommitPlan, MessageKey, SubmissionKey, submission_key
from group_svc.adapters.membership_rules import no_such_group
from group_svc.adapters.sql_rows import clamp, message_from_row
from group_svc.ports import Candidate, DeletedQuery, Outcome, Page
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_statements import Statements, chunks
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Position, StoredMessage

_FIRST_WINDOW, _LARGEST_WINDOW = 256, 4_096


class MySQLMessageStore:
    """The durable history of all groups. Writers of one group, in several processes even, wait for each other at its row."""

    def __init__(self, database: MySQLDatabase) -> None:
        """Keeps the database; whoever made it closes it."""
        self._database = database

    def commit(self, candidates: Sequence[Candidate], *, now_ms: int) -> list[Outcome]:
        """One transaction of two round trips for all candidates, three where some are repeated; see `MessageStore.commit`."""
        if not candidates:
            return []
        return self._database.write(lambda statements: _commit(statements, candidates, now_ms))

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page:
        """One range of the primary key: seqs are dense, so where it ends is known."""

        def read(statements: Statements) -> Page:
            head = _head(statements, group_id)
            first = min(after_seq, head.seq)
            last = min(up_to_seq or head.seq, head.seq, first + limit)
            rows = statements.rows(sql.RANGE, group_id, first, last) if last > first else ()
            return Page(head.epoch, head.seq, after_seq, [message_from_row(row) for row in rows])

        return self._database.read(read)

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page:
        """One range of the primary key: seqs are dense, so where it begins is known."""

        def read(statements: Statements) -> Page:
            head = _head(statements, group_id)
            last = min(before_seq - 1, head.seq) if before_seq else head.seq
            after_seq = max(0, last - limit)
            rows = statements.rows(sql.RANGE, group_id, after_seq, last) if last > after_seq else ()
            return Page(head.epoch, head.seq, after_seq, [message_from_row(row) for row in rows])

        return self._database.read(read)

    def countable(
        self, group_id: GroupId, *, after_seq: int, exclude_sender: UserId | None, limit: int
    ) -> tuple[int, int, list[tuple[int, UserId]]]:
        """Reads the primary key downward from the head, window by window, until there are enough."""

        def read(statements: Statements) -> tuple[int, int, list[tuple[int, UserId]]]:
            head = _head(statements, group_id)
            found = _countable(statements, group_id, (after_seq, head.seq), exclude_sender, limit)
            return head.epoch, head.seq, found

        return self._database.read(read)

    def delete_for_user(self, user_id: UserId, group_id: GroupId, seq: int) -> None:
        """Notes one deletion; see `MessageStore.delete_for_user`."""

        def write(statements: Statements) -> None:
            if statements.row(sql.EXISTS, group_id, clamp(seq)) is None:
                raise ThrongError(
                    ErrorCode.MESSAGE_NOT_FOUND, "there is no such message", fields={"group_id": group_id, "seq": str(seq)}
                )
            statements.run(sql.DELETE_FOR_USER, user_id, group_id, seq)

        self._database.write(write)

    def deleted_for_user(self, user_id: UserId, group_id: GroupId, *, from_seq: int, limit: int) -> list[int]:
        """One range of the primary key, downward."""
        query = DeletedQuery(user_id, group_id, from_seq)
        return self._database.read(lambda statements: _deleted(statements, query, limit))

    def deleted_for_users(self, queries: Sequence[DeletedQuery], *, limit: int) -> list[list[int]]:
        """One statement per 500 queries, where few deleted anything."""
        if not queries:
            return []
        return self._database.read(
            lambda statements: [found for part in chunks(queries) for found in _deleted_of_many(statements, part, limit)]
        )


def _head(statements: Statements, group_id: GroupId) -> Position:
    row = statements.row(sql.HEAD, group_id)
    if row is None:
        raise no_such_group(group_id)
    return Position(row[0], row[1])


def _countable(
    statements: Statements, group_id: GroupId, between: tuple[int, int], exclude_sender: UserId | None, limit: int
) -> list[tuple[int, UserId]]:
    after_seq, last = between
    window, found = _FIRST_WINDOW, list[tuple[int, UserId]]()
    statement = sql.countable(exclude_sender)
    others = () if exclude_sender is None else (exclude_sender,)
    while last > after_seq and len(found) < limit:
        first = max(after_seq, last - window)
        missing = limit - len(found)
        rows = statements.rows(statement, group_id, first, last, int(MessageKind.RECALL), *others, missing)
        found += [(seq, UserId(sender_id)) for seq, sender_id in rows]
        last, window = first, min(2 * window, _LARGEST_WINDOW)
    found.reverse()
    return found


def _deleted(statements: Statements, query: DeletedQuery, limit: int) -> list[int]:
    rows = statements.rows(sql.DELETED, query.user_id, query.group_id, clamp(query.from_seq), limit)
    return [row[0] for row in reversed(rows)]


def _deleted_of_many(statements: Statements, queries: Sequence[DeletedQuery], limit: int) -> list[list[int]]:
    """As long as they deleted less than one message each; otherwise by halves, until those who deleted much are alone."""
    if len(queries) == 1:
        return [_deleted(statements, queries[0], limit)]
    rows = statements.rows(sql.find_deleted(queries, len(queries)))
    if len(rows) >= len(queries):
        half = len(queries) // 2
        return [*_deleted_of_many(statements, queries[:half], limit), *_deleted_of_many(statements, queries[half:], limit)]
    seqs = collections.defaultdict[tuple[str, str], list[int]](list)
    for user_id, group_id, seq in rows:
        seqs[user_id, group_id].append(seq)
    return [[seq for seq in seqs.get((user, group), ()) if seq >= from_seq][-limit:] for user, group, from_seq in queries]


def _commit(statements: Statements, candidates: Sequence[Candidate], now_ms: int) -> list[Outcome]:
    heads, places = _lock_heads(statements, candidates)
    plan = CommitPlan(
        heads=heads,
        persisted=_read_persisted(statements, places),
        load_message=lambda group_id, seq: _read_messages(statements, [(group_id, clamp(seq))]).get((group_id, seq)),
        now_ms=now_ms,
    )
    outcomes = plan.run(candidates)
    rows = (sql.message_row(key, message) for key, message in plan.new_messages.items())
    statements.insert_later(sql.INSERT_MESSAGES, rows)
    for statement in sql.raise_heads(plan.heads):
        statements.later(statement)
    for (group_id, seq), event_seq in plan.blanked.items():
        statements.later(sql.BLANK, event_seq, group_id, seq)
    return outcomes


def _lock_heads(statements: Statements, candidates: Sequence[Candidate]) -> tuple[dict[GroupId, Position], list[MessageKey]]:
    """Locks the groups and returns their heads, and where submissions stand that are there already.

    The latter is read after the groups are locked, though in the same round trip: whoever held them before has committed.
    """
    locks = [sql.lock_heads(part) for part in chunks(sorted({candidate.submission.group_id for candidate in candidates}))]
    keys = list({submission_key(candidate.submission): None for candidate in candidates})
    answers = statements.together([*locks, *map(sql.find_submissions, chunks(keys))])
    heads = {GroupId(group_id): Position(epoch, seq) for rows in answers[: len(locks)] for group_id, epoch, seq in rows}
    return heads, [(GroupId(group_id), seq) for rows in answers[len(locks) :] for group_id, seq in rows]


def _read_persisted(statements: Statements, places: Sequence[MessageKey]) -> dict[SubmissionKey, tuple[GroupId, StoredMessage]]:
    found = _read_messages(statements, places)
    return {(message.sender_id, message.client_msg_id): (key[0], message) for key, message in found.items()}


def _read_messages(statements: Statements, keys: Sequence[MessageKey]) -> dict[MessageKey, StoredMessage]:
    messages: dict[MessageKey, StoredMessage] = {}
    for part in chunks(keys):
        for row in statements.rows(sql.find_messages(part)):
            messages[GroupId(row[0]), row[1]] = message_from_row(row[1:])
    return messages
