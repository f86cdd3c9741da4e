"""The servers that `make bench` sets side by side: how each is started, spoken to and published to."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "throng" / "peers"
PYTHON = CACHE / "python" / "bin" / "python"
NGINX = CACHE / "nchan" / "root" / "usr" / "sbin" / "nginx"
NCHAN_MODULE = CACHE / "nchan" / "root" / "usr" / "lib" / "nginx" / "modules" / "ngx_nchan_module.so"
NODE_MODULES = CACHE / "node" / "node_modules"
CENTRIFUGO = os.environ.get("CENTRIFUGO") or shutil.which("centrifugo") or ""
_STOP_SECONDS = 8.0
_START_SECONDS = 40.0
_IN_OWN_MOUNTS = [
    *(["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]),
    *["sh", "-c", 'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$@"', "sh"],
]
"""Debian's nginx insists on its folder under /var/lib, which is there only where it is installed."""

_GROUP = "bench"
_GROUP_NAME = "The room of the bench"
_PUBLISHERS = 4
"""An edge takes at most 500 frames a second from one connection."""


@dataclass
class Running:
    """A server that runs: what the client is told, and whose CPU time counts."""

    arguments: list[str]
    pids: list[int]


@dataclass
class Peer:
    """A server. `title`: what it is; `durable`: whether it keeps messages; `missing`: why it cannot run here, or empty."""

    name: str
    title: str
    durable: str = "nothing kept"
    missing: str = ""
    command: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    publish_port: int = 0
    template: pathlib.Path | None = None

    @contextlib.contextmanager
    def run(self, folder: pathlib.Path, members: int) -> Iterator[Running]:
        """Starts the server on one core and ends it afterwards."""
        port = free_port()
        arguments = ["--port", str(port), *self.arguments]
        if self.publish_port:
            arguments += ["--publish-port", str(port + self.publish_port)]
        if self.template is not None:
            text = self.template.read_text(encoding="utf-8")
            text = text.replace("@FOLDER@", str(folder)).replace("@PORT@", str(port)).replace("@MODULE@", str(NCHAN_MODULE))
            (folder / self.template.name).write_text(text, encoding="utf-8")
        command = [part.replace("@FOLDER@", str(folder)).replace("@PORT@", str(port)) for part in self.command]
        with process(command, folder, {**os.environ, **self.environment}) as server:
            wait_for_port(port, server, folder)
            yield Running(arguments, tree(server.pid))


class ThrongPeer(Peer):
    """A whole Throng, with SQLite under it: every message is stored and ACKed. Members are on an edge process of its own."""

    def __init__(self, name: str, title: str, *, whole: bool, fan_out: str = "off") -> None:
        """`fan_out`: the edge's `native_fan_out`; whatever else than "off" needs the compiled loop."""
        super().__init__(name, title, missing=_why_not(fan_out), durable="every message stored and ACKed")
        self._whole = whole
        self._fan_out = fan_out

    @contextlib.contextmanager
    def run(self, folder: pathlib.Path, members: int) -> Iterator[Running]:
        """Starts `throng up` and one `throng edge`; makes the group and a token per member."""
        program = [sys.executable, "-m", "throng.cli.main"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        data = folder / "data"
        port = free_port()
        with process([*program, "up", "--port", "0", "--data-dir", str(data)], folder, environment) as services:
            running = _wait_for_file(data / "running.json", services, folder)
            settings = {
                "edge-id": "bench-edge",
                "port": str(port),
                "uplink": "grpc",
                "group-addresses": running["group"],
                "router-addresses": running["router"],
                "unread-addresses": running["unread"],
                "jwt-secret-file": str(data / "token.key"),
                "min-send-interval-ms": "0",
                "handshakes-per-second": "0",
                "drain-window-ms": "0",
                "native-fan-out": self._fan_out,
            }
            flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
            limits = ["--send-interval-ms", "0", "--budget-per-second", "0", "--block-max-messages", "1"]
            made = [*program, "group", "create", _GROUP, "--name", _GROUP_NAME, "--open", *limits, "--address", running["group"]]
            subprocess.run(made, env=environment, check=True, capture_output=True, timeout=30)
            with process([*program, "edge", *flags], folder, environment, log="edge.log") as edge:
                wait_for_port(port, edge, folder)
                _wait_until_ready(port, edge, folder)
                headers = folder / "headers"
                _write_headers(headers, data / "token.key", members)
                arguments = [
                    *["--port", str(port), "--path", f"/ws?groups={_GROUP}", "--member-headers", str(headers)],
                    *["--await", _GROUP_NAME, "--publish", "ws", "--publishers", str(_PUBLISHERS), "--body", _SEND],
                ]
                yield Running(arguments, [edge.pid, services.pid] if self._whole else [edge.pid])


def _why_not(fan_out: str) -> str:
    """Why an edge cannot send so here, or empty; tried in a process of its own, for a ring stays open."""
    program = "import sys; from edge.native.library import choose_bulk_send; choose_bulk_send(sys.argv[1])"
    command = [sys.executable, "-c", program, fan_out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2].rpartition("Error: ")[2]


_SEND = '{"send":{"groupId":"' + _GROUP + '","clientMsgId":"{uuid}","text":{"text":"{text}"}}}'


def _write_headers(file: pathlib.Path, key_file: pathlib.Path, members: int) -> None:
    """A token per member; the publishers, who come last, speak JSON, the others protobuf."""
    sys.path.insert(0, str(ROOT))
    from throng.adapters.jwt_tokens import TokenIssuer, load_secret
    from throng.adapters.system_clock import SystemClock

    issuer = TokenIssuer(load_secret(key_file), clock=SystemClock(), audience="throng")
    lines = []
    for number in range(members + _PUBLISHERS):
        token = issuer.issue(f"member-{number}", ttl_seconds=7_200)
        protocol = "throng.v1.json" if number >= members else "throng.v1.protobuf"
        lines.append(f"Authorization: Bearer {token}\tSec-WebSocket-Protocol: {protocol}\n")
    file.write_text("".join(lines), encoding="ascii")


def all_peers(instruments: pathlib.Path) -> list[Peer]:
    """Every peer that this bench knows, also those that are not installed."""
    servers = HERE / "servers"
    python = "" if PYTHON.exists() else "its Python packages are not installed"
    node = "" if NODE_MODULES.exists() and shutil.which("node") else "Node or its packages are not installed"
    socketio = [
        "--path",
        "/socket.io/?EIO=4&transport=websocket",
        "--await",
        "0{",
        "--say",
        "40",
        "--await",
        "40{",
        "--answer",
        "2=3",
    ]
    centrifugo = [
        *["--path", "/connection/websocket", "--say", '{"id":1,"connect":{}}', "--await", '"connect"'],
        *["--say", '{"id":2,"subscribe":{"channel":"room"}}', "--await", '"subscribe"', "--answer", "{}={}"],
        *["--request", "POST /api/publish", "--publish-header", "Content-Type: application/json"],
        *["--body", '{"channel":"room","data":"{text}"}'],
    ]

    def python_peer(name: str, title: str, program: str, arguments: list[str], publish_port: int) -> Peer:
        return Peer(
            name,
            title,
            missing=python,
            command=[str(PYTHON), str(servers / program), "@PORT@"],
            arguments=arguments,
            publish_port=publish_port,
        )

    return [
        Peer(
            "floor",
            "bare C loop of send(2)",
            command=[str(instruments / "floor"), "@PORT@"],
            arguments=["--publish", "ws"],
        ),
        ThrongPeer("throng", "Throng: CPU and memory of the edge", whole=False),
        ThrongPeer("throng ring", "Throng, sends by io_uring: CPU and memory of the edge", whole=False, fan_out="ring"),
        ThrongPeer("throng whole", "Throng: CPU of the edge and of all services behind it", whole=True),
        Peer(
            "nchan",
            "nginx with nchan (C)",
            missing="" if NGINX.exists() and NCHAN_MODULE.exists() else "nginx and nchan are not installed",
            command=[*_IN_OWN_MOUNTS, str(NGINX), "-c", "@FOLDER@/nchan.conf", "-p", "@FOLDER@", "-e", "@FOLDER@/error.log"],
            environment={"LD_LIBRARY_PATH": str(NGINX.parents[2] / "usr" / "lib" / f"{os.uname().machine}-linux-gnu")},
            durable="the newest 100 in memory",
            template=servers / "nchan.conf",
        ),
        python_peer("uWebSockets", "uWebSockets (C++) by socketify", "uws_server.py", ["--publish", "ws"], 0),
        python_peer("picows", "picows (Cython)", "picows_server.py", [], 1),
        Peer(
            "ws",
            "npm ws (JavaScript)",
            missing=node,
            command=["node", str(servers / "ws_server.js"), "@PORT@"],
            environment={"NODE_PATH": str(NODE_MODULES)},
        ),
        Peer(
            "Centrifugo",
            "Centrifugo (Go)",
            missing="" if CENTRIFUGO else "no centrifugo on the path (or name one in CENTRIFUGO)",
            command=[CENTRIFUGO, "-c", "@FOLDER@/centrifugo.json"],
            arguments=centrifugo,
            template=servers / "centrifugo.json",
        ),
        python_peer("websockets", "Python websockets, broadcast", "websockets_server.py", ["--path", "/"], 1),
        Peer(
            "Socket.IO",
            "Socket.IO 4 (JavaScript)",
            missing=node,
            command=["node", str(servers / "socketio_server.js"), "@PORT@"],
            arguments=socketio,
            environment={"NODE_PATH": str(NODE_MODULES)},
        ),
        Peer(
            "Tornado",
            "Tornado write_message",
            command=[sys.executable, str(servers / "tornado_server.py"), "@PORT@"],
            publish_port=1,
        ),
    ]


# Processes --------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and so is the next one, at this moment."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise RuntimeError("no two free ports side by side")


@contextlib.contextmanager
def process(
    command: list[str], folder: pathlib.Path, environment: dict[str, str], log: str = "server.log"
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server on the first core (where there are two), and ends it."""
    with (folder / log).open("wb") as output:
        server = subprocess.Popen(pinned(command, 0), cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def pinned(command: list[str], core: int) -> list[str]:
    """The command bound to a core, where there is more than one and it can be done."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(cores[core]), *command]


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    pids = [pid]
    with contextlib.suppress(OSError):
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pids += tree(int(child))
    return pids


def wait_for_port(port: int, server: subprocess.Popen[bytes], folder: pathlib.Path) -> None:
    """Waits until the server listens.

    Raises:
        RuntimeError: it ended, or does not listen in time.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen: {_end_of_logs(folder)}")


def _wait_for_file(file: pathlib.Path, server: subprocess.Popen[bytes], folder: pathlib.Path) -> dict[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            content: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
            return content
        time.sleep(0.05)
    raise RuntimeError(f"Throng does not start: {_end_of_logs(folder)}")


def _wait_until_ready(port: int, server: subprocess.Popen[bytes], folder: pathlib.Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5) as probe:
            probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if b" 200 " in probe.recv(64):
                return
        time.sleep(0.1)
    raise RuntimeError(f"the edge is not ready: {_end_of_logs(folder)}")


def _end_of_logs(folder: pathlib.Path) -> str:
    return " | ".join(file.read_text(errors="replace")[-600:] for file in sorted(folder.glob("*.log")))
