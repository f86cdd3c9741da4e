"""A real Redis that misbehaves: every adapter answers with an error of ours within its timeout, and works again by itself (I10)."""

from __future__ import annotations

import asyncio
import pathlib
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest
import redis
import uvloop
from conformance_builders import stored
from redis_users import EDGE, SLACK_SECONDS, RedisUsers, wait_until
from server_fixtures import started

from router_svc.ports import EdgeInfo, EdgeLoad, Standing, WatchStarted
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_aio import RedisLoop
from throng.adapters.redis_calls import Batch, Call, Exchange
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId
from throng.domain.message import Position
from throng.testing.servers import FaultProxy, RedisServer

TIMEOUT_SECONDS = 0.4
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "redis.md"
AWAY = {ErrorCode.UNAVAILABLE}


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[RedisServer]:
    with started(lambda: RedisServer(tmp_path)) as server:
        yield server


@pytest.fixture
def users(server: RedisServer) -> Iterator[RedisUsers]:
    with RedisUsers(RedisAccess(server.url, timeout_seconds=TIMEOUT_SECONDS)) as users:
        assert users.all_well()
        yield users


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        yield proxy


@pytest.fixture
def far_users(proxy: FaultProxy) -> Iterator[RedisUsers]:
    """Users whose connections pass a proxy."""
    with RedisUsers(RedisAccess(f"redis://{proxy.address}", timeout_seconds=TIMEOUT_SECONDS)) as users:
        assert users.all_well()
        yield users


def test_connections_that_are_reset_in_the_midst_of_an_exchange_under_uvloop(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises a RuntimeError where asyncio drops the write. What breaks is sent again once, so most of it is answered."""
    redis_loop, results = RedisLoop(RedisAccess(f"redis://{proxy.address}", timeout_seconds=TIMEOUT_SECONDS)), set[object]()
    ending = threading.Event()
    broken: set[type[Exception]] = set()
    broke = Exchange.broke

    def noted(exchange: Exchange, batch: Batch, error: Exception, *, sent: bool) -> bool:
        broken.add(type(error))
        return broke(exchange, batch, error, sent=sent)

    monkeypatch.setattr(Exchange, "broke", noted)

    async def use() -> None:
        while not ending.is_set():
            answers = await redis_loop.run([Call(("PING",), "k")] * 3)
            results.update(answer.code if isinstance(answer, ThrongError) else answer for answer in answers)
            await asyncio.sleep(0)

    async def run() -> None:
        try:
            await asyncio.gather(*(use() for _ in range(8)), asyncio.to_thread(disturb))
        finally:
            ending.set()
            await redis_loop.close()

    def disturb() -> None:
        try:
            resets, deadline = 0, time.monotonic() + 20.0
            while (resets < 60 or RuntimeError not in broken) and time.monotonic() < deadline:
                time.sleep(0.02)  # as many resets as there is traffic between
                proxy.reset()
                resets += 1
            proxy.cut()
            wait_until(lambda: ErrorCode.UNAVAILABLE in results, "an exchange for which there is no connection")
        finally:
            ending.set()

    uvloop.run(run())
    assert RuntimeError in broken
    assert results == {b"PONG", ErrorCode.UNAVAILABLE}


def admin(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, protocol=3)


def test_a_server_that_was_killed_and_comes_back_empty(server: RedisServer, users: RedisUsers) -> None:
    server.kill()
    assert users.codes() == AWAY
    server.start()
    assert users.all_well()


def test_killed_in_the_midst_of_use_by_many_threads(server: RedisServer, users: RedisUsers) -> None:
    """No thread hangs, dies of another exception, or gets another's answer."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def use(number: int) -> None:
        group_id, seq = GroupId(f"group-{number}"), 0
        while not stop.is_set():
            seq += 1
            try:
                users.recent.put_heads([(group_id, Position(1, seq))])
                (head,) = users.recent.get_heads([group_id])
                assert head is None or head.seq in (seq, seq - 1)
            except Exception as error:
                if getattr(error, "code", None) is not ErrorCode.UNAVAILABLE:
                    failures.append(error)
                    return

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        server.kill()
        server.start()
        wait_until(lambda: users.recent.get_heads([GroupId("group-0")]) is not None, "the server")
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert failures == []


def test_flushall_and_script_flush(server: RedisServer, users: RedisUsers) -> None:
    with admin(server) as client:
        client.flushall()
        client.script_flush()
        assert users.all_well()
        client.script_flush()
        assert users.all_well()


def test_routes_are_reported_again_after_a_restart(server: RedisServer, users: RedisUsers) -> None:
    """The heartbeat says that the registry has forgotten; registering and reporting again restores it."""
    run, registry = users.runner.run, users.registry
    info = EdgeInfo(EDGE, 5, "127.0.0.1:1", "ws://edge")
    session = run(registry.register(info))
    run(registry.put_routes(session, session.number + 1, {GroupId("g"): 3}))
    server.kill()
    server.start()
    assert run(registry.heartbeat(session, EdgeLoad())) == (Standing.MISSING, 0)
    assert run(registry.put_routes(session, session.number + 2, {GroupId("g"): 3})) is Standing.MISSING
    again = run(registry.register(info))
    assert again.number > session.number
    run(registry.put_routes(again, again.number + 1, {GroupId("g"): 3}))
    assert run(registry.heartbeat(again, EdgeLoad())) == (Standing.CURRENT, 1)


def test_a_server_that_is_stopped_in_its_tracks(server: RedisServer, users: RedisUsers) -> None:
    with server.paused():
        assert users.codes() == AWAY
        assert "timeout" in users.errors
    wait_until(users.all_well, "the server to go on")


def test_connections_that_were_reset_are_opened_again_without_an_error(proxy: FaultProxy, far_users: RedisUsers) -> None:
    for _ in range(3):
        proxy.reset()
        assert far_users.all_well()


def test_a_connection_that_is_cut_while_it_is_used(proxy: FaultProxy, far_users: RedisUsers) -> None:
    proxy.cut()
    assert far_users.codes() == AWAY
    proxy.restore()
    assert far_users.all_well()


def test_a_half_open_connection(proxy: FaultProxy, far_users: RedisUsers) -> None:
    proxy.stall()
    assert far_users.codes() == AWAY
    proxy.restore()
    wait_until(far_users.all_well, "the connection to go on")


def test_a_slow_connection_serves_within_the_timeout_and_fails_beyond_it(proxy: FaultProxy, far_users: RedisUsers) -> None:
    proxy.delay(0.05)
    assert far_users.all_well()
    proxy.delay(1.0)
    assert far_users.codes() == AWAY
    proxy.restore()
    wait_until(far_users.all_well, "the connection to be quick again")


def test_an_answer_that_only_drips_in_ends_with_the_timeout(proxy: FaultProxy, far_users: RedisUsers) -> None:
    """A socket's own timeout begins anew with every byte; the deadline of a call does not."""
    big = GroupId("big")
    far_users.recent.put(big, 1, [stored(seq, text="x" * 5_000) for seq in range(1, 61)], [])
    proxy.limit(250_000)  # a chunk each quarter of a second, 1.2 s in all
    started_at = time.monotonic()
    with pytest.raises(ThrongError) as caught:
        far_users.recent.read_before(big, before_seq=0, limit=60)
    assert time.monotonic() - started_at < TIMEOUT_SECONDS + SLACK_SECONDS
    assert caught.value.code is ErrorCode.UNAVAILABLE
    proxy.restore()
    wait_until(far_users.all_well, "the connection to be quick again")


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_or_missing_password_is_said_and_not_repeated(server: RedisServer, password: str) -> None:
    with admin(server) as client:
        client.config_set("requirepass", "right")
    with RedisUsers(RedisAccess(server.url, timeout_seconds=TIMEOUT_SECONDS, password=password)) as users:
        assert users.codes() == {ErrorCode.INTERNAL}
        assert set(users.errors) == {"credentials"}
    access = RedisAccess(server.url, timeout_seconds=TIMEOUT_SECONDS, password="right")
    assert "right" not in repr(access)
    with RedisUsers(access) as users:
        assert users.all_well()


def test_a_password_that_is_required_of_connections_that_are_open(server: RedisServer, users: RedisUsers) -> None:
    with admin(server) as client:
        client.config_set("requirepass", "right")
        client.client_kill_filter(_type="normal", skipme=True)
        assert users.codes() == {ErrorCode.INTERNAL}
        client.config_set("requirepass", "")
    assert users.all_well()


def test_a_user_who_may_not_write(server: RedisServer) -> None:
    with admin(server) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~throng:*", "+@read", "+@connection", "+hello")
    access = RedisAccess(server.url, timeout_seconds=TIMEOUT_SECONDS, user="reader", password="secret")
    with RedisUsers(access) as users:
        assert users.attempt()["recent.put_heads"] is ErrorCode.INTERNAL
        assert users.attempt()["recent.get_heads"] is None


@pytest.mark.parametrize(("service", "prefix"), [("group_svc", "recent."), ("unread_svc", "window."), ("router_svc", "registry.")])
def test_the_documented_rights_are_enough_for_each_service_and_for_nothing_else(
    server: RedisServer, service: str, prefix: str
) -> None:
    (line,) = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"{service} ")]
    with admin(server) as client:
        client.execute_command("ACL", "SETUSER", service, "on", ">secret", *line.split()[1:])
    access = RedisAccess(server.url, timeout_seconds=TIMEOUT_SECONDS, user=service, password="secret")
    with RedisUsers(access) as users:
        outcomes = users.attempt()
        assert {code for name, code in outcomes.items() if name.startswith(prefix)} == {None}
        assert {code for name, code in outcomes.items() if not name.startswith(prefix)} == {ErrorCode.INTERNAL}
        if service == "router_svc":
            users.runner.run(users.registry.sweep())
            assert users.runner.run(_first_change(users)) == WatchStarted()


async def _first_change(users: RedisUsers) -> object:
    async with aclosing(users.registry.watch()) as changes:
        return await anext(changes)


WRITES = ("recent.put", "recent.put_many", "recent.put_heads", "window.observe", "window.install", "registry.register")


def test_a_server_that_is_full(server: RedisServer, users: RedisUsers) -> None:
    with admin(server) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        outcomes = users.attempt()
        # A script that begins with a removal may go on writing: that is how Redis is, and does no harm.
        assert {outcomes[name] for name in WRITES if name != "window.install"} == AWAY
        assert outcomes["recent.get_heads"] is None
        assert "full" in users.errors
        client.config_set("maxmemory", "0")
    assert users.all_well()


def test_a_server_that_became_a_read_only_replica(server: RedisServer, users: RedisUsers, tmp_path: pathlib.Path) -> None:
    with started(lambda: RedisServer(tmp_path / "primary")) as primary, admin(server) as client:
        client.replicaof("127.0.0.1", primary.port)
        outcomes = users.attempt()
        assert {outcomes[name] for name in WRITES} == AWAY
        client.replicaof("NO", "ONE")
    assert users.all_well()
