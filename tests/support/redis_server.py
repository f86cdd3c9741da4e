"""A real redis-server of the tests' own: loopback, a port that was free, nothing on disk, ended by its pid."""

from __future__ import annotations

import pathlib
import shutil
import socket
import subprocess
import time

import redis
from backends import backend_missing

_START_SECONDS = 20.0


class RedisServer:
    """May be killed and started again, empty, on the same port. Without redis-server installed: `backend_missing`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            backend_missing("redis", "apt-get install redis-server")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        command = [str(self._program), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._folder)
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.exceptions.ConnectionError:
                    assert time.monotonic() < deadline, "redis-server did not start"
                    assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
                    time.sleep(0.02)

    def stop(self) -> None:
        """Kills it. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_START_SECONDS)
