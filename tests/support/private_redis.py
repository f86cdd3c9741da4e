"""A real redis-server of a test's own: loopback, ephemeral port, nothing on disk, ended by its pid."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator


def executable() -> str | None:
    """Where redis-server is; None: not installed."""
    return shutil.which("redis-server")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(folder: str) -> Iterator[str]:
    """Starts a server in `folder` and yields its URL."""
    port = _free_port()
    command = [
        executable() or "redis-server",
        *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            lines = []
            for line in server.stdout:
                lines.append(line)
                if "eady to accept connections" in line:
                    break
            else:
                raise RuntimeError("redis-server did not start:\n" + "".join(lines))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(10)
