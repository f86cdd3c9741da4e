"""Databases with Throng's tables on the shared MariaDB: made once, emptied for the next test."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator

from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_migrations import migrate
from throng.cli.migrations import mysql_schemas
from throng.testing.servers import MariaDBServer

_TABLES = ("chat_group", "group_member", "message", "message_deleted_for_user", "read_cursor")
_numbers = itertools.count(1)
_free: dict[int, list[str]] = {}


def access_to(server: MariaDBServer, database: str, **changed: object) -> MySQLAccess:
    """How root reaches a database; `changed` are fields of MySQLAccess."""
    hosts, user, name = parse_url(server.url(database))
    return dataclasses.replace(MySQLAccess(hosts, user, name), **changed)  # type: ignore[arg-type]


def fresh_name() -> str:
    """A name that no other test of this run uses."""
    return f"throng_{os.getpid()}_{next(_numbers)}"


@contextlib.contextmanager
def empty_tables(server: MariaDBServer) -> Iterator[str]:
    """A database whose tables are there and empty, for nobody else until the end."""
    free = _free.setdefault(server.port, [])
    if free:
        name = free.pop()
        with server.cursor() as cursor:
            for table in _TABLES:
                cursor.execute(f"DELETE FROM `{name}`.{table}")
    else:
        name = fresh_name()
        server.create_database(name)
        migrate(access_to(server, name), mysql_schemas())
    yield name
    free.append(name)
