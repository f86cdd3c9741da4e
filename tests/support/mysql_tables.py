"""Databases with Throng's tables on the shared MariaDB: made once, emptied for the next test.

The users are those of docs/mysql.md, made by the statements that stand there: what runs in these tests runs with the least privileges.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterator

from throng.adapters.mysql_access import Host, MySQLAccess
from throng.adapters.mysql_migrations import migrate
from throng.cli.migrations import mysql_schemas
from throng.testing.servers import MariaDBServer

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "mysql.md"
TABLES = ("chat_group", "group_member", "message", "message_deleted_for_user", "read_cursor")
SERVICE_PASSWORD, MIGRATE_PASSWORD = "password-1", "password-2"
_numbers = itertools.count(1)
_free: dict[int, list[str]] = {}


def fresh_name() -> str:
    """A name that no other test of this run uses, for a database or a user."""
    return f"throng_{os.getpid()}_{next(_numbers)}"


def set_up(server: MariaDBServer, name: str) -> None:
    """Runs the statements of docs/mysql.md with `name` for the database and its users."""
    block = re.search(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    statements = re.sub(r"(?<![\w`])throng(?=\b|_)", name, block[1]).split(";\n")
    with server.cursor() as cursor:
        for statement in filter(str.strip, statements):
            cursor.execute(statement)


def access_to(server: MariaDBServer, name: str, **changed: object) -> MySQLAccess:
    """How a service reaches a database; `changed` are fields of MySQLAccess."""
    access = MySQLAccess((Host("127.0.0.1", server.port),), name, name, SERVICE_PASSWORD)
    return dataclasses.replace(access, **changed)  # type: ignore[arg-type]


def migrating(server: MariaDBServer, name: str) -> MySQLAccess:
    """How `throng migrate` reaches a database."""
    return access_to(server, name, user=f"{name}_migrate", password=MIGRATE_PASSWORD)


def make_tables_on(server: MariaDBServer, name: str) -> None:
    """Makes a database, its users and its tables."""
    set_up(server, name)
    migrate(migrating(server, name), mysql_schemas())


@contextlib.contextmanager
def empty_tables(server: MariaDBServer) -> Iterator[str]:
    """A database whose tables are there and empty, for nobody else until the end."""
    free = _free.setdefault(server.port, [])
    if free:
        name = free.pop()
        with server.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM `{name}`.{table}")
    else:
        name = fresh_name()
        make_tables_on(server, name)
    yield name
    free.append(name)
