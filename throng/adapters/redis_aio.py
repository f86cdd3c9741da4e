"""Redis for asyncio: exchanges of calls with one server, a cluster, or the embedded one, each within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import fakeredis
import redis.asyncio
import redis.exceptions

from throng.adapters.redis_access import RedisAccess, embedded_server, no_notifications, no_retry_async
from throng.adapters.redis_calls import Address, Batch, Call, Exchange, SlotMap
from throng.adapters.redis_errors import FAILURES, OnError, translate, translate_all
from throng.adapters.redis_nodes import NodeDirectory


class RedisLoop:
    """Runs calls inside one loop. The rules of an exchange are those of `RedisThreads`; only the waiting differs."""

    def __init__(self, access: RedisAccess, *, on_error: OnError | None = None) -> None:
        """Sends nothing yet.

        Args:
            access: where Redis is.
            on_error: see `redis_errors.OnError`.
        """
        self._access = access
        self._on_error = on_error
        self._nodes = NodeDirectory(access.nodes, cluster=access.cluster)
        self._clients: dict[Address, Any] = {}

    @property
    def cluster(self) -> bool:
        """It is a Redis Cluster."""
        return self._access.cluster

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Runs calls, those of one key in order; one round trip per node (and stage) that they need.

        Returns: an answer per call; a ThrongError (UNAVAILABLE, or INTERNAL) in the place of each that failed. Nothing is raised
        but cancellation, and nothing waits longer than the timeout.
        """
        exchange = Exchange(calls, self._nodes.loaded)
        try:
            async with asyncio.timeout(self._access.timeout_seconds):
                await self._run(exchange)
        except TimeoutError as error:
            for address in exchange.waiting:
                self._nodes.hold(address)
            exchange.fail(error)
        return translate_all(exchange.results, self._on_error)

    async def _run(self, exchange: Exchange) -> None:
        slots = await self._read_map(exchange)
        while batches := exchange.batches(slots):
            if len(batches) == 1:
                await self._send(exchange, batches[0], slots)
            else:
                async with asyncio.TaskGroup() as sending:
                    for batch in batches:
                        sending.create_task(self._send(exchange, batch, slots))
            if exchange.stale:
                self._nodes.note_stale()
                before, slots = slots, await self._read_map(exchange)
                if slots is not None and slots is not before:
                    exchange.elsewhere(slots, before)
            exchange.skip_later_stages()
            if exchange.pause_seconds:
                await asyncio.sleep(exchange.pause_seconds)

    async def _send(self, exchange: Exchange, batch: Batch, slots: SlotMap | None) -> None:
        opened = False
        exchange.waiting.add(batch.address)
        try:
            if self._nodes.is_held(batch.address):
                raise redis.exceptions.TimeoutError("the node did not answer a moment ago")
            pool = self._client(self._nodes.place(batch.address)).connection_pool
            connection = await pool.get_connection()
            opened = True
            try:
                answers = await _exchange(connection, list(exchange.commands(batch)))
            finally:
                await pool.release(connection)
            self._nodes.release(batch.address)
            exchange.waiting.discard(batch.address)
            exchange.answered(batch, answers, slots)
        except FAILURES as error:
            exchange.waiting.discard(batch.address)
            exchange.broke(batch, error, sent=opened)
            if isinstance(error, (redis.exceptions.TimeoutError, TimeoutError)) and not self._nodes.is_held(batch.address):
                self._nodes.hold(batch.address)

    async def _read_map(self, exchange: Exchange) -> SlotMap | None:
        """The slot map, read again where it did not fit."""
        if not self._nodes.wants_map:
            return self._nodes.slots
        failure: Exception = redis.exceptions.TimeoutError("no node told the slots")
        for address in self._nodes.to_ask():
            try:
                # One node that hangs must leave time for the next.
                async with asyncio.timeout(self._access.timeout_seconds / 4):
                    pool = self._client(address).connection_pool
                    connection = await pool.get_connection()
                    try:
                        (answer,) = await _exchange(connection, [("CLUSTER", "SLOTS")])
                    finally:
                        await pool.release(connection)
                if isinstance(answer, Exception):
                    raise answer
                return self._nodes.learn(answer, address)
            except FAILURES as error:
                failure = error
                if isinstance(error, (redis.exceptions.TimeoutError, TimeoutError)):
                    self._nodes.hold(address)
        self._nodes.note_unread()
        if self._nodes.slots is None:
            exchange.fail(failure)
        return self._nodes.slots

    async def node_keys(self) -> list[Address]:
        """The nodes that hold something: each may have news to publish.

        Raises:
            ThrongError: UNAVAILABLE when no node says.
        """
        self._nodes.note_stale()
        exchange = Exchange([Call(("PING",), "")], set())
        try:
            async with asyncio.timeout(self._access.timeout_seconds):
                slots = await self._read_map(exchange)
        except TimeoutError as error:
            raise translate(error) from error
        if slots is not None:
            return slots.nodes
        if self._access.cluster:
            raise translate(exchange.results[0])
        return self._access.nodes

    def client(self, address: Address) -> Any:
        """A plain client of one node, for what is no exchange (subscriptions). It belongs to this object, which closes it."""
        return self._client(address)

    def _client(self, address: Address) -> Any:
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = self._make_client(address)
        return client

    def _make_client(self, address: Address) -> Any:
        if self._access.embedded:
            return fakeredis.FakeAsyncRedis(server=embedded_server(self._access.url), protocol=3)
        return redis.asyncio.Redis(
            **self._access.options(address),
            ssl=self._access.secured,
            retry=no_retry_async(),
            maint_notifications_config=no_notifications(),
        )

    async def close(self) -> None:
        """Closes the connections. Idempotent."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()


async def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Sends commands and reads their answers; an error that the server answers is a value. On anything else it is disconnected."""
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(await connection.read_response())
        except redis.exceptions.ResponseError as error:
            answers.append(error)
    return answers
