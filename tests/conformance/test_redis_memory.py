"""What one group takes in a real Redis, filled with far more than the bounds: the figures of docs/redis.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conformance_builders import stored
from redis_probe import emptied

from group_svc.adapters.redis_recent_messages import RECENT_BYTES, RedisRecentMessages
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.domain import limits
from throng.domain.ids import GroupId, UserId
from throng.testing.servers import RedisServer
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.ports import Countable, Observation

G = GroupId("g")
MAX_RECENT_BYTES = 5_500_000
MAX_RECALLED_BYTES = 150_000
MAX_WINDOW_BYTES = 20_000


@pytest.fixture
def place(redis_server: RedisServer) -> Iterator[tuple[Any, RedisThreads]]:
    with emptied(redis_server.url) as client:
        redis = RedisThreads(RedisAccess(redis_server.url))
        yield client, redis
        redis.close()


def usage(client: Any) -> dict[str, int]:
    """Bytes of every key that there is."""
    return {key.decode().partition(":{")[0]: int(client.memory_usage(key, samples=0)) for key in client.scan_iter("*")}


@pytest.mark.parametrize("length", [20, 20_400])
def test_the_messages_of_a_group_take_no_more_than_their_bound(place: tuple[Any, RedisThreads], length: int) -> None:
    client, redis = place
    recent = RedisRecentMessages(redis)
    for first in range(1, 3 * limits.RECENT_MESSAGES, 50):
        recent.put(G, 1, [stored(seq, text="x" * length) for seq in range(first, first + 50)], [])
    sizes = usage(client)
    assert set(sizes) == {"throng:group:recent", "throng:group:head"}
    assert client.zcard("throng:group:recent:{g}") <= limits.RECENT_MESSAGES
    assert int(client.hget("throng:group:head:{g}", "bytes")) <= RECENT_BYTES
    assert sizes["throng:group:recent"] <= MAX_RECENT_BYTES
    assert sizes["throng:group:head"] <= 500


def test_remembered_recalls_are_bounded_by_the_range(place: tuple[Any, RedisThreads]) -> None:
    client, redis = place
    recent = RedisRecentMessages(redis)
    for seq in range(5_000, 5_000 + 3 * limits.RECENT_MESSAGES):
        recent.put(G, 1, [stored(seq, target_seq=seq - 4_000)], [seq - 4_000])
    assert client.zcard("throng:group:recalled:{g}") <= limits.RECENT_MESSAGES
    assert usage(client)["throng:group:recalled"] <= MAX_RECALLED_BYTES


def test_the_window_of_a_group_is_bounded(place: tuple[Any, RedisThreads]) -> None:
    client, redis = place
    window = RedisUnreadWindow(redis, lifetime_seconds=1_000)
    longest = "u" * 64
    for seq in range(1, 10 * limits.UNREAD_WINDOW):
        window.observe([Observation(G, 1, seq - 1, seq, [Countable(seq, UserId(longest))])])
    sizes = usage(client)
    assert set(sizes) == {"throng:unread:recent", "throng:unread:meta"}
    assert sum(sizes.values()) <= MAX_WINDOW_BYTES
    window.close()
