"""Real servers that tests share: each started once per test process, and what a test keeps apart is a database, a topic, a prefix."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest
from backends import backend_missing

from throng.testing.servers import KafkaServer, MariaDBServer, RedisClusterServers, RedisServer, ServerMissing


class _Server(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=_Server)


@contextlib.contextmanager
def started(make: Callable[[], S]) -> Iterator[S]:
    """Makes and starts a server and stops it at the end; a missing program goes the way of `backend_missing`."""
    try:
        server = make()
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka broker; tests that kill it start it again."""
    with started(lambda: KafkaServer(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBServer]:
    """A MariaDB server; tests that kill it start it again."""
    with started(lambda: MariaDBServer(tmp_path_factory.mktemp("mariadb"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server; whoever uses it empties it first."""
    with started(lambda: RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisClusterServers]:
    """A Redis Cluster of three nodes; whoever uses it empties it first."""
    with started(lambda: RedisClusterServers(tmp_path_factory.mktemp("redis-cluster"))) as servers:
        yield servers
