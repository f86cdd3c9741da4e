"""Redis without anything on disk, empty after every start, and a Redis Cluster of several nodes."""

from __future__ import annotations

import pathlib
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from throng.testing.servers.process import ServerProcess, find_program, free_port

_START_SECONDS = 20.0
_ONCE = Retry(NoBackoff(), 0)
_CLUSTER = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")


class RedisServer(ServerProcess):
    """A server on 127.0.0.1. `options` are further flags of redis-server.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(self, folder: pathlib.Path, *, port: int | None = None, options: Sequence[str] = ()) -> None:
        self._program = find_program("redis-server", backend="redis", package="redis-server")
        super().__init__("redis", folder)
        self.port = port or free_port()
        self._options = list(options)
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.launch([*command, "--save", "", "--appendonly", "no", *self._options])
        self.wait_until(self._answers, timeout_seconds=_START_SECONDS)

    def _answers(self) -> bool:
        with self._client() as client:
            try:
                client.ping()
            except redis.exceptions.AuthenticationError:
                return True
            except redis.exceptions.RedisError:
                return False
        return True

    def _client(self) -> Any:
        return redis.Redis(port=self.port, retry=_ONCE, socket_timeout=2.0, socket_connect_timeout=2.0)


class RedisClusterServers:
    """Masters without replicas; a node that is down takes its slots with it and brings them back, empty, at its next start.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(self, folder: pathlib.Path, *, nodes: int = 3) -> None:
        # The port of the bus is chosen too: by default it is the other one plus 10,000, where anyone's connection may be.
        self.nodes = [
            RedisServer(folder / f"node-{number}", options=[*_CLUSTER, "--cluster-port", str(free_port())])
            for number in range(nodes)
        ]
        self._cli = find_program("redis-cli", backend="redis", package="redis-server")
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Starts all nodes, makes them one cluster, and waits until each of them knows it."""
        for node in self.nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = [self._cli, "--cluster", "create", *addresses, "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            self.stop()
            raise RuntimeError(f"the cluster cannot be made:\n{(done.stdout + done.stderr)[-2000:]}")
        self.wait_until_whole()

    def wait_until_whole(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Waits until every node knows all slots as served.

        Raises:
            RuntimeError: that took too long.
        """
        deadline = time.monotonic() + timeout_seconds
        while not all(self._knows_all(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster did not become whole")
            time.sleep(0.05)

    def _knows_all(self, node: RedisServer) -> bool:
        try:
            with redis.Redis(port=node.port, retry=_ONCE, decode_responses=True, socket_timeout=2.0) as client:
                info: Any = client.execute_command("CLUSTER INFO")
        except redis.exceptions.RedisError:
            return False
        text = info if isinstance(info, str) else "\n".join(f"{name}:{value}" for name, value in info.items())
        return "cluster_state:ok" in text and "cluster_slots_ok:16384" in text

    def flush(self) -> None:
        """Empties all nodes, cached scripts too."""
        for node in self.nodes:
            with redis.Redis(port=node.port) as client:
                client.flushall()
                client.script_flush()

    def stop(self) -> None:
        """Ends all nodes. Idempotent."""
        for node in self.nodes:
            node.kill()
