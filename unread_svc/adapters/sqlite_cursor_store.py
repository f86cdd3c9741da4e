"""`CursorStore` in a SQLite file (hop 8)."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from throng.adapters.sqlite_database import SQLiteDatabase
from unread_svc.ports import ReadCursor, UserInGroup

MIGRATIONS = "unread_svc.adapters.migrations_sqlite"
_PAIRS_PER_STATEMENT = 500
_ADVANCE = """
INSERT INTO read_cursor (user_id, group_id, read_seq) VALUES (?, ?, ?)
ON CONFLICT (user_id, group_id) DO UPDATE SET read_seq = excluded.read_seq WHERE excluded.read_seq > read_cursor.read_seq
"""
# CROSS JOIN holds SQLite to this order: one search by primary key per pair, never a scan of the table.
_READ = """
WITH wanted (wanted_user, wanted_group) AS (VALUES {values})
SELECT user_id, group_id, read_seq FROM wanted CROSS JOIN read_cursor ON user_id = wanted_user AND group_id = wanted_group
"""


class SQLiteCursorStore:
    """`CursorStore` over one file of its own."""

    def __init__(self, path: pathlib.Path) -> None:
        """Opens or makes the file.

        Raises:
            ThrongError: as `SQLiteDatabase`.
        """
        self._database = SQLiteDatabase(path, migrations_package=MIGRATIONS)

    def advance(self, cursors: Sequence[ReadCursor]) -> None:
        """Raises cursors in one transaction: one sync to disk however many there are."""
        with self._database.write() as connection:
            connection.executemany(_ADVANCE, cursors)

    def read(self, pairs: Sequence[UserInGroup]) -> list[int]:
        """Reads by primary key, many pairs per statement."""
        found: dict[tuple[str, str], int] = {}
        with self._database.read() as connection:
            for start in range(0, len(pairs), _PAIRS_PER_STATEMENT):
                part = pairs[start : start + _PAIRS_PER_STATEMENT]
                values = ",".join(["(?,?)"] * len(part))
                rows = connection.execute(_READ.format(values=values), [text for pair in part for text in pair])
                found.update({(user_id, group_id): read_seq for user_id, group_id, read_seq in rows})
        return [found.get((pair.user_id, pair.group_id), 0) for pair in pairs]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
