"""Redis clients, real or embedded, and the translation of their exceptions.

`redis://…`, `rediss://…`: a server. `embedded://NAME`: fakeredis with Lua inside this process; the same name is the same data.
RESP3 is chosen explicitly on both (redis-py keeps legacy shapes otherwise).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import resources
from typing import Any

import fakeredis
import redis
import redis.asyncio

from throng.domain.errors import ErrorCode, ThrongError, unavailable

_EMBEDDED = "embedded://"
_servers: dict[str, fakeredis.FakeServer] = {}
_servers_lock = threading.Lock()


def _embedded_server(url: str) -> fakeredis.FakeServer:
    with _servers_lock:
        return _servers.setdefault(url, fakeredis.FakeServer(version=(7,)))


def connect(url: str, *, timeout_seconds: float = 5.0) -> Any:
    """Makes a client for threads: `redis.Redis` with bytes in and out. Nothing is sent yet."""
    if url.startswith(_EMBEDDED):
        return fakeredis.FakeRedis(server=_embedded_server(url), protocol=3)
    return redis.Redis.from_url(
        url, protocol=3, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, health_check_interval=15
    )


def connect_async(url: str, *, timeout_seconds: float = 5.0) -> Any:
    """Makes a client for asyncio: `redis.asyncio.Redis` with bytes in and out. Nothing is sent yet."""
    if url.startswith(_EMBEDDED):
        return fakeredis.FakeAsyncRedis(server=_embedded_server(url), protocol=3)
    return redis.asyncio.Redis.from_url(
        url, protocol=3, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, health_check_interval=15
    )


def read_script(package: str, name: str) -> str:
    """Reads the Lua file `name` that lies in `package`."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every exception of redis-py inside into a ThrongError."""
    try:
        yield
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise ThrongError(ErrorCode.INTERNAL, "Redis refuses our credentials") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
        raise unavailable("Redis cannot be reached") from error
    except redis.exceptions.ReadOnlyError as error:
        raise unavailable("Redis is read-only") from error
    except redis.exceptions.RedisError as error:
        raise ThrongError(ErrorCode.INTERNAL, "Redis refused a command") from error
