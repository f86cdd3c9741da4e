"""One service of a cluster as a process: started, ended, killed, paused, and started again when it dies."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from throng.cluster.keeper import Keeper

_log = structlog.get_logger("throng.cluster")
_LOOK_SECONDS = 0.05
_READ_SECONDS = 2.0
_STOP_SECONDS = 15.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_HEALTHY_SECONDS = 20.0


class ClusterError(Exception):
    """A part of the cluster did not start; the text names it and holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service is reached, each host:port; `http` (edges only) is what clients dial, maybe a fault proxy."""

    grpc: str
    metrics: str
    http: str = ""
    direct_http: str = ""


class ServiceProcess:
    """A process that ends with its parent. Any thread.

    Attributes:
        name: such as `edge-1`. kind: `edge`, `group`, `router` or `unread`.
        log: file with its output.
        restarts: how often it was started again after it had died by itself.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        flags: Mapping[str, str],
        addresses: Addresses,
        *,
        log: pathlib.Path,
        keeper: Keeper,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.addresses = addresses
        self.log = log
        self.restarts = 0
        self._flags = dict(flags)
        self._environment = {**os.environ, **(environment or {})}
        self._keeper = keeper
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._started_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._retry_at = 0.0

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last; 0: never started."""
        process = self._process
        return 0 if process is None else process.pid

    @property
    def running(self) -> bool:
        """It was started and has not ended; a paused one runs."""
        process = self._process
        return process is not None and process.poll() is None

    def start(self) -> None:
        """Starts it; `wait_ready` tells when it serves. Nothing happens while it runs."""
        with self._lock:
            self._wanted = True
            if self.running:
                return
            command = [sys.executable, "-m", "throng.cli.main", self.kind, "--exit-with-parent"]
            command += [f"--metrics-port={self.addresses.metrics.rpartition(':')[2]}"]
            command += [f"--{field.replace('_', '-')}={value}" for field, value in self._flags.items()]
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=self._environment
                )
            self._started_at = time.monotonic()
            self._keeper.note(self._process.pid)

    def wait_ready(self, timeout_seconds: float) -> None:
        """Waits until it serves: an edge until it takes new clients, the others until they answer.

        Raises:
            ClusterError: it ended or took too long.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.ready():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                state = f"ended with {self._process.returncode}" if ended and self._process else "is not ready"
                raise ClusterError(f"{self.name} {state}; the end of {self.log}:\n{self.log_tail()}")
            time.sleep(_LOOK_SECONDS)

    def ready(self) -> bool:
        """It serves now."""
        if not self.running:
            return False
        path = f"{self.addresses.direct_http}/readyz" if self.kind == "edge" else f"{self.addresses.metrics}/metrics"
        try:
            with urllib.request.urlopen(f"http://{path}", timeout=_READ_SECONDS) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def tend(self) -> bool:
        """Starts it again when it has died by itself and its pause is over; True when it did. Called again and again."""
        with self._lock:
            process = self._process
            if not self._wanted or process is None or process.poll() is None:
                return False
            now = time.monotonic()
            if not self._retry_at:
                if now - self._started_at > _HEALTHY_SECONDS:
                    self._pause_seconds = _FIRST_PAUSE_SECONDS
                self._retry_at = now + self._pause_seconds
                self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                _log.warning("process_died", process=self.name, exit_code=process.returncode)
            if now < self._retry_at:
                return False
            self._forget(process)
            self.restarts += 1
            self.start()
            return True

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        self._retry_at = 0.0
        if process.stdin is not None:
            process.stdin.close()
        self._keeper.forget(process.pid)

    def ask_to_end(self) -> None:
        """SIGTERM; it is not started again by itself."""
        with self._lock:
            self._wanted = False
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)

    def stop(self, timeout_seconds: float = _STOP_SECONDS) -> int:
        """Ends it in good order, by force after that; returns its exit code. It is not started again by itself. Idempotent."""
        self.ask_to_end()
        return self._wait(timeout_seconds)

    def kill(self, *, come_back: bool = False) -> None:
        """kill -9. `come_back`: as if it had died by itself, so it is started again where the plan says so."""
        with self._lock:
            self._wanted = come_back
            self._signal(signal.SIGKILL)
        self._wait(_STOP_SECONDS, forget=not come_back)

    def _wait(self, timeout_seconds: float, *, forget: bool = True) -> int:
        process = self._process
        if process is None:
            return 0
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            _log.warning("process_killed", process=self.name, after_seconds=timeout_seconds)
            process.kill()
            code = process.wait(_STOP_SECONDS)
        if forget:
            with self._lock:
                self._forget(process)
        return code

    def restart(self, timeout_seconds: float = 30.0) -> None:
        """Ends it where it still runs, starts it at the same addresses, and waits until it is ready."""
        self.stop()
        self.start()
        self.wait_ready(timeout_seconds)

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def log_tail(self, characters: int = 3_000) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""
