"""A whole cluster on one machine: servers, tables, services, in order up and in order down."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from throng.cli.data_folder import DataFolder, Running
from throng.cluster.backends import Backends
from throng.cluster.flags import Layout, lay_out
from throng.cluster.keeper import Keeper
from throng.cluster.links import Links, LinkSet
from throng.cluster.metrics import read_metric
from throng.cluster.plan import SERVICES, STOPPING, ClusterPlan
from throng.cluster.secured import SERVERS, BackendTls, MySQLUsers
from throng.cluster.service_process import ClusterError, ServiceProcess
from throng.testing.certificates import make_rpc_files

_log = structlog.get_logger("throng.cluster")
_TEND_SECONDS = 0.1
_STOP_SECONDS = 15.0
_MIGRATE_SECONDS = 120.0
_OWN = ("kafka", "mariadb", "redis", "logs", "tls", "secrets", "cluster.json")


class Cluster:
    """Real Kafka, MariaDB and Redis and several of each service, as processes that end with this one.

    Any thread, but one `start` or `stop` at a time. Also a context manager.

    Attributes:
        processes: services by name: `edge-1`, `router-2` …
        backends: `kafka`, `mariadb`, `redis`.
        links: fault proxies, where the plan asks for them.
    """

    def __init__(self, folder: pathlib.Path, plan: ClusterPlan | None = None, *, say: Callable[[str], None] | None = None) -> None:
        """Starts nothing yet. `say` is told what is under way."""
        self.folder = folder.absolute()
        self.plan = plan or ClusterPlan()
        self.processes: dict[str, ServiceProcess] = {}
        self.links = Links(self.plan.proxied)
        self._say = say or (lambda _: None)
        self._data = DataFolder(self.folder)
        self._backends: Backends | None = None
        self._keeper: Keeper | None = None
        self._stopping = threading.Event()
        self._tender: threading.Thread | None = None

    @property
    def logs(self) -> pathlib.Path:
        """Folder with one file per process."""
        return self.folder / "logs"

    @property
    def key_file(self) -> pathlib.Path:
        """The secret that signs tokens."""
        return self._data.key_file

    @property
    def backends(self) -> Backends:
        """The servers.

        Raises:
            RuntimeError: before `start`.
        """
        if self._backends is None:
            raise RuntimeError("the cluster was not started")
        return self._backends

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Start ----------------------------------------------------------------------------------------------------------

    def start(self, *, fresh: bool = False) -> None:
        """Returns when everything serves; what had started is ended when something does not.

        Args:
            fresh: begin without what an earlier cluster left in the folder.

        Raises:
            Refusal: the folder is taken or cannot be used. ServerMissing: a program is missing.
            ClusterError: a part does not start.
        """
        self._data.make()
        self._data.lock()
        try:
            if fresh:
                self._empty()
            self.logs.mkdir(exist_ok=True)
            self._stopping.clear()
            self._keeper = Keeper(lock_descriptor=self._data.lock_descriptor)
            self._keeper.start()
            secured = make_rpc_files(self.folder / "tls", (*SERVICES, SERVERS)) if self.plan.tls else {}
            tls = BackendTls(secured) if secured else None
            self._backends = Backends(self.folder, self.logs, self.plan, self.links, self._keeper, tls)
            self._say(f"Starting {', '.join(backend.name for backend in self._backends.all())} …")
            self._start_backends(self._backends, tls)
            layout = lay_out(self.plan, self.folder, self.key_file, self.links, self._backends, secured)
            self._start_services(layout, self._keeper)
        except BaseException:
            self.stop()
            raise

    def _empty(self) -> None:
        for name in _OWN:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in (*self.folder.glob("group.db*"), *self.folder.glob("unread.sqlite*")):
            path.unlink()

    def _start_backends(self, backends: Backends, tls: BackendTls | None) -> None:
        try:
            backends.start()
        except RuntimeError as error:
            raise ClusterError(str(error)) from error
        if self.plan.store == "mysql":
            self._say("Bringing the tables to this version …")
            self._migrate(backends, tls)

    def _migrate(self, backends: Backends, tls: BackendTls | None) -> None:
        user = MySQLUsers.MIGRATION
        command = [sys.executable, "-m", "throng.cli.main", "migrate", "--mysql-url", backends.mysql_url("migrate", user)]
        command += ["--mysql-password-file", str(backends.mysql_users.password_file(user))]
        command += ["--mysql-ca-file", tls.flags("group", "mysql")["mysql_ca_file"]] if tls is not None else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MIGRATE_SECONDS, check=False)
        (self.logs / "migrate.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode != 0:
            raise ClusterError(f"The tables cannot be brought to this version:\n{(done.stdout + done.stderr)[-2000:]}")

    def _start_services(self, layout: Layout, keeper: Keeper) -> None:
        self.processes = {
            name: ServiceProcess(
                name,
                name.rpartition("-")[0],
                layout.flags[name],
                layout.addresses[name],
                log=self.logs / f"{name}.log",
                keeper=keeper,
                environment=self.plan.environment.get(name, {}),
            )
            for name in layout.addresses
        }
        self._say(f"Starting {', '.join(self.processes)} …")
        deadline = time.monotonic() + self.plan.start_seconds
        for kind in SERVICES:
            for process in self.of(kind):
                process.start()
        for process in self.processes.values():
            process.wait_ready(max(deadline - time.monotonic(), 0.0))
        self._write_files()
        self._tender = threading.Thread(target=self._tend, name="cluster-tender", daemon=True)
        self._tender.start()

    # While it runs --------------------------------------------------------------------------------------------------

    def of(self, kind: str) -> list[ServiceProcess]:
        """The processes of one kind."""
        return [process for process in self.processes.values() if process.kind == kind]

    def _tend(self) -> None:
        known = self._pids()
        while not self._stopping.wait(_TEND_SECONDS):
            if self.plan.restart_dead:
                for process in self.processes.values():
                    process.tend()
            if known != (now := self._pids()):
                known = now
                self._write_files()

    def _pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items()} | {
            backend.name: backend.pid for backend in self.backends.all()
        }

    def _write_files(self) -> None:
        """`cluster.json` for programs; `running.json` so that `throng group` and `throng token` find their way by --data-dir."""
        temporary = self.folder / "cluster.json.new"
        temporary.write_text(json.dumps(self.describe(), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "cluster.json")
        edge, group, router, unread = (self.of(kind)[0].addresses for kind in ("edge", "group", "router", "unread"))
        self._data.write_running(Running(pid=os.getpid(), http=edge.http, group=group.grpc, router=router.grpc, unread=unread.grpc))

    def describe(self) -> dict[str, Any]:
        """What stands in `cluster.json`: addresses, pids, log files, ports of metrics."""
        backends = self.backends
        servers: dict[str, dict[str, Any]] = {
            one.name: {"pid": one.pid, "port": getattr(one.server, "port", 0), "log": str(one.log)} for one in backends.all()
        }
        return {
            "pid": os.getpid(),
            "token_key_file": str(self.key_file),
            "services": {
                name: {
                    "kind": process.kind,
                    "pid": process.pid,
                    "grpc": process.addresses.grpc,
                    "metrics": f"http://{process.addresses.metrics}/metrics",
                    "log": str(process.log),
                    **({"http": f"http://{process.addresses.http}"} if process.kind == "edge" else {}),
                }
                for name, process in self.processes.items()
            },
            "backends": servers,
            "links": self.links.names,
        }

    def edge_urls(self) -> list[str]:
        """Where clients find the page and the WebSocket, one per edge."""
        return [f"http://{edge.addresses.http}" for edge in self.of("edge")]

    def link(self, pattern: str) -> LinkSet:
        """Proxied links by name: `edge->group`, `group-1->mysql`, `*->kafka`. KeyError: none is called so."""
        return self.links.matching(pattern)

    def metric(self, name: str, process: str, **labels: str) -> float:
        """The sum of a metric's samples in one process. KeyError: there is none. OSError: the process does not answer."""
        return read_metric(self.processes[process].addresses.metrics, name, **labels)

    def log_tail(self, name: str, characters: int = 3_000) -> str:
        """The end of the output of a service or server."""
        log = self.logs / f"{name}.log"
        return log.read_text(errors="replace")[-characters:] if log.exists() else ""

    def wait_ready(self, timeout_seconds: float = 30.0) -> None:
        """Waits until every service is ready. ClusterError: one is not in time."""
        deadline = time.monotonic() + timeout_seconds
        for process in self.processes.values():
            process.wait_ready(max(deadline - time.monotonic(), 0.0))

    # Stop -----------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends edges, group, unread and router services, then the servers, each in good order. Idempotent."""
        self._stopping.set()
        if self._tender is not None:
            self._tender.join(5.0)
            self._tender = None
        self.links.restore_all()
        for kind in STOPPING:
            for process in self.of(kind):
                process.ask_to_end()
            for process in self.of(kind):
                process.stop(_STOP_SECONDS)
        if self._backends is not None:
            self._backends.stop()
        self.links.stop()
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        self._data.remove_running()
        (self.folder / "cluster.json").unlink(missing_ok=True)
        self._data.unlock()
