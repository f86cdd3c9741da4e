"""The change channel: Redis pub/sub with proof of life, because a subscription that went silent looks like one without news."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import structlog

from router_svc.adapters.redis_format import CHANGES_CHANNEL, parse_change
from router_svc.ports import Change, WatchStarted
from throng.adapters.redis_client import translated
from throng.domain.errors import unavailable

_log = structlog.get_logger("throng.router.changes")
_TICK = b'{"kind":"tick"}'
_SILENT_TICKS = 3


async def watch_changes(
    client: Any, *, tick_seconds: float, timeout_seconds: float, ttl_seconds: float
) -> AsyncGenerator[Change, None]:
    """Yields WatchStarted and then every change; see `RouteRegistry.watch`.

    A tick is published on the channel every `tick_seconds`; three without an echo count as a break. `client` must not retry
    by itself: a silent reconnect would hide what was missed in between.
    """
    pubsub = client.pubsub()
    try:
        with translated():
            async with asyncio.timeout(timeout_seconds):
                await pubsub.subscribe(CHANGES_CHANNEL)
            await _confirmed(pubsub, timeout_seconds)
        yield WatchStarted()
        next_tick = time.monotonic()
        unanswered = 0
        while True:
            now = time.monotonic()
            with translated():
                if now >= next_tick:
                    # Counted, not timed: a reader that is slow between two changes has not lost the channel.
                    if unanswered >= _SILENT_TICKS:
                        raise unavailable("the change channel went silent")
                    unanswered += 1
                    next_tick = now + tick_seconds
                    async with asyncio.timeout(timeout_seconds):
                        await client.publish(CHANGES_CHANNEL, _TICK)
                message = await pubsub.get_message(timeout=max(next_tick - now, 0.01))
            if message is None:
                continue
            if message["type"] == "subscribe":
                raise unavailable("the change channel was connected anew")
            unanswered = 0
            change = _parsed(message["data"], ttl_seconds)
            if change is not None:
                yield change
    finally:
        await pubsub.aclose()


async def _confirmed(pubsub: Any, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        message = await pubsub.get_message(timeout=timeout_seconds)
        if message is not None and message["type"] == "subscribe":
            return
    raise unavailable("Redis did not confirm the subscription")


def _parsed(data: bytes, ttl_seconds: float) -> Change | None:
    try:
        return parse_change(data, ttl_seconds=ttl_seconds)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        _log.error("route_change_malformed", reason=repr(error))
        return None
