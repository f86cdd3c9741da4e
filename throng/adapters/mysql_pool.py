"""A bounded pool of MySQL connections for threads, over several hosts of which one is the primary."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

import pymysql
from pymysql.constants import CLIENT

from throng.adapters.mysql_access import Host, MySQLAccess
from throng.adapters.mysql_errors import Failure, MySQLFailure, failure_of
from throng.adapters.mysql_statements import ObserveStatement, Statements
from throng.domain.errors import ThrongError, unavailable

_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY"
_CHECK = "SELECT @@global.read_only, @@global.innodb_read_only, @@max_allowed_packet"
_TRUSTED_SECONDS = 1.0
_PAUSE_SECONDS = 0.2
_LONGEST_CONNECT_SECONDS = 2.0
_MOST_LEFT = 64


class PoolEvents(Protocol):
    """Who counts what happens in a pool. Any thread."""

    def mysql_waited(self, seconds: float) -> None:
        """A thread waited for a free connection."""
        ...

    def mysql_connected(self) -> None:
        """A connection was opened."""
        ...

    def mysql_lost(self, reason: str) -> None:
        """A connection or a try to connect failed."""
        ...

    def mysql_retried(self, reason: str) -> None:
        """A transaction or a read is repeated."""
        ...


class NoEvents:
    """Counts nothing."""

    def mysql_waited(self, seconds: float) -> None:
        """Nothing."""

    def mysql_connected(self) -> None:
        """Nothing."""

    def mysql_lost(self, reason: str) -> None:
        """Nothing."""

    def mysql_retried(self, reason: str) -> None:
        """Nothing."""


class _Lent:
    """One connection, where it goes, and how long it may be trusted."""

    def __init__(self, driver: pymysql.Connection[Any], host: Host, generation: int, max_packet_bytes: int) -> None:
        self.driver = driver
        self.host = host
        self.generation = generation
        self.max_packet_bytes = max_packet_bytes
        self.checked_at = time.monotonic()
        self.used_at = self.checked_at


class MySQLPool:
    """Lends connections. Bound: `access.pool_size`; who finds none free waits, at most `timeout_seconds`, then UNAVAILABLE.

    A connection that was not used for a second is asked first whether the server is there and still takes writes; with several
    hosts a read-only server is left for the next one. Once no host could be reached, one thread at a time tries again, every 0.2 s;
    the others are refused at once, so that a server which hangs does not hold all of them.
    """

    def __init__(
        self, access: MySQLAccess, events: PoolEvents | None = None, *, observe_statement: ObserveStatement | None = None
    ) -> None:
        """Opens nothing yet.

        Raises:
            ThrongError: INVALID_ARGUMENT when the TLS files cannot be used.
        """
        self._access = access
        self._tls = access.tls()
        self._events: PoolEvents = events or NoEvents()
        self._observe = observe_statement
        self._changed = threading.Condition()
        self._idle: list[_Lent] = []
        self._in_use = 0
        self._generation = 0
        self._first_host = 0
        self._refused_until = 0.0
        self._refusal: MySQLFailure | None = None
        self._probing = False
        self._closed = False
        self._left: collections.deque[tuple[Host, int]] = collections.deque(maxlen=_MOST_LEFT)
        # The server ends what nobody uses, and with it the locks of a client that it cannot reach any more.
        self._server_patience_seconds = max(10, round(4 * access.timeout_seconds))

    @property
    def in_use(self) -> int:
        """Connections that are lent."""
        return self._in_use

    @contextlib.contextmanager
    def lend(self) -> Iterator[Statements]:
        """Lends a connection that works as far as is known, with autocommit; takes it back, or closes it after a failure.

        Raises:
            MySQLFailure: no host can be reached, or inside the block.
            ThrongError: UNAVAILABLE when all connections stay in use.
        """
        lent = self._take()
        whole = False
        try:
            if lent is None:
                lent = self._connect()
            max_packet_bytes = lent.max_packet_bytes
            yield Statements(lent.driver, str(lent.host), max_packet_bytes=max_packet_bytes, observe=self._observe)
            whole = True
        except MySQLFailure as failure:
            # After these the server has answered in full, and the transaction was rolled back by whoever began it.
            whole = failure.failure in (Failure.DEADLOCK, Failure.LOCK_TIMEOUT, Failure.DUPLICATE, Failure.REFUSED)
            if lent is not None and not whole:
                self._distrust(lent, failure)
            raise
        except ThrongError:
            whole = True
            raise
        finally:
            self._give_back(lent, whole=whole)

    def _take(self) -> _Lent | None:
        """A slot, with an idle connection where there is a good one."""
        self._wait_for_slot()
        try:
            while True:
                with self._changed:
                    lent = self._idle.pop() if self._idle else None
                if lent is None or self._is_good(lent):
                    return lent
                _close(lent)
        except BaseException:
            self._give_back(None, whole=False)
            raise

    def _wait_for_slot(self) -> None:
        started = time.monotonic()
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or self._in_use < self._access.pool_size, self._access.timeout_seconds
            )
            if self._closed:
                raise unavailable("the connections to MySQL are closed")
            if not free:
                raise unavailable(f"all {self._access.pool_size} connections to MySQL are in use")
            self._in_use += 1
        waited = time.monotonic() - started
        if waited > 0.0005:
            self._events.mysql_waited(waited)

    def _is_good(self, lent: _Lent) -> bool:
        now = time.monotonic()
        if lent.generation != self._generation or now - lent.used_at > self._server_patience_seconds / 2:
            return False
        if now - lent.checked_at < _TRUSTED_SECONDS:
            return True
        try:
            self._check(lent.driver, lent.host)
        except MySQLFailure as failure:
            self._distrust(lent, failure)
            if failure.timed_out:
                self._give_up(lent.host, failure)
            return False
        lent.checked_at = now
        return True

    def _check(self, driver: pymysql.Connection[Any], host: Host) -> int:
        """Asks whether the server takes writes, where there is another one; returns its longest packet, bytes."""
        *read_only, max_packet_bytes = _ask(driver, host, _CHECK)
        if len(self._access.hosts) > 1 and any(str(value) not in ("0", "OFF") for value in read_only):
            raise MySQLFailure(Failure.READ_ONLY, 1290, f"{host} is read-only")
        return int(max_packet_bytes)

    def _distrust(self, lent: _Lent, failure: MySQLFailure) -> None:
        """One connection failed: those beside it lead to the same server."""
        self._events.mysql_lost(failure.failure.value)
        with self._changed:
            if failure.timed_out:
                self._left.append((lent.host, lent.driver.thread_id()))  # type: ignore[no-untyped-call]
            if failure.failure is Failure.AWAY or lent.generation != self._generation:
                return
            self._generation += 1
            hosts = self._access.hosts
            if failure.failure is Failure.READ_ONLY and hosts[self._first_host] == lent.host:
                self._first_host = (self._first_host + 1) % len(hosts)

    def _give_up(self, host: Host, failure: MySQLFailure) -> None:
        """A server that does not answer the least question in time is not connected to in the same call: that takes as long."""
        with self._changed:
            if len(self._access.hosts) == 1:
                self._refusal, self._refused_until = failure, time.monotonic() + _PAUSE_SECONDS
            elif self._access.hosts[self._first_host] == host:
                self._first_host = (self._first_host + 1) % len(self._access.hosts)

    def _connect(self) -> _Lent:
        """Tries the hosts, unless that failed a moment ago or another thread does so after a failure: then refuses at once."""
        with self._changed:
            refusal = self._refusal
            if refusal is not None and (self._probing or time.monotonic() < self._refused_until):
                raise MySQLFailure(refusal.failure, refusal.number, refusal.detail)
            probes = self._probing = refusal is not None
            generation, first = self._generation, self._first_host
        try:
            return self._try_hosts(generation, first)
        finally:
            if probes:
                self._probing = False

    def _try_hosts(self, generation: int, first: int) -> _Lent:
        """The hosts in turn, first the one that worked last."""
        hosts = self._access.hosts
        refusal: MySQLFailure | None = None
        for step in range(len(hosts)):
            place = (first + step) % len(hosts)
            try:
                lent = self._open(hosts[place], generation)
            except MySQLFailure as failure:
                self._events.mysql_lost(failure.failure.value)
                refusal = failure
                continue
            with self._changed:
                self._first_host, self._refusal = place, None
            self._events.mysql_connected()
            return lent
        assert refusal is not None
        with self._changed:
            self._refusal, self._refused_until = refusal, time.monotonic() + _PAUSE_SECONDS
        raise refusal

    def _open(self, host: Host, generation: int) -> _Lent:
        access, seconds = self._access, self._access.timeout_seconds
        try:
            driver = pymysql.Connection(
                host=host.name,
                port=host.port,
                user=access.user,
                password=access.password.encode(),
                database=access.database,
                charset="utf8mb4",
                sql_mode=_SQL_MODE,
                autocommit=True,
                connect_timeout=min(seconds, _LONGEST_CONNECT_SECONDS),
                read_timeout=seconds,
                write_timeout=seconds,
                client_flag=CLIENT.MULTI_STATEMENTS,
                ssl=self._tls,
                ssl_disabled=self._tls is None,
            )
        except Exception as error:
            raise failure_of(error, str(host)) from error
        try:
            _ask(driver, host, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            lock_seconds, patience = max(1, int(seconds / 2)), self._server_patience_seconds
            _ask(
                driver,
                host,
                f"SET innodb_lock_wait_timeout = {lock_seconds}, wait_timeout = {patience}, net_read_timeout = {patience}, "
                f"net_write_timeout = {patience}",
            )
            lent = _Lent(driver, host, generation, self._check(driver, host))
            self._end_left(lent)
            return lent
        except BaseException:
            driver.close()
            raise

    def _end_left(self, lent: _Lent) -> None:
        """Has the server end connections that did not answer in time, and with them their transactions: it may not know yet that
        nobody is at their other end, and they hold locks."""
        with self._changed:
            left = [thread_id for host, thread_id in self._left if host == lent.host]
            for thread_id in left:
                self._left.remove((lent.host, thread_id))
        for thread_id in left:
            # Most often it is gone already.
            with contextlib.suppress(MySQLFailure):
                _ask(lent.driver, lent.host, f"KILL {thread_id}")

    def _give_back(self, lent: _Lent | None, *, whole: bool) -> None:
        with self._changed:
            self._in_use -= 1
            kept = whole and lent is not None and lent.generation == self._generation and not self._closed
            if kept and lent is not None:
                lent.used_at = time.monotonic()
                self._idle.append(lent)
            self._changed.notify()
        if lent is not None and not kept:
            _close(lent)

    def close(self) -> None:
        """Closes what is idle; a connection that is lent is closed when it comes back. Idempotent."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for lent in idle:
            _close(lent)


def _ask(driver: pymysql.Connection[Any], host: Host, sql: str) -> Any:
    try:
        with driver.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()
    except Exception as error:
        raise failure_of(error, str(host)) from error


def _close(lent: _Lent) -> None:
    with contextlib.suppress(pymysql.MySQLError):
        lent.driver.close()
