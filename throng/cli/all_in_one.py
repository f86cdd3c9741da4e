"""`throng up`: the four services in one process, speaking real gRPC over localhost, and further edge processes."""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import click
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from edge.app import EdgeApp
from edge.settings import EdgeSettings
from group_svc.app import GroupApp
from group_svc.settings import GroupServiceSettings
from router_svc.app import RouterApp
from router_svc.settings import RouterSettings
from throng.cli.data_folder import DataFolder, Running
from throng.cli.refusal import Failure, Refusal, refusals
from throng.ports.uplink import UplinkProducer
from throng.runtime import logs
from throng.runtime.aio_thread import AioThread
from throng.runtime.lifecycle import Parts, wait_for_signal
from throng.runtime.settings import load
from unread_svc.app import UnreadApp
from unread_svc.settings import UnreadSettings

_log = structlog.get_logger("throng.up")
_REDIS = "embedded://throng"
_STOP_SECONDS = 15.0
_READY_SECONDS = 15.0


def free_ports(count: int) -> list[int]:
    """Asks the system for TCP ports of 127.0.0.1 that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


class EdgeProcess:
    """A further edge in a process of its own, started again when it dies; it ends with this process."""

    def __init__(self, number: int, flags: dict[str, str]) -> None:
        self.name = f"edge-{number}"
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=self.name, daemon=True)

    def start(self) -> None:
        """Starts the process and the thread that watches it."""
        self._spawn()
        self._watcher.start()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "throng.cli.main", "edge", "--exit-with-parent"]
        for field, value in self._flags.items():
            command += [f"--{field.replace('_', '-')}", value]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def _watch(self) -> None:
        wait_seconds = 0.5
        while not self._stopping.is_set():
            assert self._process is not None
            code = self._process.wait()
            if self._stopping.wait(wait_seconds):
                return
            _log.warning("edge_process_died", edge_id=self.name, exit_code=code)
            wait_seconds = min(wait_seconds * 2, 10.0)
            self._spawn()

    def stop(self) -> None:
        """Asks the process to end, waits for its drain, and ends it by force after that."""
        self._stopping.set()
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._watcher.is_alive():
            self._watcher.join(1.0)


def refuse_taken_port(host: str, port: int) -> None:
    """Makes sure that nobody listens: a port that is to be shared could be shared with another Throng without a word.

    Raises:
        Refusal: somebody does.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refusal(f"Cannot listen on {host}:{port}: {error.strerror}. Is the port taken?") from error


class AllInOne:
    """Puts the four services together on one data folder. `edges`: further edge processes, on the same port, or with `own_ports`
    each on one of its own."""

    def __init__(self, folder: DataFolder, *, host: str, port: int, edges: int, own_ports: bool = False) -> None:
        self._folder = folder
        self._host = host
        self._port = port
        self._edges = edges
        self._shared = bool(edges) and not own_ports
        self._operations: list[str] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._aio = AioThread()
        self._parts = Parts()
        self._group = self._router = self._unread = ""

    def start(self) -> str:
        """Starts everything; returns the address of the page.

        Raises:
            ThrongError, SettingsError, Refusal: something cannot start; what had started is stopped.
        """
        group_port, router_port, unread_port = free_ports(3)
        self._group, self._router, self._unread = (f"127.0.0.1:{port}" for port in (group_port, router_port, unread_port))
        self._aio.start()
        here = {"host": "127.0.0.1", "redis_url": _REDIS}
        stored = {**here, "data_dir": str(self._folder.path)}
        unread = load(UnreadSettings, flags={**stored, "port": unread_port, "group_addresses": self._group})
        self._parts.start(UnreadApp(unread, registry=self._registry))
        router = load(RouterSettings, flags={**here, "port": router_port})
        self._parts.start(RouterApp(router, self._aio, registry=self._registry))
        behind = {"router_addresses": self._router, "unread_addresses": self._unread}
        group = load(GroupServiceSettings, flags={**stored, **behind, "port": group_port, "default_group": "lobby"})
        groups = GroupApp(group, registry=self._registry)
        self._parts.start(groups)
        address = self._start_edges(groups.uplink_producer)
        self._folder.write_running(
            Running(
                pid=os.getpid(),
                http=address,
                group=self._group,
                router=self._router,
                unread=self._unread,
                operations=tuple(self._operations),
            )
        )
        return address

    @property
    def operations(self) -> tuple[str, ...]:
        """Where each edge process alone serves its metrics and health, once they are started."""
        return tuple(self._operations)

    def _start_edges(self, producer: UplinkProducer) -> str:
        if self._shared:
            refuse_taken_port(self._host, self._port)
        self._operations = [f"127.0.0.1:{port}" for port in free_ports(self._edges + 1)]
        first = self._edge_flags(0) | {"uplink": "memory"}
        edge = EdgeApp(load(EdgeSettings, flags=first), self._aio, uplink_producer=producer, registry=self._registry)
        self._parts.start(edge)
        edge.wait_ready(_READY_SECONDS)
        if self._shared:
            self._port = int(edge.http_address.rpartition(":")[2])
        for number in range(1, self._edges + 1):
            self._parts.start(EdgeProcess(number, self._edge_flags(number) | {"uplink": "grpc"}))
        return edge.http_address

    def _edge_flags(self, number: int) -> dict[str, str]:
        return {
            "edge_id": f"edge-{number}",
            "host": self._host,
            "port": str(self._port + number if self._port and not self._shared else self._port),
            "reuse_port": str(self._shared).lower(),
            "metrics_port": self._operations[number].rpartition(":")[2],
            "internal_host": "127.0.0.1",
            "group_addresses": self._group,
            "router_addresses": self._router,
            "unread_addresses": self._unread,
            "jwt_secret_file": str(self._folder.key_file),
            "dev_login": "true",
            # Nobody waits at the other end of a stop on a laptop, and there is little to spread clients over.
            "drain_window_ms": os.environ.get("THRONG_EDGE_DRAIN_WINDOW_MS", "500"),
        }

    def stop(self) -> None:
        """Stops everything in the reverse order."""
        self._folder.remove_running()
        self._parts.stop()
        self._aio.stop()


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to serve the page on; 0.0.0.0 for other machines too."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the page; 0: any free one.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default="data",
    show_default=True,
    help="Folder for everything that must survive a restart.",
)
@click.option(
    "--edges",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Further edge processes, which share the port: one per core that clients shall use.",
)
@click.option("--own-ports", is_flag=True, help="Further edges do not share the port: they listen on the ports after it.")
def up(host: str, port: int, data_dir: pathlib.Path, edges: int, own_ports: bool) -> None:
    """Start everything on this machine, in one process.

    The four services speak gRPC over localhost; messages lie in SQLite files in the data folder and survive a restart.
    Anyone who can reach the page may log in with any name: this is for development and trying out.
    """
    if own_ports and port + edges > 65535:
        raise Refusal(f"--port {port} leaves no room for {edges} further edges.")
    logs.configure()
    folder = DataFolder(data_dir)
    folder.make()
    folder.lock()
    everything = AllInOne(folder, host=host, port=port, edges=edges, own_ports=own_ports)
    try:
        with refusals():
            address = everything.start()
        _greet(address, folder, host=host, further=port if own_ports else 0, operations=everything.operations)
        wait_for_signal()
        click.echo("Stopping …", err=True)
    except OSError as error:
        raise Failure(f"Throng cannot start: {error.strerror or error}.") from error
    finally:
        everything.stop()
        folder.unlock()


def _greet(address: str, folder: DataFolder, *, host: str, further: int, operations: tuple[str, ...]) -> None:
    port = address.rsplit(":", 1)[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    click.echo(f"\nThrong runs: http://{shown}:{port}/")
    click.echo("  Log in with any name. For a second user open the same address in another browser or a private window.")
    if len(operations) > 1 and further:
        rest = ", ".join(f"http://{shown}:{further + number}/" for number in range(1, len(operations)))
        click.echo(f"  Further edges: {rest}")
    elif len(operations) > 1:
        each = ", ".join(f"http://{address}/metrics" for address in operations)
        click.echo(f"  {len(operations)} edge processes share this address; each by itself: {each}")
    program = sys.argv[0] if shutil.which("throng") is None else "throng"
    click.echo(f"  Everything is kept in {folder.path}. A token for a program: {program} token --user bot --data-dir {folder.path}")
    click.echo("  Stop with Ctrl-C.\n")
