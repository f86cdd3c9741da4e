"""Reads and transactions on MySQL or MariaDB, repeated where that helps; errors in our words.

READ COMMITTED: each statement sees the newest commit. A lock is taken by `FOR UPDATE` where a decision rests on a row.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from throng.adapters.mysql_access import MySQLAccess
from throng.adapters.mysql_errors import Failure, MySQLFailure
from throng.adapters.mysql_pool import MySQLPool, NoEvents, PoolEvents
from throng.adapters.mysql_statements import ObserveStatement, Statements

T = TypeVar("T")

_REPEATED = (
    Failure.LOST,
    Failure.READ_ONLY,
    Failure.DEADLOCK,
    Failure.LOCK_TIMEOUT,
    Failure.DUPLICATE,
)
_MAX_TRIES = {Failure.LOST: 3, Failure.READ_ONLY: 3, Failure.DUPLICATE: 10}
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.002, 0.1


class MySQLDatabase:
    """One database. Any thread; as many calls at a time as the pool has connections."""

    def __init__(
        self, access: MySQLAccess, events: PoolEvents | None = None, *, observe_statement: ObserveStatement | None = None
    ) -> None:
        """Opens nothing yet; the first call does. `observe_statement` is told every statement, for tests.

        Raises:
            ThrongError: INVALID_ARGUMENT when the TLS files cannot be used.
        """
        self._access = access
        self._events: PoolEvents = events or NoEvents()
        self._pool = MySQLPool(access, self._events, observe_statement=observe_statement)

    @property
    def in_use(self) -> int:
        """Connections that are lent."""
        return self._pool.in_use

    def read(self, work: Callable[[Statements], T]) -> T:
        """Runs `work` without a transaction: each of its statements sees the newest commit. May run it more than once.

        Raises:
            ThrongError: UNAVAILABLE, INTERNAL, or what `work` raises.
        """
        return self._repeat(work)

    def write(self, work: Callable[[Statements], T]) -> T:
        """Runs `work` in a transaction: committed at its end, rolled back on an exception. May run it more than once: what it
        changes outside of the database must not matter.

        A deadlock, a lock timeout, a key that another transaction wrote first and a connection that was lost before COMMIT was sent
        are repeated, with pauses, until `timeout_seconds` are over. Statements by `Statements.later` may travel with COMMIT.

        Raises:
            ThrongError: UNAVAILABLE (nothing was written; or the connection was lost during COMMIT, and the outcome is unknown),
                INTERNAL, or what `work` raises (then nothing was written).
        """
        return self._repeat(lambda statements: _transaction(statements, work))

    def _repeat(self, work: Callable[[Statements], T]) -> T:
        started, pause_seconds, tries = time.monotonic(), _FIRST_PAUSE_SECONDS, dict.fromkeys(Failure, 0)
        while True:
            reached = False
            try:
                with self._pool.lend() as statements:
                    reached = True
                    return work(statements)
            except MySQLFailure as failure:
                tries[failure.failure] += 1
                late = time.monotonic() - started > self._access.timeout_seconds
                often = tries[failure.failure] >= _MAX_TRIES.get(failure.failure, 1_000)
                # When no host could be reached, all of them were tried already.
                if not reached or late or often or failure.failure not in _REPEATED:
                    raise failure.error() from failure
                self._events.mysql_retried(failure.failure.value)
            time.sleep(pause_seconds * random.uniform(0.5, 1.5))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Closes the connections; those in use when their calls end. Idempotent."""
        self._pool.close()


def _transaction(statements: Statements, work: Callable[[Statements], T]) -> T:
    statements.later("START TRANSACTION")
    try:
        result = work(statements)
    except MySQLFailure as failure:
        if failure.failure is not Failure.LOST:
            statements.roll_back()
        raise
    except BaseException:
        statements.roll_back()
        raise
    try:
        statements.run("COMMIT")
    except MySQLFailure as failure:
        if failure.failure is Failure.LOST:
            raise MySQLFailure(Failure.UNKNOWN_COMMIT, failure.number, failure.detail) from failure
        statements.roll_back()  # what was sent in front of COMMIT failed, and so nothing was committed
        raise
    return result
