"""Statements on one connection, and values as SQL.

Values are written into statements here and not by the driver: in a multi-row insert that is half of its time. It is safe
because every connection is opened with utf8mb4 and a sql_mode in which the backslash escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pymysql

from throng.adapters.mysql_errors import failure_of

T = TypeVar("T")
Value = str | bytes | int | None
ObserveStatement = Callable[[str], None]

KEYS_PER_STATEMENT = 500
"""MariaDB turns a list of 1,000 into a join with a temporary table."""

MAX_INTEGER = 2**63 - 1
_LONGEST_STATEMENT_BYTES = 4 * 1024 * 1024


def literal(value: Value) -> str:
    """A value as SQL."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    if isinstance(value, bytes):
        return "X'" + value.hex() + "'"
    return "NULL" if value is None else str(int(value))


def row_of(values: Iterable[Value]) -> str:
    """`(1,'a')`."""
    return "(" + ",".join([literal(value) for value in values]) + ")"


def list_of(values: Iterable[Value]) -> str:
    """`'a','b'`, for IN."""
    return ",".join([literal(value) for value in values])


def rows_of(rows: Iterable[Iterable[Value]]) -> str:
    """`(1,'a'),(2,'b')`, for IN with several columns and for VALUES."""
    return ",".join([row_of(row) for row in rows])


def chunks(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices of KEYS_PER_STATEMENT."""
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        yield keys[start : start + KEYS_PER_STATEMENT]


def _filled(sql: str, values: Sequence[Value]) -> str:
    return sql % tuple(map(literal, values)) if values else sql


def _most_bytes(sql: str) -> int:
    """A character is four bytes at most; bodies, the bulk, are hexadecimal digits."""
    return len(sql) if sql.isascii() else 4 * len(sql)


class Statements:
    """What the stores may do with a lent connection. One thread.

    Every failure of the driver is raised as MySQLFailure, which `MySQLDatabase` turns into a retry or a ThrongError.
    """

    def __init__(
        self, connection: pymysql.Connection[Any], where: str, *, max_packet_bytes: int, observe: ObserveStatement | None = None
    ) -> None:
        """Takes an open connection. `observe` is told every statement, for tests."""
        self._connection = connection
        self._where = where
        self._max_bytes = min(_LONGEST_STATEMENT_BYTES, max_packet_bytes - 1024)
        self._observe = observe
        self._later: list[str] = []
        self._later_bytes = 0

    def rows(self, sql: str, *values: Value) -> Sequence[tuple[Any, ...]]:
        """Runs a query with `%s` for each of `values`; returns all rows."""
        return self._run(sql, values)[1]

    def row(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        """The first row of a query; None: there is none."""
        rows = self._run(sql, values)[1]
        return rows[0] if rows else None

    def run(self, sql: str, *values: Value) -> int:
        """Runs a statement; returns the number of rows that it changed."""
        return self._run(sql, values)[0]

    def together(self, queries: Sequence[str]) -> list[Sequence[tuple[Any, ...]]]:
        """Runs queries one after the other in one round trip, if they fit into one packet; returns the rows of each."""
        return [rows for _, rows in self._send(queries)]

    def later(self, sql: str, *values: Value) -> None:
        """Sends a statement, of which nobody needs the result, in front of the next one and in the same round trip.

        At most one packet waits so: when there is more, what waited is sent at once.
        """
        sql = _filled(sql, values)
        size = _most_bytes(sql)
        if self._later and self._later_bytes + size > self._max_bytes:
            self._send(())
        self._later.append(sql)
        self._later_bytes += size + 1

    def insert(self, head: str, rows: Iterable[str], tail: str = "") -> int:
        """`head` rows `tail` as one statement, or several where one would be longer than the server takes."""
        return sum(self._run(statement, ())[0] for statement in self._inserts(head, rows, tail))

    def insert_later(self, head: str, rows: Iterable[str], tail: str = "") -> None:
        """As `insert`, by `later`."""
        for statement in self._inserts(head, rows, tail):
            self.later(statement)

    def roll_back(self) -> None:
        """Forgets what waits to be sent, and rolls back."""
        self._later, self._later_bytes = [], 0
        self._run("ROLLBACK", ())

    def _inserts(self, head: str, rows: Iterable[str], tail: str) -> Iterator[str]:
        part, size = list[str](), 0
        for row in rows:
            length = _most_bytes(row)
            if part and size + length > self._max_bytes:
                yield f"{head}{','.join(part)}{tail}"
                part, size = [], 0
            part.append(row)
            size += length + 1
        if part:
            yield f"{head}{','.join(part)}{tail}"

    def _run(self, sql: str, values: Sequence[Value]) -> tuple[int, Sequence[tuple[Any, ...]]]:
        return self._send((_filled(sql, values),))[0]

    def _send(self, asked: Sequence[str]) -> list[tuple[int, Sequence[tuple[Any, ...]]]]:
        """Sends what waits and then `asked`, in as few packets as hold it; returns the results of `asked`."""
        statements = [*self._later, *asked]
        self._later, self._later_bytes = [], 0
        results: list[tuple[int, Sequence[tuple[Any, ...]]]] = []
        packet, size = list[str](), 0
        for sql in statements:
            length = _most_bytes(sql)
            if packet and size + length > self._max_bytes:
                results += self._exchange(packet)
                packet, size = [], 0
            packet.append(sql)
            size += length + 1
        if packet:
            results += self._exchange(packet)
        return results[len(statements) - len(asked) :]

    def _exchange(self, packet: Sequence[str]) -> list[tuple[int, Sequence[tuple[Any, ...]]]]:
        """One round trip; the server ends at the first statement that fails."""
        if self._observe is not None:
            for sql in packet:
                self._observe(sql)
        try:
            with self._connection.cursor() as cursor:
                changed = cursor.execute(";".join(packet).encode())
                results = [(changed, cursor.fetchall())]
                while cursor.nextset():
                    results.append((cursor.rowcount, cursor.fetchall()))
                return results
        except Exception as error:
            failure = failure_of(error, self._where)
            # The driver's words may quote the statement, and with it a message; they go no further.
            raise failure from None
