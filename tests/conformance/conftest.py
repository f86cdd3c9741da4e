"""Adapters under the conformance suites. A new adapter is one more entry in a table here; no suite changes.

A factory yields what the suite needs and cleans up. Whatever needs a server takes it from a fixture that starts one or calls
`backend_missing`: a visible skip, and a failure where REQUIRE_BACKENDS names the backend.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kafka_stage import KafkaStage
from mysql_tables import access_to, empty_tables
from redis_probe import REDIS_KINDS, emptied, redis_url

from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.adapters.redis_recent_messages import RedisRecentMessages
from group_svc.adapters.sqlite_membership_store import SQLiteMembershipStore
from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from group_svc.ports import MembershipStore, MessageStore, RecentMessages
from throng.adapters.memory_uplink import MemoryUplink
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.adapters.system_clock import SystemClock
from throng.ports.clock import Clock
from throng.ports.uplink import UplinkConsumer, UplinkProducer
from throng.testing.fake_clock import FakeClock

_START_DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class GroupStores:
    """The two stores of group_svc over one set of tables."""

    messages: MessageStore
    members: MembershipStore


OpenStores = Callable[[], GroupStores]
"""Opens the same tables once more, as a second process or a restart would."""


@contextlib.contextmanager
def _sqlite_stores(request: pytest.FixtureRequest, folder: pathlib.Path) -> Iterator[OpenStores]:
    databases = contextlib.ExitStack()

    def open_stores() -> GroupStores:
        database = SQLiteDatabase(folder / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
        databases.callback(database.close)
        return GroupStores(SQLiteMessageStore(database), SQLiteMembershipStore(database))

    with databases:
        yield open_stores


@contextlib.contextmanager
def _mysql_stores(request: pytest.FixtureRequest, folder: pathlib.Path) -> Iterator[OpenStores]:
    server = request.getfixturevalue("mariadb_server")
    with contextlib.ExitStack() as exit_stack:
        name = exit_stack.enter_context(empty_tables(server))

        def open_stores() -> GroupStores:
            database = MySQLDatabase(access_to(server, name))
            exit_stack.callback(database.close)
            return GroupStores(MySQLMessageStore(database), MySQLMembershipStore(database))

        yield open_stores


_MakeStores = Callable[[pytest.FixtureRequest, pathlib.Path], contextlib.AbstractContextManager[OpenStores]]
GROUP_STORES: dict[str, _MakeStores] = {"sqlite": _sqlite_stores, "mysql": _mysql_stores}
Uplink = tuple[UplinkProducer, UplinkConsumer]


@contextlib.contextmanager
def _memory_uplink(_request: pytest.FixtureRequest) -> Iterator[Uplink]:
    uplink = MemoryUplink()
    yield uplink, uplink


@contextlib.contextmanager
def _kafka_uplink(request: pytest.FixtureRequest) -> Iterator[Uplink]:
    with KafkaStage(request.getfixturevalue("kafka_server").bootstrap) as stage:
        yield stage.producer(), stage.consumer()


UPLINKS: dict[str, Callable[[pytest.FixtureRequest], contextlib.AbstractContextManager[Uplink]]] = {
    "memory": _memory_uplink,
    "kafka": _kafka_uplink,
}
CLOCKS: dict[str, Callable[[], Clock]] = {"system": SystemClock, "fake": FakeClock}


@pytest.fixture(params=sorted(GROUP_STORES))
def open_stores(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[OpenStores]:
    """Opens the stores of one adapter, empty at first."""
    with GROUP_STORES[request.param](request, tmp_path) as opener:
        yield opener


@pytest.fixture(params=sorted(GROUP_STORES))
def make_tables(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], contextlib.AbstractContextManager[OpenStores]]:
    """Makes new empty tables at every call, for a test that needs many."""
    return lambda: GROUP_STORES[request.param](request, tmp_path_factory.mktemp("tables"))


@pytest.fixture
def stores(open_stores: OpenStores) -> GroupStores:
    """The stores, empty."""
    return open_stores()


@dataclass(frozen=True)
class RecentStage:
    """A cache under test and what tests do to it from outside."""

    client: Any
    make: Callable[..., RecentMessages]


@pytest.fixture(params=REDIS_KINDS)
def redis_place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """Address and client of an empty Redis: the embedded one, a real server, a real cluster of three nodes."""
    url = redis_url(request.param, request)
    with emptied(url) as client:
        yield url, client


@pytest.fixture
def recent_stage(redis_place: tuple[str, Any]) -> Iterator[RecentStage]:
    """`RecentMessages` over Redis."""
    url, client = redis_place
    redis = RedisThreads(RedisAccess(url))
    yield RecentStage(client, lambda bound, **bounds: RedisRecentMessages(redis, bound=bound, **bounds))
    redis.close()


@pytest.fixture(params=sorted(UPLINKS))
def uplink(request: pytest.FixtureRequest) -> Iterator[Uplink]:
    """Both ends of an empty log."""
    with UPLINKS[request.param](request) as both:
        yield both


@pytest.fixture(params=sorted(CLOCKS))
def clock(request: pytest.FixtureRequest) -> Clock:
    """A clock."""
    return CLOCKS[request.param]()
