"""Numbered forward-only migrations of several services in one MySQL database.

`NNNN_name.sql` in a package; the first line `-- works-with: N` says which programs work with the schema that it makes: those whose
own newest migration is N or above. What was done stands in `schema_migration` (service, number). MySQL commits every statement
that changes a table by itself, so a migration may stop half-way: it is noted as begun, and the next run passes over what is
there already.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from importlib import resources

from throng.adapters.mysql_access import MySQLAccess
from throng.adapters.mysql_errors import MySQLFailure
from throng.adapters.mysql_pool import MySQLPool
from throng.adapters.mysql_statements import Statements
from throng.domain.errors import ErrorCode, ThrongError, unavailable

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_WORKS_WITH = re.compile(r"-- works-with: (\d+)\n")
_NO_SUCH_TABLE = 1146
_DONE_ALREADY = frozenset({1007, 1050, 1060, 1061, 1091})
"""A table, column or index that a statement makes is there, or what it drops is not."""

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    service VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    number INT NOT NULL,
    works_with INT NOT NULL,
    finished TINYINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    PRIMARY KEY (service, number)
) ENGINE=InnoDB
"""
_READ = "SELECT number, works_with, finished FROM schema_migration WHERE service = %s ORDER BY number"
_NOTE = """
INSERT INTO schema_migration (service, number, works_with, finished, changed_at_ms) VALUES (%s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE finished = VALUES(finished), changed_at_ms = VALUES(changed_at_ms)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `works_with`: the lowest number of a program that can work with what it makes."""

    number: int
    works_with: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables of one service: its name in `schema_migration` and the package with its migrations."""

    service: str
    package: str

    def migrations(self) -> list[Migration]:
        """All of them, rising.

        Raises:
            ValueError: a file without its `-- works-with` line.
        """
        found = []
        for entry in resources.files(self.package).iterdir():
            match = _NAME.fullmatch(entry.name)
            if match is not None:
                found.append(_parse(int(match[1]), entry.read_text(encoding="utf-8"), entry.name))
        return sorted(found, key=lambda migration: migration.number)


def _parse(number: int, sql: str, name: str) -> Migration:
    match = _WORKS_WITH.match(sql)
    if match is None:
        raise ValueError(f"{name} does not begin with -- works-with: N")
    return Migration(number, int(match[1]), tuple(filter(str.strip, sql[match.end() :].split(";\n"))))


def migrate(access: MySQLAccess, schemas: list[Schema], *, lock_seconds: float = 30.0, statement_seconds: float = 3600.0) -> None:
    """Brings the tables of `schemas` to this version, alone; a second runner waits for the first. Safe to repeat.

    Args:
        access: a user who may make and change tables.
        schemas: whose tables.
        lock_seconds: how long another runner is waited for.
        statement_seconds: how long one change of a table may take.

    Raises:
        ThrongError: UNAVAILABLE (away, or another runner is at work), INTERNAL (refused, or the schema is newer and does not fit).
    """
    pool = MySQLPool(_patient(access, statement_seconds))
    try:
        with pool.lend() as statements:
            # A change of a table waits for transactions on it, and everyone else behind it: not for long.
            statements.run("SET lock_wait_timeout = 30")
            if statements.rows("SELECT GET_LOCK(CONCAT('throng.', MD5(DATABASE())), %s)", round(lock_seconds))[0][0] != 1:
                raise unavailable("another throng migrate is at work on this database")
            for schema in schemas:
                _bring_up(statements, schema)
    except MySQLFailure as failure:
        raise failure.error() from failure
    finally:
        # The lock goes with its connection.
        pool.close()


def _patient(access: MySQLAccess, statement_seconds: float) -> MySQLAccess:
    return MySQLAccess(
        hosts=access.hosts,
        user=access.user,
        database=access.database,
        password=access.password,
        ca_file=access.ca_file,
        cert_file=access.cert_file,
        key_file=access.key_file,
        pool_size=1,
        timeout_seconds=statement_seconds,
    )


def _bring_up(statements: Statements, schema: Schema) -> None:
    statements.run(_TABLE)
    done = {number: bool(finished) for number, _, finished in statements.rows(_READ, schema.service)}
    migrations = schema.migrations()
    if max(done, default=0) > migrations[-1].number:
        _check(statements, schema)
        return
    for migration in migrations:
        if done.get(migration.number):
            continue
        begun = migration.number in done
        row = (schema.service, migration.number, migration.works_with)
        statements.run(_NOTE, *row, 0, time.time_ns() // 1_000_000)
        for statement in migration.statements:
            _change(statements, statement, begun=begun)
        statements.run(_NOTE, *row, 1, time.time_ns() // 1_000_000)


def _change(statements: Statements, statement: str, *, begun: bool) -> None:
    try:
        statements.run(statement)
    except MySQLFailure as failure:
        if not begun or failure.number not in _DONE_ALREADY:
            raise


def check_schema(statements: Statements, schema: Schema) -> None:
    """Compares the tables with this program; for `MySQLDatabase.read` at start.

    Raises:
        ThrongError: INTERNAL when they are too old, or newer and not compatible.
    """
    try:
        _check(statements, schema)
    except MySQLFailure as failure:
        if failure.number != _NO_SUCH_TABLE:
            raise
        raise _too_old(schema) from failure


def _check(statements: Statements, schema: Schema) -> None:
    known = schema.migrations()[-1].number
    rows = statements.rows(_READ, schema.service)
    finished = {number for number, _, done in rows if done}
    if any(number not in finished for number in range(1, known + 1)):
        raise _too_old(schema)
    needed = max((works_with for number, works_with, _ in rows if number > known), default=0)
    if needed > known:
        raise ThrongError(
            ErrorCode.INTERNAL,
            f"the tables of {schema.service} in MySQL were made by a version of Throng with which this one cannot work: "
            f"it knows migration {known:04d}, {needed:04d} is needed",
        )


def _too_old(schema: Schema) -> ThrongError:
    return ThrongError(
        ErrorCode.INTERNAL,
        f"the tables of {schema.service} in MySQL are older than this version: run throng migrate --mysql-url mysql://…",
    )
