"""Redis for threads: exchanges of calls with one server, a cluster, or the embedded one, each within one deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import fakeredis
import redis
import redis.connection
import redis.exceptions

from throng.adapters.redis_access import RedisAccess, embedded_server, no_notifications, no_retry
from throng.adapters.redis_calls import Address, Batch, Call, Exchange, SlotMap
from throng.adapters.redis_errors import OnError, translate_all
from throng.adapters.redis_nodes import NodeDirectory

_FAILURES = (redis.exceptions.RedisError, OSError)
_current = threading.local()


class RedisThreads:
    """Runs calls. Any thread; each call of `run` uses one connection per node that it needs."""

    def __init__(self, access: RedisAccess, *, on_error: OnError | None = None) -> None:
        """Sends nothing yet.

        Args:
            access: where Redis is.
            on_error: see `redis_errors.OnError`.
        """
        self._access = access
        self._on_error = on_error
        self._nodes = NodeDirectory(access.nodes, cluster=access.cluster)
        self._lock = threading.Lock()
        self._pools: dict[Address, redis.ConnectionPool] = {}

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Runs calls, those of one key in order; one round trip per node (and stage) that they need.

        Returns: an answer per call; a ThrongError (UNAVAILABLE, or INTERNAL) in the place of each that failed. Nothing is raised,
        and nothing waits longer than the timeout.
        """
        exchange = Exchange(calls, self._nodes.loaded)
        _current.deadline = deadline = time.monotonic() + self._access.timeout_seconds
        slots = self._read_map(exchange)
        while batches := exchange.batches(slots):
            self._round(exchange, batches, slots)
            if exchange.stale:
                self._nodes.note_stale()
                before, slots = slots, self._read_map(exchange)
                if slots is not None and slots is not before:
                    exchange.elsewhere(slots, before)
            exchange.skip_later_stages()
            if exchange.pause_seconds:
                time.sleep(min(exchange.pause_seconds, max(0.0, deadline - time.monotonic())))
        return translate_all(exchange.results, self._on_error)

    def _round(self, exchange: Exchange, batches: Sequence[Batch], slots: SlotMap | None) -> None:
        """Writes to all nodes, then reads from all: a slow one does not keep what the others have answered."""
        written: list[tuple[Batch, Any, int]] = []
        for batch in batches:
            connection: Any = None
            try:
                if self._nodes.is_held(batch.address):
                    raise redis.exceptions.TimeoutError("the node did not answer a moment ago")
                pool = self._pool(self._nodes.place(batch.address))
                connection = pool.get_connection()
                commands = list(exchange.commands(batch))
                connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                written.append((batch, connection, len(commands)))
            except _FAILURES as error:
                self._broke(exchange, batch, error, connection)
        for batch, connection, count in written:
            try:
                answers = [_answer(connection) for _ in range(count)]
            except _FAILURES as error:
                self._broke(exchange, batch, error, connection)
            except BaseException:
                connection.disconnect()
                self._release(batch, connection)
                raise
            else:
                self._nodes.release(batch.address)
                self._release(batch, connection)
                exchange.answered(batch, answers, slots)

    def _broke(self, exchange: Exchange, batch: Batch, error: Exception, connection: Any) -> None:
        exchange.broke(batch, error, sent=connection is not None)
        if isinstance(error, (redis.exceptions.TimeoutError, TimeoutError)) and not self._nodes.is_held(batch.address):
            self._nodes.hold(batch.address)
        if connection is not None:
            connection.disconnect()
            self._release(batch, connection)

    def _release(self, batch: Batch, connection: Any) -> None:
        self._pool(self._nodes.place(batch.address)).release(connection)

    def _read_map(self, exchange: Exchange) -> SlotMap | None:
        """The slot map, read again where it did not fit."""
        if not self._nodes.wants_map:
            return self._nodes.slots
        deadline = _current.deadline
        # One node that hangs must leave time for the next.
        share = self._access.timeout_seconds / 4
        failure: Exception = redis.exceptions.TimeoutError("no node told the slots")
        for address in self._nodes.to_ask():
            if deadline - time.monotonic() < share:
                break
            _current.deadline = time.monotonic() + share
            try:
                answer = self._ask(address)
                return self._nodes.learn(answer, address)
            except _FAILURES as error:
                failure = error
            finally:
                _current.deadline = deadline
        self._nodes.note_unread()
        if self._nodes.slots is None:
            exchange.fail(failure)
        return self._nodes.slots

    def _ask(self, address: Address) -> Any:
        pool = self._pool(address)
        connection: Any = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_command("CLUSTER", "SLOTS"), check_health=False)
            return connection.read_response()
        except redis.exceptions.TimeoutError:
            self._nodes.hold(address)
            raise
        finally:
            pool.release(connection)

    def _pool(self, address: Address) -> redis.ConnectionPool:
        pool = self._pools.get(address)
        if pool is None:
            with self._lock:
                pool = self._pools.setdefault(address, self._make_pool(address))
        return pool

    def _make_pool(self, address: Address) -> redis.ConnectionPool:
        if self._access.embedded:
            return fakeredis.FakeRedis(server=embedded_server(self._access.url), protocol=3).connection_pool
        kind = _TlsConnection if self._access.secured else _PlainConnection
        options = self._access.options(address)
        return redis.ConnectionPool(
            connection_class=kind, retry=no_retry(), maint_notifications_config=no_notifications(), **options
        )

    def close(self) -> None:
        """Closes the connections. Idempotent."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.disconnect()


def _answer(connection: Any) -> Any:
    """One answer; an error that the server answers is a value."""
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error


class _DeadlineSocket:
    """A socket of which every operation ends by the deadline of the thread's current exchange, even when bytes only drip in."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock

    def recv_into(self, *args: Any) -> int:
        return int(self._within(self._socket.recv_into, *args))

    def recv(self, *args: Any) -> bytes:
        return bytes(self._within(self._socket.recv, *args))

    def sendall(self, *args: Any) -> None:
        self._within(self._socket.sendall, *args)

    def _within(self, operation: Any, *args: Any) -> Any:
        # After the deadline what has arrived already is still taken.
        self._socket.settimeout(max(0.0, _current.deadline - time.monotonic()))
        try:
            return operation(*args)
        except BlockingIOError as error:
            raise TimeoutError("deadline") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _PlainConnection(redis.Connection):
    def _connect(self) -> Any:
        self.socket_connect_timeout = max(0.001, _current.deadline - time.monotonic())
        return _DeadlineSocket(super()._connect())  # type: ignore[no-untyped-call]


class _TlsConnection(redis.SSLConnection):
    def _connect(self) -> Any:
        self.socket_connect_timeout = max(0.001, _current.deadline - time.monotonic())
        return _DeadlineSocket(super()._connect())  # type: ignore[no-untyped-call]
