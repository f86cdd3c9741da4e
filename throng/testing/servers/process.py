"""A server process of our own: loopback, a port that was free, output in a file, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence

_LOOK_SECONDS = 0.02
_given: set[int] = set()
_given_lock = threading.Lock()


class ServerMissing(Exception):
    """A program that a server needs is not installed; `name` says which backend, the text gives the remedy."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} is missing: {remedy}")
        self.name = name
        self.remedy = remedy


def free_port() -> int:
    """A TCP port of 127.0.0.1 below the range for outgoing connections, free at this moment and given once per process."""
    with _given_lock:
        first = 12_000 + (os.getpid() * 131) % 18_000
        for step in range(18_000):
            port = 12_000 + (first - 12_000 + step) % 18_000
            if port in _given or not _is_free(port):
                continue
            _given.add(port)
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_program(program: str, *, backend: str, package: str) -> str:
    """The path of a program, looked for in the folders of servers too.

    Raises:
        ServerMissing: naming the Debian package.
    """
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerMissing(backend, f"apt-get install {package}")
    return found


class ServerProcess:
    """One program that serves. Not safe for several threads at once."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        """Makes `folder` where it is missing; output goes to `folder`/`name`.log."""
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The process that serves now.

        Raises:
            RuntimeError: none does.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self, command: Sequence[str], *, environment: dict[str, str] | None = None, cwd: pathlib.Path | None = None) -> None:
        """Starts the program. It ends with this process when the main thread has started it, also after kill -9."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        tied = threading.current_thread() is threading.main_thread() and shutil.which("setpriv") is not None
        prefix = ["setpriv", "--pdeathsig", "KILL", "--"] if tied else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=cwd or self.folder,
                env=environment,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Waits until `ready` says so.

        Raises:
            RuntimeError: it ended, or took too long; the text holds the end of its output.
        """
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            process = self._process
            if process is None or process.poll() is not None:
                code = None if process is None else process.returncode
                raise RuntimeError(f"{self.name} ended with {code}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready within {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(_LOOK_SECONDS)

    def log_tail(self, characters: int = 3_000) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """Ends it in good order, by force when that takes too long. Idempotent."""
        self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """kill -9. Idempotent."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, number: signal.Signals, timeout_seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10.0)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused inside."""
        self.pause()
        try:
            yield
        finally:
            self.resume()


def accepts(port: int) -> bool:
    """Something listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
