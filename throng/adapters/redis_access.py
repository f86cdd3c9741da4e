"""How to reach Redis: one server, a Redis Cluster, or the one embedded in this process; who we are, and how the way is secured.

`redis://host:port/db`, `rediss://…` (TLS): a server. `redis+cluster://host:port,host:port`, `rediss+cluster://…`: some nodes of a
cluster, which name the others. `embedded://NAME`: fakeredis with Lua inside this process; the same name is the same data.
RESP3 is chosen explicitly everywhere (redis-py keeps legacy shapes otherwise), and redis-py repeats nothing by itself (it would,
ten times, for longer than our callers wait): what is asked again is decided in `redis_calls.py`.
"""

from __future__ import annotations

import pathlib
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import fakeredis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from throng.adapters.redis_calls import Address

_EMBEDDED = "embedded://"
_DEFAULT_PORT = 6379
_servers: dict[str, fakeredis.FakeServer] = {}
_servers_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """Where Redis is and how to get in.

    Attributes:
        url: see the module; a user and a password in it are used when `password` is empty.
        timeout_seconds: the deadline of one exchange with it, connecting and repeating included.
        user: name for AUTH; empty: Redis's default user.
        password: for AUTH; empty: none.
        ca_file: certificates that the server's must lead to; None: those of the system. For rediss only.
        cert_file: our own certificate, where the server asks for one; with `key_file`.
        key_file: its key.
    """

    url: str
    timeout_seconds: float = 5.0
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: pathlib.Path | None = None
    cert_file: pathlib.Path | None = None
    key_file: pathlib.Path | None = None

    @property
    def embedded(self) -> bool:
        """It is inside this process."""
        return self.url.startswith(_EMBEDDED)

    @property
    def cluster(self) -> bool:
        """It is a Redis Cluster."""
        return urllib.parse.urlsplit(self.url).scheme.endswith("+cluster")

    @property
    def nodes(self) -> list[Address]:
        """The nodes that the url names.

        Raises:
            ValueError: one is not host:port.
        """
        if self.embedded:
            return [("embedded", 0)]
        _, _, places = urllib.parse.urlsplit(self.url).netloc.rpartition("@")
        return [_address(place) for place in places.split(",") if place]

    def options(self, address: Address) -> dict[str, Any]:
        """What a connection of redis-py to one node is made with."""
        parts = urllib.parse.urlsplit(self.url)
        login, _, _ = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        database = parts.path.strip("/")
        options: dict[str, Any] = {
            "host": address[0],
            "port": address[1],
            "db": int(database) if database and not self.cluster else 0,
            "username": self.user or urllib.parse.unquote(user) or None,
            "password": self.password or urllib.parse.unquote(password) or None,
            "protocol": 3,
            "socket_timeout": self.timeout_seconds,
            "socket_connect_timeout": self.timeout_seconds,
            "socket_keepalive": True,
        }
        if parts.scheme.startswith("rediss"):
            options |= {
                "ssl_ca_certs": None if self.ca_file is None else str(self.ca_file),
                "ssl_certfile": None if self.cert_file is None else str(self.cert_file),
                "ssl_keyfile": None if self.key_file is None else str(self.key_file),
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
            }
        return options

    @property
    def secured(self) -> bool:
        """It is reached by TLS."""
        return self.url.startswith("rediss")


def _address(place: str) -> Address:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        return place.strip("[]"), _DEFAULT_PORT
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{place} is not host:port")
    return host.strip("[]"), int(port)


def embedded_server(url: str) -> fakeredis.FakeServer:
    """The data of one embedded name; made when it is first asked for."""
    with _servers_lock:
        return _servers.setdefault(url, fakeredis.FakeServer(version=(7,)))


def no_retry() -> Retry:
    """For connections of threads: redis-py repeats nothing."""
    return Retry(NoBackoff(), 0)


def no_retry_async() -> redis.asyncio.retry.Retry:
    """For connections of asyncio: redis-py repeats nothing."""
    return redis.asyncio.retry.Retry(NoBackoff(), 0)


def no_notifications() -> MaintNotificationsConfig:
    """No maintenance notifications: they cost a round trip per connection, and only one vendor's service sends them."""
    return MaintNotificationsConfig(enabled=False)
