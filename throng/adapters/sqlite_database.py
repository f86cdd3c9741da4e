"""A SQLite file with one writer and many readers, and its migrations.

WAL with synchronous=FULL: a commit is on disk when it returns (I3). Numbered forward-only migrations lie as
`NNNN_name.sql` in a package; their numbers are kept in `schema_migration`.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from importlib import resources

from throng.domain.errors import ErrorCode, ThrongError, unavailable

_NAME = re.compile(r"(\d{4})_\w+\.sql")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every exception of sqlite3 inside into a ThrongError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise unavailable(f"the SQLite file cannot be used: {error}") from error
    except sqlite3.Error as error:
        raise ThrongError(ErrorCode.INTERNAL, f"SQLite refused a statement: {error}") from error


def read_migrations(package: str) -> list[tuple[int, str]]:
    """Reads the migrations in `package` as (number, SQL), rising."""
    found = []
    for entry in resources.files(package).iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append((int(match.group(1)), entry.read_text(encoding="utf-8")))
    return sorted(found)


class SQLiteDatabase:
    """One file. `read` gives a connection per thread; `write` is exclusive over all threads of this process."""

    def __init__(self, path: pathlib.Path, *, migrations_package: str) -> None:
        """Opens or makes the file and applies what is missing.

        Raises:
            ThrongError: INTERNAL when the file's schema is newer than this program; UNAVAILABLE when it cannot be used.
        """
        self._path = path
        self._migrations = read_migrations(migrations_package)
        self._write_lock = threading.Lock()
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._all_lock = threading.Lock()
        with translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._migrate()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        with self._all_lock:
            self._all.append(connection)
        return connection

    def _migrate(self) -> None:
        with self._write_lock, self._transaction():
            self._writer.execute("CREATE TABLE IF NOT EXISTS schema_migration (number INTEGER PRIMARY KEY)")
            done = {row[0] for row in self._writer.execute("SELECT number FROM schema_migration")}
            if done - {number for number, _ in self._migrations}:
                raise ThrongError(ErrorCode.INTERNAL, f"{self._path} was made by a newer version of Throng")
            for number, sql in self._migrations:
                if number not in done:
                    for statement in filter(str.strip, sql.split(";\n")):
                        self._writer.execute(statement)
                    self._writer.execute("INSERT INTO schema_migration (number) VALUES (?)", (number,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on an exception.

        Raises:
            ThrongError: UNAVAILABLE (disk full, read-only, locked) or INTERNAL; then nothing was written.
        """
        with self._write_lock, translated(), self._transaction():
            yield self._writer

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """This thread's reading connection; each statement sees the newest commit.

        Raises:
            ThrongError: UNAVAILABLE or INTERNAL.
        """
        with translated():
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
            yield connection

    def close(self) -> None:
        """Closes all connections; call it when no thread uses them any more."""
        with self._all_lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
