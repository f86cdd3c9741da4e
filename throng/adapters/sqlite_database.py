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
import time
from collections.abc import Iterator
from importlib import resources

from throng.domain.errors import ErrorCode, ThrongError, unavailable

_BUSY_SECONDS = 10.0
_LOOK_SECONDS = 0.01
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


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switches to WAL. SQLite's own waiting does not cover the moment in which another process makes the same file."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


class SQLiteDatabase:
    """One file. `read` lends a connection; `write` is exclusive over all threads of this process, and over processes by SQLite."""

    def __init__(self, path: pathlib.Path, *, migrations_package: str) -> None:
        """Opens or makes the file and applies what is missing.

        Raises:
            ThrongError: INTERNAL when the file's schema is newer than this program; UNAVAILABLE when it cannot be used.
        """
        self._path = path
        self._migrations = read_migrations(migrations_package)
        self._write_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        with translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            try:
                self._migrate()
            except BaseException:
                self._writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
        try:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
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
            self._writer.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors (disk full, I/O), and then refuses to do it again.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on an exception.

        Raises:
            ThrongError: UNAVAILABLE (disk full, read-only, locked, closed) or INTERNAL; then nothing was written.
        """
        with self._write_lock, translated():
            if self._closed:
                raise unavailable("the SQLite file is closed")
            with self._transaction():
                yield self._writer

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lends a connection to this thread; each statement sees the newest commit. As many are kept as ever read at once.

        Raises:
            ThrongError: UNAVAILABLE or INTERNAL.
        """
        with translated():
            with self._idle_lock:
                if self._closed:
                    raise unavailable("the SQLite file is closed")
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Waits for a write, then closes; a connection that is lent out is closed when it comes back. Idempotent."""
        with self._write_lock:
            with self._idle_lock:
                self._closed = True
                idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            self._writer.close()
