"""Measures what Throng keeps in Redis: bytes per group, edge and member of a group, for chat as it is and for the worst case.

Starts a Redis of its own and ends it. Sizes are MEMORY USAGE of each key, and used_memory of the whole for many groups.

    python tests/load/redis_memory.py [--groups 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import random
import sys
import tempfile
import uuid
from typing import Any

import redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from group_svc.adapters.redis_recent_messages import RedisRecentMessages  # noqa: E402
from group_svc.ports import RecentPut  # noqa: E402
from router_svc.adapters.redis_route_registry import RedisRouteRegistry  # noqa: E402
from router_svc.ports import EdgeInfo  # noqa: E402
from throng.adapters.redis_access import RedisAccess  # noqa: E402
from throng.adapters.redis_client import RedisThreads  # noqa: E402
from throng.api.common.v1 import message_pb2  # noqa: E402
from throng.domain import limits  # noqa: E402
from throng.domain.ids import EdgeId, GroupId, UserId  # noqa: E402
from throng.domain.message import Lane, MessageKind, StoredMessage  # noqa: E402
from throng.testing.servers import RedisServer  # noqa: E402
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow  # noqa: E402
from unread_svc.ports import Countable, Observation  # noqa: E402

EDGES = 100
Row = tuple[str, str, int, int]


def message(seq: int, text: str) -> StoredMessage:
    """A text message as group_svc stores it."""
    body = message_pb2.Message(text=message_pb2.Text(text=text)).SerializeToString()
    return StoredMessage(
        seq=seq,
        sender_id=UserId(f"user-{random.randrange(1_000_000):06}"),
        sender_name="Somebody or other",
        client_msg_id=str(uuid.uuid4()),
        sent_at_ms=1_795_000_000_000 + seq,
        kind=MessageKind.TEXT,
        lane=Lane.NORMAL,
        body=body,
    )


def chat(first: int, count: int, random_length: random.Random) -> list[StoredMessage]:
    """Chat: 10 to 150 characters, of which three bytes each are realistic for Chinese."""
    return [message(seq, "话" * random_length.randint(4, 50)) for seq in range(first, first + count)]


def usage(client: Any, key: str) -> int:
    """Bytes of one key with all of its members looked at."""
    return int(client.memory_usage(key, samples=0) or 0)


def measure_group(client: Any, access: RedisAccess) -> list[Row]:
    """One group that was filled twice over: with chat, and with the largest messages."""
    calls = RedisThreads(access)
    recent = RedisRecentMessages(calls)
    window = RedisUnreadWindow(calls, lifetime_seconds=604_800)
    lengths = random.Random(1)
    for start in range(1, 2 * limits.RECENT_MESSAGES, 100):
        recent.put(GroupId("chat"), 1, chat(start, 100, lengths), [])
        recent.put(GroupId("large"), 1, [message(start + n, "x" * 20_400) for n in range(100)], [])
    for seq in range(1, 3 * limits.UNREAD_WINDOW):
        window.observe([Observation(GroupId("chat"), 1, seq - 1, seq, [Countable(seq, UserId(f"user-{seq:06}"))])])
    rows = []
    for title, name in (("chat, 4 to 50 characters of 3 bytes", "chat"), ("largest messages, 20 KB", "large")):
        key = f"throng:group:recent:{{{name}}}"
        rows.append(("throng:group:recent:{g}", title, client.zcard(key), usage(client, key)))
    rows.append(("throng:group:head:{g}", "", 5, usage(client, "throng:group:head:{chat}")))
    key = "throng:unread:recent:{chat}"
    rows.append(("throng:unread:recent:{g}", "sender ids of 11", client.zcard(key), usage(client, key)))
    rows.append(("throng:unread:meta:{g}", "", 4, usage(client, "throng:unread:meta:{chat}")))
    calls.close()
    return rows


async def measure_routes(client: Any, access: RedisAccess, groups: int) -> list[Row]:
    """Edges that hold a group, and groups that an edge holds."""
    registry = RedisRouteRegistry(access, ttl_seconds=9)
    for number in range(EDGES):
        edge_id = EdgeId(f"edge-{number:03}-7d9f8b6c5")
        session = await registry.register(
            EdgeInfo(edge_id, 1_795_000_000_000, f"10.0.0.{number}:7004", f"wss://e{number}.example/ws")
        )
        many = {GroupId(f"group-{n:06}"): 3 for n in range(groups)} if number == 0 else {}
        await registry.put_routes(session, session.number + 1, {GroupId("everywhere"): 10_000} | many)
    await registry.close()
    edge = "{edge-000-7d9f8b6c5}"
    return [
        ("throng:router:edge:{e}", "", 1, usage(client, f"throng:router:edge:{edge}")),
        ("throng:router:edge-groups:{e}", "groups", groups + 1, usage(client, f"throng:router:edge-groups:{edge}")),
        ("throng:router:group:{g}", "edges", EDGES, usage(client, "throng:router:group:{everywhere}")),
        ("throng:router:group:{g}", "edges", 1, usage(client, "throng:router:group:{group-000000}")),
        ("throng:router:edges", "edges", EDGES, usage(client, "throng:router:edges")),
    ]


def measure_whole(client: Any, access: RedisAccess, groups: int) -> list[Row]:
    """Many groups of chat with few messages each, as most groups are; all keys, and Redis's own bookkeeping."""
    calls = RedisThreads(access)
    recent, window, lengths = RedisRecentMessages(calls), RedisUnreadWindow(calls, lifetime_seconds=604_800), random.Random(2)
    client.flushall()
    before = client.info("memory")["used_memory"]
    for start in range(0, groups, 100):
        names = [GroupId(f"group-{number:06}") for number in range(start, min(start + 100, groups))]
        recent.put_many([RecentPut(name, 1, chat(1, 50, lengths)) for name in names])
        added = [Countable(seq, UserId(f"user-{seq:06}")) for seq in range(1, 51)]
        window.observe([Observation(name, 1, 0, 50, added) for name in names])
    total = client.info("memory")["used_memory"] - before
    calls.close()
    return [("all keys of a group", f"50 messages, mean of {groups} groups", 1, round(total / groups))]


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=2_000, help="groups of the whole, and of one edge")
    groups = parser.parse_args().groups
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(pathlib.Path(folder))
        server.start()
        try:
            access = RedisAccess(server.url)
            with redis.Redis(port=server.port, protocol=3) as client:
                rows = measure_group(client, access)
                rows += asyncio.run(measure_routes(client, access, groups))
                rows += measure_whole(client, access, groups)
                version = client.info("server")["redis_version"]
        finally:
            server.stop()
    print(f"Redis {version}\n\n| key | with | entries | bytes |\n| --- | --- | --- | --- |")
    for key, title, entries, size in rows:
        print(f"| `{key}` | {title} | {entries:,} | {size:,} |")


if __name__ == "__main__":
    main()
