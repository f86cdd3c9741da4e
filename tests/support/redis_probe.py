"""What tests do to Redis from outside: a plain client of a server, of a whole cluster, or of an embedded name, emptied at first."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import redis
from redis.cluster import ClusterNode

from throng.adapters.redis_access import RedisAccess, embedded_server

REDIS_KINDS = ("embedded", "redis", "cluster")


def redis_url(kind: str, request: pytest.FixtureRequest) -> str:
    """The address of an empty Redis of one of `REDIS_KINDS`; real ones are shared by the tests of a run."""
    if kind == "embedded":
        return f"embedded://{uuid.uuid4()}"
    if kind == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return str(request.getfixturevalue("redis_cluster_servers").url)


@contextlib.contextmanager
def emptied(url: str) -> Iterator[Any]:
    """A client of it, after everything in it, cached scripts too, was thrown away."""
    client = _client(url)
    client.flushall()
    client.script_flush()
    try:
        yield client
    finally:
        client.close()


def _client(url: str) -> Any:
    access = RedisAccess(url)
    if access.embedded:
        return fakeredis.FakeRedis(server=embedded_server(url), protocol=3)
    if access.cluster:
        return redis.RedisCluster(startup_nodes=[ClusterNode(*node) for node in access.nodes], protocol=3)
    return redis.Redis(*access.nodes[0], protocol=3)
