"""A real Redis Cluster that loses a node, moves slots and forgets scripts: the other groups go on, everything heals (I10)."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
import redis
from conformance_builders import stored
from redis.crc import key_slot
from redis_probe import emptied
from redis_users import SLACK_SECONDS, RedisUsers, wait_until

from group_svc.ports import RecentPut
from router_svc.adapters.redis_format import edge_key
from router_svc.ports import EdgeChanged, EdgeInfo, WatchStarted
from throng.adapters.redis_access import RedisAccess
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.domain.message import Position
from throng.testing.servers import RedisClusterServers, RedisServer
from unread_svc.ports import Observation

TIMEOUT_SECONDS = 0.5


async def to_the_end(changes: AsyncIterator[object]) -> None:
    """Takes changes until the channel ends."""
    async for _ in changes:
        pass


@pytest.fixture
def servers(redis_cluster_servers: RedisClusterServers) -> Iterator[RedisClusterServers]:
    """A whole, empty cluster, which is whole again afterwards."""
    with emptied(redis_cluster_servers.url):
        yield redis_cluster_servers
    for node in redis_cluster_servers.nodes:
        if not node.running:
            node.start()
    redis_cluster_servers.wait_until_whole()


@pytest.fixture
def access(servers: RedisClusterServers) -> RedisAccess:
    return RedisAccess(servers.url, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def users(access: RedisAccess) -> Iterator[RedisUsers]:
    with RedisUsers(access) as users:
        assert users.all_well()
        yield users


def owner_of(servers: RedisClusterServers, slot: int) -> RedisServer:
    with redis.Redis(port=servers.nodes[0].port) as client:
        entries: Any = client.execute_command("CLUSTER SLOTS")
    port = next(entry[2][1] for entry in entries if entry[0] <= slot <= entry[1])
    return next(node for node in servers.nodes if node.port == port)


def group_at(servers: RedisClusterServers, node: RedisServer, *, elsewhere: bool = False) -> GroupId:
    """A group whose keys lie on the node, or just not there."""
    for number in itertools.count():
        if (owner_of(servers, key_slot(f"group-{number}".encode())) is node) is not elsewhere:
            return GroupId(f"group-{number}")
    raise AssertionError


def test_everything_works_on_a_cluster(users: RedisUsers) -> None:
    assert users.all_well()
    assert users.errors == []


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_without_one_node_the_other_groups_go_on(servers: RedisClusterServers, users: RedisUsers, how: str) -> None:
    node = servers.nodes[1]
    lost, kept = group_at(servers, node), group_at(servers, node, elsewhere=True)
    users.recent.put_many([RecentPut(group_id, 1, [stored(1)]) for group_id in (lost, kept)])
    node.kill() if how == "killed" else node.pause()
    try:
        started_at = time.monotonic()
        bad, good = users.recent.put_many([RecentPut(group_id, 1, [stored(2)]) for group_id in (lost, kept)])
        assert time.monotonic() - started_at < TIMEOUT_SECONDS + SLACK_SECONDS
        assert isinstance(bad, ThrongError)
        assert (bad.code, good) == (ErrorCode.UNAVAILABLE, None)
        assert users.recent.get_heads([lost, kept]) == [None, Position(1, 2)]
        assert users.window.read([(lost, 0), (kept, 0)]) == [None, None]
        with pytest.raises(ThrongError) as caught:
            users.recent.read_before(lost, before_seq=0, limit=1)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        # A node that hung is not waited for again at once.
        started_at = time.monotonic()
        for _ in range(20):
            assert users.recent.read_before(kept, before_seq=0, limit=1) is not None
            users.recent.get_heads([lost, kept])
        assert time.monotonic() - started_at < 5 * TIMEOUT_SECONDS
        users.window.observe([Observation(kept, 1, 0, 1)])
        assert users.runner.run(users.registry.read_routes([kept])) == [[]]
        with pytest.raises(ThrongError):
            users.runner.run(users.registry.read_routes([lost]))
    finally:
        node.start() if how == "killed" else node.resume()
    servers.wait_until_whole()
    wait_until(lambda: users.recent.put_many([RecentPut(lost, 1, [stored(2)])]) == [None], "the lost slots")
    assert users.recent.get_heads([lost]) == [Position(1, 2)]
    wait_until(users.all_well, "the node", seconds=20)


def test_a_client_that_starts_while_nodes_are_away_finds_the_others(servers: RedisClusterServers, access: RedisAccess) -> None:
    node = servers.nodes[0]
    kept = group_at(servers, node, elsewhere=True)
    node.kill()
    with RedisUsers(access) as users:
        assert users.recent.put_many([RecentPut(kept, 1, [stored(1)])]) == [None]
        assert users.runner.run(users.registry.read_routes([kept])) == [[]]


def test_without_any_node_everything_is_unavailable_at_once() -> None:
    access = RedisAccess("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout_seconds=TIMEOUT_SECONDS)
    with RedisUsers(access) as users:
        assert users.codes() == {ErrorCode.UNAVAILABLE}


def test_scripts_that_one_node_forgot(servers: RedisClusterServers, users: RedisUsers) -> None:
    groups = [group_at(servers, node) for node in servers.nodes]
    puts = [RecentPut(group_id, 1, [stored(1)]) for group_id in groups]
    assert users.recent.put_many(puts) == [None] * 3
    with redis.Redis(port=servers.nodes[2].port) as client:
        client.script_flush()
    assert users.recent.put_many([RecentPut(group_id, 1, [stored(2)]) for group_id in groups]) == [None] * 3
    assert users.recent.get_heads(groups) == [Position(1, 2)] * 3


class SlotMove:
    """Moves one slot to the next node by hand, in the steps that `redis-cli --cluster reshard` takes."""

    def __init__(self, servers: RedisClusterServers, slot: int) -> None:
        self._slot = slot
        self._source = owner_of(servers, slot)
        self._target = servers.nodes[(servers.nodes.index(self._source) + 1) % len(servers.nodes)]
        self._clients = {node.port: redis.Redis(port=node.port) for node in servers.nodes}
        self._source_id, self._target_id = (self._ask(node, "CLUSTER", "MYID").decode() for node in (self._source, self._target))

    def _ask(self, node: RedisServer, *command: object) -> Any:
        return self._clients[node.port].execute_command(*command)

    def begin(self) -> None:
        self._ask(self._target, "CLUSTER", "SETSLOT", self._slot, "IMPORTING", self._source_id)
        self._ask(self._source, "CLUSTER", "SETSLOT", self._slot, "MIGRATING", self._target_id)

    def move_keys(self, *, at_most: int = 1_000) -> int:
        keys = self._ask(self._source, "CLUSTER", "GETKEYSINSLOT", self._slot, at_most)
        for key in keys:
            self._ask(self._source, "MIGRATE", "127.0.0.1", self._target.port, key, 0, 5_000)
        return len(keys)

    def finish(self) -> None:
        for node in (self._target, self._source):
            self._ask(node, "CLUSTER", "SETSLOT", self._slot, "NODE", self._target_id)
        for client in self._clients.values():
            wait_until(lambda client=client: self._owner_as_seen_by(client) == self._target.port, "all nodes to know")

    def _owner_as_seen_by(self, client: redis.Redis) -> int:
        entries: Any = client.execute_command("CLUSTER SLOTS")
        return int(next(entry[2][1] for entry in entries if entry[0] <= self._slot <= entry[1]))

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def test_a_slot_that_moves_under_use(servers: RedisClusterServers, users: RedisUsers) -> None:
    """Reads follow ASK to keys that have gone already, and MOVED at the end; nothing that has moved is lost.

    While a slot moves, Redis refuses scripts of which some keys do not exist (TRYAGAIN): such writes fail until the move is over.
    """
    group_id = users.group_id
    users.recent.put(group_id, 1, [stored(seq) for seq in range(1, 11)], [])
    move = SlotMove(servers, key_slot(group_id.encode()))
    move.begin()
    assert users.recent.get_heads([group_id]) == [Position(1, 10)]
    while move.move_keys(at_most=100):
        pass
    assert users.recent.get_heads([group_id]) == [Position(1, 10)]
    page = users.recent.read_before(group_id, before_seq=0, limit=10)
    assert page is not None
    assert len(page.messages) == 10
    assert users.codes() <= {None, ErrorCode.UNAVAILABLE}
    assert set(users.errors) <= {"cluster"}
    move.finish()
    users.errors.clear()
    assert users.recent.put_many([RecentPut(group_id, 1, [stored(11)])]) == [None]
    assert users.recent.get_heads([group_id]) == [Position(1, 11)]
    assert users.all_well()
    assert users.errors == []
    move.close()


def test_calls_in_many_threads_while_slots_move(servers: RedisClusterServers, users: RedisUsers) -> None:
    """A writer and readers on one group whose slot goes around the cluster: heads never fall, nothing fails for good."""
    group_id, stop = GroupId("moving"), threading.Event()
    done: list[int] = []
    failures: list[str] = []

    def write() -> None:
        seq = 0
        while not stop.is_set():
            seq += 1
            (outcome,) = users.recent.put_many([RecentPut(group_id, 1, [stored(seq)])])
            if outcome is None:
                done.append(seq)
            elif outcome.code is not ErrorCode.UNAVAILABLE:
                failures.append(f"put {seq}: {outcome} from {outcome.__cause__!r}")

    def read() -> None:
        last = 0
        while not stop.is_set():
            try:
                (head,) = users.recent.get_heads([group_id])
            except ThrongError as error:
                failures.append(f"heads: {error} from {error.__cause__!r}")
                return
            if head is not None and head.seq < last:
                failures.append(f"{head.seq} after {last}")
            last = head.seq if head is not None else last

    threads = [threading.Thread(target=write), threading.Thread(target=read), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        move = SlotMove(servers, key_slot(group_id.encode()))
        move.begin()
        while move.move_keys(at_most=100):
            pass
        move.finish()
        move.close()
        before = len(done)
        wait_until(lambda before=before: len(done) > before + 10, "puts to go on")
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert failures == []


def test_the_change_channel_tells_of_edges_on_every_node(servers: RedisClusterServers, users: RedisUsers) -> None:
    """Wherever the record of an edge lies, and at whichever node the subscription is; and a node that dies breaks the channel."""

    async def follow() -> None:
        edges = [EdgeId(f"edge-{number}") for number in range(9)]
        assert len({owner_of(servers, key_slot(edge_key(edge_id).encode())).port for edge_id in edges}) == 3
        for _ in range(3):
            async with asyncio.timeout(10), aclosing(users.registry.watch()) as changes:
                assert await anext(changes) == WatchStarted()
                for edge_id in edges:
                    await users.registry.register(EdgeInfo(edge_id, 1, "127.0.0.1:1", "ws://edge"))
                missing = set(edges)
                while missing:
                    # What was told before may still be on its way from another node.
                    change = await anext(changes)
                    if isinstance(change, EdgeChanged):
                        missing.discard(change.record.info.edge_id)
        async with asyncio.timeout(10), aclosing(users.registry.watch()) as changes:
            assert await anext(changes) == WatchStarted()
            await asyncio.to_thread(servers.nodes[1].kill)
            with pytest.raises(ThrongError) as caught:
                await to_the_end(changes)
            assert caught.value.code is ErrorCode.UNAVAILABLE

    users.runner.run(follow())
