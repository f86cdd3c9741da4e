"""`throng up` as a process of its own, for end-to-end tests."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import grpc

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc
from throng.cli.data_folder import DataFolder

TOKEN_SECONDS = 43_200
BIN = pathlib.Path(sys.executable).parent


class ThrongProcess:
    """Starts `throng up`; its output is kept in a file and shown when it does not start."""

    def __init__(
        self,
        data_dir: pathlib.Path,
        *,
        port: int = 0,
        edges: int = 0,
        own_ports: bool = False,
        environment: dict[str, str] | None = None,
        open_files: int = 0,
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self.edges = edges
        self.own_ports = own_ports
        self.open_files = open_files
        self.environment = environment or {}
        self.address = ""
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self, timeout_seconds: float = 30.0) -> ThrongProcess:
        """Starts it and waits until it says where the page is."""
        limited = ["sh", "-c", f'ulimit -n {self.open_files}; exec "$@"', "limited"] if self.open_files else []
        command = [
            *limited,
            str(BIN / "throng"),
            "up",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.data_dir),
            "--edges",
            str(self.edges),
            *(["--own-ports"] if self.own_ports else []),
        ]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
            )
        found = threading.Event()
        threading.Thread(target=self._read, args=(self.process, found), daemon=True).start()
        deadline = time.monotonic() + timeout_seconds
        while not found.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"throng up did not start:\n{self.log.read_text()[-4000:]}")
        self.port = int(self.address.rsplit(":", 1)[1])
        return self

    def _read(self, process: subprocess.Popen[str], found: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            match = re.search(r"Throng runs: (http://[\w.:\[\]]+)", line)
            if match:
                self.address = match[1]
                found.set()
        process.stdout.close()

    def stop(self) -> int:
        """Ends it in good order; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def throng(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs another `throng` command on the same data folder."""
        command = [str(BIN / "throng"), *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def token(self, user: str) -> str:
        """A token for a user, as `throng token` makes it."""
        return TokenIssuer.from_file(DataFolder(self.data_dir).key_file).issue(user, ttl_seconds=TOKEN_SECONDS)

    def make_group(self, group_id: str, name: str = "", **settings: int) -> None:
        """An open group, as `throng group create` makes it; settings that are not named are those of a new group."""
        running = DataFolder(self.data_dir).read_running()
        assert running is not None
        chosen = common_pb2.GroupSettings(open=True, **settings)
        request = group_pb2.CreateGroupRequest(group_id=group_id, name=name, settings=chosen)
        with grpc.insecure_channel(running.group) as channel:
            group_pb2_grpc.GroupServiceStub(channel).CreateGroup(request, timeout=20)


def ready(address: str) -> bool:
    """Whether the edge at `host:port` says that it is ready."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
