"""`CursorStore` over MySQL (hop 8)."""

from __future__ import annotations

from collections.abc import Sequence

from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import Schema
from throng.adapters.mysql_statements import Statements, chunks, row_of, rows_of
from unread_svc.ports import ReadCursor, UserInGroup

SCHEMA = Schema("unread", "unread_svc.adapters.migrations_mysql")
_ADVANCE = "INSERT INTO read_cursor (user_id, group_id, read_seq) VALUES "
_HIGHEST = " ON DUPLICATE KEY UPDATE read_seq = GREATEST(read_seq, VALUES(read_seq))"
_READ = "SELECT user_id, group_id, read_seq FROM read_cursor FORCE INDEX (PRIMARY) WHERE (user_id, group_id) IN ({pairs})"


class MySQLCursorStore:
    """`CursorStore` over one database."""

    def __init__(self, database: MySQLDatabase) -> None:
        """Takes the database over: `close` closes it."""
        self._database = database

    def advance(self, cursors: Sequence[ReadCursor]) -> None:
        """Raises cursors in one transaction, in the order of the key: two reports never wait for each other in a circle."""
        highest: dict[UserInGroup, int] = {}
        for user_id, group_id, read_seq in cursors:
            pair = UserInGroup(user_id, group_id)
            highest[pair] = max(read_seq, highest.get(pair, 0))
        rows = [row_of((*pair, read_seq)) for pair, read_seq in sorted(highest.items())]
        if not rows:
            return

        def write(statements: Statements) -> None:
            for part in chunks(rows):
                statements.insert(_ADVANCE, part, _HIGHEST)

        self._database.write(write)

    def read(self, pairs: Sequence[UserInGroup]) -> list[int]:
        """Reads by primary key, many pairs per statement."""
        parts = list(chunks(list(dict.fromkeys(pairs))))
        if not parts:
            return []

        def read(statements: Statements) -> dict[tuple[str, str], int]:
            rows = [row for part in parts for row in statements.rows(_READ.format(pairs=rows_of(part)))]
            return {(user_id, group_id): read_seq for user_id, group_id, read_seq in rows}

        found = self._database.read(read)
        return [found.get((pair.user_id, pair.group_id), 0) for pair in pairs]

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()
