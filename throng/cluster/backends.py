"""Kafka, MariaDB and Redis of a cluster: real servers, each in a folder of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from throng.cluster.keeper import Keeper
from throng.cluster.links import Links
from throng.cluster.plan import ClusterPlan
from throng.cluster.secured import BackendTls, MySQLUsers
from throng.testing.servers import KafkaServer, MariaDBServer, RedisServer, free_port

DATABASE = "throng"


class Server(Protocol):
    """What the servers of `throng.testing.servers` have in common."""

    name: str
    log: pathlib.Path

    @property
    def pid(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def log_tail(self, characters: int = 3_000) -> str: ...


class Backend:
    """A server that is started, killed and paused like a service, and ends with the supervisor. One thread at a time."""

    def __init__(self, server: Server, keeper: Keeper, log: pathlib.Path) -> None:
        self.server = server
        self.name = server.name
        server.log = log
        self._keeper = keeper
        self._noted = 0

    @property
    def pid(self) -> int:
        """The process that runs now; 0: none."""
        return self.server.pid if self.server.running else 0

    @property
    def running(self) -> bool:
        """It was started and has not ended; a paused one runs."""
        return self.server.running

    @property
    def log(self) -> pathlib.Path:
        """File with its output."""
        return self.server.log

    def start(self) -> None:
        """Starts it on the same port and data, and waits until it is ready. Redis comes up empty."""
        self.server.start()
        self._noted = self.server.pid
        self._keeper.note(self._noted, backend=True)

    def stop(self) -> None:
        """Ends it in good order. Idempotent."""
        self._end(self.server.stop)

    def kill(self) -> None:
        """kill -9. Idempotent."""
        self._end(self.server.kill)

    def _end(self, end: Callable[[], None]) -> None:
        end()
        if self._noted:
            self._keeper.forget(self._noted)
            self._noted = 0

    def restart(self) -> None:
        """Ends it in good order and starts it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and does nothing."""
        self.server.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.server.resume()

    def log_tail(self, characters: int = 3_000) -> str:
        """The end of its output."""
        return self.server.log_tail(characters)


class Backends:
    """The servers of one cluster.

    Attributes:
        kafka, mariadb: None where the plan does without. redis: always there.
    """

    def __init__(
        self, folder: pathlib.Path, logs: pathlib.Path, plan: ClusterPlan, links: Links, keeper: Keeper, tls: BackendTls | None
    ) -> None:
        """Makes nothing yet. With `tls` services reach every server by TLS alone; supervisors and tests do without.

        Raises:
            ServerMissing: a program is not installed; the text names the remedy.
        """
        self._links = links
        self._tls = tls
        self._bootstraps: dict[str, str] = {}
        self.mysql_users = MySQLUsers(folder / "secrets", DATABASE, tls_only=tls is not None)
        self.kafka: Backend | None = None
        self.mariadb: Backend | None = None
        if plan.uplink == "kafka":
            self._kafka = self._make_kafka(folder / "kafka", plan)
            self.kafka = Backend(self._kafka, keeper, logs / "kafka.log")
        if plan.store == "mysql":
            options = [f"{name}={value}" for name, value in plan.backend_options.get("mariadb", {}).items()]
            options += tls.mariadb_options() if tls is not None else []
            self._mariadb = MariaDBServer(folder / "mariadb", options=options)
            self.mariadb = Backend(self._mariadb, keeper, logs / "mariadb.log")
        self._redis_port = free_port()
        self._redis = RedisServer(folder / "redis", options=tls.redis_options(self._redis_port) if tls is not None else ())
        self.redis = Backend(self._redis, keeper, logs / "redis.log")

    def _make_kafka(self, folder: pathlib.Path, plan: ClusterPlan) -> KafkaServer:
        """A broker tells its clients where to dial, so each proxied link has a listener of its own behind its proxy."""
        port, controller = free_port(), free_port()
        listeners = {"PLAINTEXT": f"127.0.0.1:{port}", "CONTROLLER": f"127.0.0.1:{controller}"}
        advertised = {"PLAINTEXT": f"127.0.0.1:{port}"}
        common = "PLAINTEXT"
        if self._tls is not None:
            common = "SERVICES"
            listeners[common] = advertised[common] = f"127.0.0.1:{free_port()}"
        for source in [*plan.names("edge"), *plan.names("group")]:
            if f"{source.partition('-')[0]}->kafka" not in plan.proxied:
                self._bootstraps[source] = advertised[common]
                continue
            name = source.replace("-", "").upper()
            listeners[name] = f"127.0.0.1:{free_port()}"
            self._bootstraps[source] = advertised[name] = self._links.address(source, "kafka", listeners[name])
        settings = {
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
            "listener.security.protocol.map": ",".join(f"{name}:{self._protocol(name)}" for name in listeners),
            **(self._tls.kafka_settings(folder) if self._tls is not None else {}),
        }
        return KafkaServer(folder, port=port, settings=settings | dict(plan.backend_options.get("kafka", {})))

    def _protocol(self, listener: str) -> str:
        return "PLAINTEXT" if self._tls is None or listener in ("PLAINTEXT", "CONTROLLER") else "SSL"

    def all(self) -> list[Backend]:
        """The servers that the plan asks for."""
        return [one for one in (self.kafka, self.mariadb, self.redis) if one is not None]

    def start(self) -> None:
        """Starts all at the same time; makes the database where it is missing, and its users.

        Raises:
            RuntimeError: one does not start; the text holds the end of its log.
        """
        servers = self.all()
        with ThreadPoolExecutor(len(servers), thread_name_prefix="cluster-backend") as pool:
            starts = [pool.submit(server.start) for server in servers]
        for start in starts:
            start.result()
        if self.mariadb is not None:
            with self._mariadb.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
                self.mysql_users.make(cursor)

    def stop(self) -> None:
        """Ends all at the same time. Idempotent."""
        servers: Sequence[Backend] = self.all()
        with ThreadPoolExecutor(len(servers), thread_name_prefix="cluster-backend") as pool:
            for end in [pool.submit(server.stop) for server in servers]:
                end.result()

    def kafka_servers(self, source: str) -> str:
        """Where `source` (`edge-1`, `group-2`) finds Kafka."""
        return self._bootstraps[source]

    def mysql_url(self, source: str, user: str = MySQLUsers.SERVICES) -> str:
        """Where `source` finds its tables, and as whom."""
        real = f"127.0.0.1:{self._mariadb.port}"
        return self._mariadb.url(DATABASE, user=user).replace(real, self._links.address(source, "mysql", real))

    def redis_url(self, source: str) -> str:
        """Where `source` finds Redis."""
        scheme, port = ("redis", self._redis.port) if self._tls is None else ("rediss", self._redis_port)
        return f"{scheme}://{self._links.address(source, 'redis', f'127.0.0.1:{port}')}"
