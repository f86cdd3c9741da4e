"""What the adapters send: keys of one call in one slot, scripts that touch their KEYS alone, one round trip per batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest
import redis
import redis.asyncio.connection
from conformance_builders import stored
from redis.crc import key_slot
from redis_probe import REDIS_KINDS, emptied, redis_url
from redis_users import EDGE, RedisUsers

from group_svc.ports import RecentPut
from router_svc.ports import EdgeInfo, EdgeLoad, Route, Session
from throng.adapters import redis_calls
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_calls import Call
from throng.domain.ids import EdgeId, GroupId, UserId
from throng.domain.message import Position
from unread_svc.ports import Countable, Observation

PACKAGES = ("group_svc.adapters.lua", "router_svc.adapters.lua", "unread_svc.adapters.lua")
KEYLESS = {"PUBLISH", "TIME"}
GROUPS = [GroupId(f"group-{number}") for number in range(150)]


@pytest.fixture(params=REDIS_KINDS)
def users(request: pytest.FixtureRequest) -> Iterator[RedisUsers]:
    url = redis_url(request.param, request)
    with emptied(url), RedisUsers(RedisAccess(url)) as users:
        assert users.all_well()
        yield users


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Every call of an exchange that begins."""
    seen: list[Call] = []
    begin = redis_calls.Exchange.__init__

    def record(self: Any, calls: Any, loaded: Any) -> None:
        seen.extend(calls)
        begin(self, calls, loaded)

    monkeypatch.setattr(redis_calls.Exchange, "__init__", record)
    return seen


def use_everything(users: RedisUsers) -> None:
    """Also what `attempt` leaves out."""
    registry, run = users.registry, users.runner.run
    assert users.all_well()
    users.recent.read_after(users.group_id, after_seq=0, up_to_seq=0, limit=5)
    edge_id = EdgeId("edge-2")
    session = run(registry.register(EdgeInfo(edge_id, 1, "127.0.0.1:1", "ws://edge")))
    run(registry.put_routes(session, session.number + 1, {GROUPS[0]: 1, GROUPS[1]: 1, GROUPS[2]: 0}))
    run(registry.order_weight(edge_id, 5))
    run(registry.drop_routes([(GROUPS[0], Route(edge_id, 1, session.number + 1, 1))]))
    run(registry.prune(edge_id, below_version=session.number + 9))
    run(registry.deregister(session))
    run(registry.sweep())


def test_keys_of_one_call_are_in_one_slot_and_every_script_is_walked(users: RedisUsers, calls: list[Call]) -> None:
    use_everything(users)
    assert len(calls) > 20
    called = set()
    for call in calls:
        name, *args = call.args
        if name == "EVALSHA":
            assert call.script is not None
            called.update(call.script.files)
            keys = args[2 : 2 + args[1]]
            assert keys
        else:
            keys = [] if name in KEYLESS else args[:1]
        assert all(isinstance(key, str) and key.startswith("throng:") for key in keys), call
        assert {key_slot(key.encode()) for key in (*keys, call.key)} == {key_slot(call.key.encode())}, call
    assert called == {
        path.name for package in PACKAGES for path in resources.files(package).iterdir() if path.name.endswith(".lua")
    }


def test_scripts_name_no_key_themselves() -> None:
    for package in PACKAGES:
        for path in resources.files(package).iterdir():
            if path.name.endswith(".lua"):
                code = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
                assert "throng:" not in code, path.name
                assert "KEYS[" in code, path.name


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry per write of commands to a connection that is open."""
    seen: list[int] = []
    send, send_async = redis.Connection.send_packed_command, redis.asyncio.connection.Connection.send_packed_command

    def count(self: Any, command: Any, check_health: bool = True) -> Any:
        seen.append(1)
        return send(self, command, check_health)

    async def count_async(self: Any, command: Any, check_health: bool = True) -> None:
        seen.append(1)
        await send_async(self, command, check_health)

    monkeypatch.setattr(redis.Connection, "send_packed_command", count)
    monkeypatch.setattr(redis.asyncio.connection.Connection, "send_packed_command", count_async)
    return seen


@pytest.fixture(params=["redis", "cluster"])
def warm(request: pytest.FixtureRequest) -> Iterator[tuple[RedisUsers, int]]:
    """Users whose connections are open and whose scripts are loaded on every node, and the number of nodes."""
    url = redis_url(request.param, request)
    with emptied(url), RedisUsers(RedisAccess(url)) as users:
        for call in batches(users).values():
            call()
        yield users, 1 if request.param == "redis" else 3


def batches(users: RedisUsers) -> dict[str, Callable[[], Any]]:
    run, registry, session = users.runner.run, users.registry, Session(EDGE, 1, 1)
    puts = [RecentPut(group_id, 1, [stored(1), stored(2)]) for group_id in GROUPS]
    observations = [Observation(group_id, 1, 0, 1, [Countable(1, UserId("u"))]) for group_id in GROUPS]
    return {
        "put_many": lambda: users.recent.put_many(puts),
        "put_heads": lambda: users.recent.put_heads([(group_id, Position(1, 9)) for group_id in GROUPS]),
        "get_heads": lambda: users.recent.get_heads(GROUPS),
        "observe": lambda: users.window.observe(observations),
        "read windows": lambda: users.window.read([(group_id, 0) for group_id in GROUPS]),
        "read_routes": lambda: run(registry.read_routes(GROUPS)),
        "put_routes": lambda: run(registry.put_routes(session, 5, dict.fromkeys(GROUPS, 1))),
        "heartbeat": lambda: run(registry.heartbeat(session, EdgeLoad())),
    }


def test_a_batch_of_150_groups_is_one_round_trip_per_node(warm: tuple[RedisUsers, int], sends: list[int]) -> None:
    users, nodes = warm
    for name, call in batches(users).items():
        sends.clear()
        call()
        # On a cluster routes are told once they stand: one more.
        most = nodes + 1 if name == "put_routes" and nodes > 1 else nodes
        assert 1 <= len(sends) <= most, name
    assert users.errors == []


def test_a_read_is_one_round_trip(warm: tuple[RedisUsers, int], sends: list[int]) -> None:
    users, _ = warm
    users.recent.read_before(GROUPS[0], before_seq=0, limit=2)
    sends.clear()
    users.recent.read_before(GROUPS[0], before_seq=0, limit=2)
    users.recent.read_after(GROUPS[0], after_seq=0, up_to_seq=0, limit=2)
    assert len(sends) == 2
