"""The change channel: Redis pub/sub with proof of life, because a subscription that went silent looks like one without news."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator
from typing import Any

import structlog

from router_svc.adapters.redis_format import CHANGES_CHANNEL, parse_change
from router_svc.ports import Change, WatchStarted
from throng.adapters.redis_aio import RedisLoop
from throng.adapters.redis_calls import Address
from throng.adapters.redis_errors import FAILURES, translate
from throng.domain.errors import unavailable

_log = structlog.get_logger("throng.router.changes")
_SILENT_TICKS = 3


async def watch_changes(
    redis_loop: RedisLoop, *, tick_seconds: float, timeout_seconds: float, ttl_seconds: float
) -> AsyncGenerator[Change, None]:
    """Yields WatchStarted and then every change; see `RouteRegistry.watch`.

    A tick is published every `tick_seconds` on every node that may publish changes (all of a cluster; the subscription is at one of
    them, another one when it begins anew); three without an echo from one of them count as a break.
    """
    nodes = await redis_loop.node_keys()
    pubsub = redis_loop.client(random.choice(nodes)).pubsub()
    ticks = _Ticks(redis_loop, nodes, tick_seconds, timeout_seconds)
    try:
        await _subscribe(pubsub, timeout_seconds)
        yield WatchStarted()
        while True:
            await ticks.send_if_due()
            message = await _next(pubsub, ticks.seconds_left())
            if message is None:
                continue
            if message["type"] == "subscribe":
                raise unavailable("the change channel was connected anew")
            if ticks.echoed(message["data"]):
                continue
            change = _parsed(message["data"], ttl_seconds)
            if change is not None:
                yield change
    finally:
        await pubsub.aclose()


class _Ticks:
    """Proof that news of every node arrives."""

    def __init__(self, redis_loop: RedisLoop, nodes: list[Address], tick_seconds: float, timeout_seconds: float) -> None:
        self._redis = redis_loop
        self._unanswered = dict.fromkeys((f"{host}:{port}" for host, port in nodes), 0)
        self._quiet = 0
        self._nodes = nodes
        self._tick_seconds = tick_seconds
        self._timeout_seconds = timeout_seconds
        self._next = time.monotonic()

    def seconds_left(self) -> float:
        return max(self._next - time.monotonic(), 0.01)

    async def send_if_due(self) -> None:
        if time.monotonic() < self._next:
            return
        # Counted, not timed, and by any message: a reader that is slow, or has much to read, has not lost the channel. A node has
        # gone silent when the ticks of another one arrive and its own do not.
        behind = max(self._unanswered.values()) - min(self._unanswered.values())
        if self._quiet >= _SILENT_TICKS or behind >= _SILENT_TICKS:
            raise unavailable("the change channel went silent")
        self._next = time.monotonic() + self._tick_seconds
        self._quiet += 1
        for name in self._unanswered:
            self._unanswered[name] += 1
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.gather(*(self._send(node) for node in self._nodes))
        except FAILURES as error:
            raise translate(error) from error

    async def _send(self, node: Address) -> None:
        tick = json.dumps({"kind": "tick", "node": f"{node[0]}:{node[1]}"}, separators=(",", ":"))
        await self._redis.client(node).publish(CHANGES_CHANNEL, tick)

    def echoed(self, data: bytes) -> bool:
        """Notes a message; a tick, ours or another replica's, is a sign of life of its node. False: it is no tick."""
        self._quiet = 0
        if not data.startswith(b'{"kind":"tick"'):
            return False
        try:
            name = str(json.loads(data).get("node", ""))
        except ValueError:
            return False
        if name in self._unanswered:
            self._unanswered[name] = 0
        return True


async def _subscribe(pubsub: Any, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await pubsub.subscribe(CHANGES_CHANNEL)
            while True:
                message = await pubsub.get_message(timeout=timeout_seconds)
                if message is not None and message["type"] == "subscribe":
                    return
    except FAILURES as error:
        raise translate(error) from error


async def _next(pubsub: Any, wait_seconds: float) -> Any:
    try:
        return await pubsub.get_message(timeout=wait_seconds)
    except FAILURES as error:
        raise translate(error) from error


def _parsed(data: bytes, ttl_seconds: float) -> Change | None:
    try:
        return parse_change(data, ttl_seconds=ttl_seconds)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        _log.error("route_change_malformed", reason=repr(error))
        return None
