"""Measures what clients that come and clients that pull cost an edge: per CPU second of the edge's process, all of its threads.

A real edge in a process of its own, with neighbours (gRPC, answering at once) in another. First `--sockets` clients come, each with a token
of its own: upgrade, JWT, `welcome`, `entered` with the newest 50 messages. Then all of them pull, `--pulls` times each, the newest messages out of the
edge's cache, and at last all at once a range that is in no cache. Beside it, in the same run: Tornado alone, which upgrades such clients by its own `WebSocketHandler` and knows nothing of
tokens and groups: ratios are to that. Ends by itself.

    python tests/load/bench_edge_cpu.py [--sockets 4000] [--pulls 10] [--rounds 3] [--browser] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import platform
import re
import resource
import secrets
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from crowd import cpu_seconds  # noqa: E402

from throng.adapters.jwt_tokens import TokenIssuer  # noqa: E402
from throng.api.client.v1 import client_pb2  # noqa: E402
from throng.bench.websocket import client_frame  # noqa: E402

IN_FLIGHT = 200
MESSAGES = 260
TEXT = "x" * 120
BROWSER = (
    "Pragma: no-cache\r\nCache-Control: no-cache\r\nOrigin: http://{host}\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,zh-CN;q=0.8\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36\r\n"
)


def request(host: str, token: str, *, browser: bool) -> bytes:
    """The upgrade that a client sends."""
    head = (
        f"GET /ws?groups=lobby&delivery=notify HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    if browser:
        head += BROWSER.format(host=host) + f"Sec-WebSocket-Protocol: throng.v1.protobuf, bearer.{token}\r\n"
    else:
        head += f"Sec-WebSocket-Protocol: throng.v1.protobuf\r\nAuthorization: Bearer {token}\r\n"
    return (head + "\r\n").encode()


class Peer:
    """One client's socket and what it still waits for."""

    __slots__ = ("data", "frames", "head", "size", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""
        self.head = False
        self.frames = 0

    def take(self, data: bytes) -> int:
        """Counts whole frames behind the answer to the upgrade."""
        data = self.data + data if self.data else data
        if not self.head:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self.data = data
                return self.frames
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(head[:200].decode("latin-1"))
            self.head, data = True, rest
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + size > end:
                break
            self.frames += 1
            at = start + size
        self.data = data[at:]
        return self.frames


class Crowd:
    """All clients in one epoll."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.peers: dict[int, Peer] = {}

    def come(self, address: tuple[str, int], requests: list[bytes], frames: int, in_flight: int = IN_FLIGHT) -> None:
        """Connects everybody, so many at a time; each has come when it got `frames` frames."""
        waiting: set[int] = set()
        requests = requests[::-1]
        deadline = time.monotonic() + 120
        while requests or waiting:
            while requests and len(waiting) < in_flight:
                sock = socket.create_connection(address, timeout=10)
                sock.sendall(requests.pop())
                sock.setblocking(False)
                self.peers[sock.fileno()] = Peer(sock)
                waiting.add(sock.fileno())
                self.epoll.register(sock.fileno(), select.EPOLLIN)
            for fd in self._ready(deadline):
                if self.peers[fd].frames >= frames:
                    waiting.discard(fd)

    def pull(self, make: Callable[[int], bytes], times: int, at_once: int = 1_000) -> None:
        """Everybody asks and waits for the answer, so many times."""
        deadline = time.monotonic() + 120
        left = dict.fromkeys(self.peers, times)
        for peer in self.peers.values():
            peer.frames = 0
        todo = list(self.peers)
        waiting: set[int] = set()
        while todo or waiting:
            while todo and len(waiting) < at_once:
                fd = todo.pop()
                self.peers[fd].frames = 0
                self.peers[fd].sock.send(make(times - left[fd] + 1))
                waiting.add(fd)
            for fd in self._ready(deadline):
                if fd in waiting and self.peers[fd].frames:
                    waiting.discard(fd)
                    left[fd] -= 1
                    if left[fd]:
                        todo.insert(0, fd) if len(todo) < 64 else todo.append(fd)

    def _ready(self, deadline: float) -> list[int]:
        if time.monotonic() > deadline:
            raise RuntimeError("the clients did not get what they wait for within 120 s")
        ready = []
        for fd, _ in self.epoll.poll(1.0, 512):
            peer = self.peers[fd]
            data = peer.sock.recv(262_144)
            if not data:
                raise RuntimeError("an edge closed a connection")
            peer.take(data)
            ready.append(fd)
        return ready

    def leave(self) -> None:
        """Closes all sockets."""
        for peer in self.peers.values():
            peer.sock.close()
        self.peers.clear()


def serve_neighbours() -> None:
    """group_svc, unread_svc and a router that answer at once; ends with its standard input."""
    from edge_neighbours import Neighbours

    neighbours = Neighbours()
    for _ in range(MESSAGES):
        neighbours.groups.add(TEXT)
    neighbours.start()
    print(neighbours.address, flush=True)
    sys.stdin.read()
    neighbours.stop()


def serve_tornado() -> None:
    """Tornado's own WebSocketHandler, which says two words to everybody; ends with its standard input."""
    import tornado.httpserver
    import tornado.netutil
    import tornado.web
    import tornado.websocket
    import uvloop

    class Greeter(tornado.websocket.WebSocketHandler):
        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            return subprotocols[0] if subprotocols else None

        def check_origin(self, origin: str) -> bool:
            return True

        def open(self, *args: str, **kwargs: str) -> None:
            self.write_message(b"welcome", binary=True)
            self.write_message(b"entered", binary=True)

    async def serve() -> None:
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=4096)
        server = tornado.httpserver.HTTPServer(tornado.web.Application([("/ws", Greeter)], log_function=lambda handler: None))
        server.add_sockets(sockets)
        print(f"127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)

    uvloop.run(serve())


def start(*command: str, log: Any = None) -> subprocess.Popen[str]:
    """A process of ours that ends with its standard input."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
    )


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def edge_command(folder: pathlib.Path, neighbours: str, port: int, key: pathlib.Path) -> list[str]:
    """A real edge process."""
    flags = {
        "port": port,
        "edge-id": "edge-1",
        "group-addresses": neighbours,
        "router-addresses": neighbours,
        "unread-addresses": neighbours,
        "jwt-secret-file": key,
        "uplink": "grpc",
        "handshakes-per-second": 0,
        "static-dir": folder / "absent",
        "drain-window-ms": 0,
        "max-connections-per-user": 0,
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    return ["-m", "throng.cli.main", "edge", "--exit-with-parent", *words]


def wait_ready(port: int) -> None:
    """Until the edge takes clients."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def end(process: subprocess.Popen[str]) -> None:
    """Closes its standard input and waits."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def timed(pid: int, count: int, work: Callable[[], None]) -> dict[str, float]:
    """What some work costs a process."""
    time.sleep(0.3)
    wall, cpu = time.monotonic(), cpu_seconds(pid)
    work()
    wall, cpu = time.monotonic() - wall, cpu_seconds(pid) - cpu
    return {"per_cpu_second": count / max(cpu, 0.01), "per_second": count / wall, "us": 1e6 * cpu / count}


def measure_edge(options: argparse.Namespace, folder: pathlib.Path) -> dict[str, dict[str, float]]:
    """Handshakes and pulls of a whole edge."""
    key = folder / "token.key"
    key.write_text(secrets.token_hex(32))
    issuer = TokenIssuer.from_file(key)
    neighbours = start(__file__, "--serve", "neighbours")
    assert neighbours.stdout is not None
    port = free_port()
    results: dict[str, dict[str, float]] = {}
    with (folder / "edge.log").open("w") as log:
        edge = start(*edge_command(folder, neighbours.stdout.readline().strip(), port, key), log=log)
        crowd = Crowd()
        try:
            wait_ready(port)
            requests = [
                request(f"127.0.0.1:{port}", issuer.issue(f"user-{n}", ttl_seconds=900, name=f"User {n}"), browser=options.browser)
                for n in range(options.sockets + 200)
            ]
            address = ("127.0.0.1", port)
            crowd.come(address, requests[:200], 2)  # the room is made, its cache is filled, all code is warm
            results["handshake"] = timed(edge.pid, options.sockets, lambda: crowd.come(address, requests[200:], 2))
            for size in (1, 10, 50):
                results[f"pull of {size}"] = measure_pulls(edge.pid, crowd, options.pulls, MESSAGES - size, MESSAGES)
            calls = list_calls(port)
            herd = measure_pulls(edge.pid, crowd, 1, 100, 120, at_once=len(crowd.peers))
            results["pull out of no cache"] = herd | {"calls": list_calls(port) - calls}
        finally:
            crowd.leave()
            end(edge)
            end(neighbours)
    return results


def list_calls(port: int) -> float:
    """Calls for messages that the edge has made."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        found = re.findall(r'throng_edge_upstream_calls_total\{code="OK",method="ListMessages"\} (\S+)', response.read().decode())
    return sum(map(float, found))


def measure_pulls(pid: int, crowd: Crowd, pulls: int, after: int, up_to: int, *, at_once: int = 1_000) -> dict[str, float]:
    """Everybody pulls a range."""

    def make(number: int) -> bytes:
        pull = client_pb2.Pull(group_id="lobby", after_seq=after, up_to_seq=up_to, epoch=1)
        return client_frame(client_pb2.ClientFrame(request_id=number, pull=pull).SerializeToString())

    frames = [make(number) for number in range(pulls + 1)]
    return timed(pid, pulls * len(crowd.peers), lambda: crowd.pull(lambda number: frames[number], pulls, at_once))


def measure_tornado(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Handshakes of Tornado alone."""
    server = start(__file__, "--serve", "tornado", log=subprocess.DEVNULL)
    assert server.stdout is not None
    host, _, port = server.stdout.readline().strip().rpartition(":")
    crowd = Crowd()
    issuer = TokenIssuer.from_file(options.key)
    token = issuer.issue("user-1", ttl_seconds=900, name="User 1")
    requests = [request(f"{host}:{port}", token, browser=options.browser)] * (options.sockets + 200)
    try:
        crowd.come((host, int(port)), requests[:200], 2)
        return {"tornado alone": timed(server.pid, options.sockets, lambda: crowd.come((host, int(port)), requests[200:], 2))}
    finally:
        crowd.leave()
        end(server)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=4_000, help="clients that come")
    parser.add_argument("--pulls", type=int, default=10, help="pulls of each client and size")
    parser.add_argument("--rounds", type=int, default=3, help="medians are shown")
    parser.add_argument("--browser", action="store_true", help="the headers of a browser instead of those of a program")
    parser.add_argument("--no-tornado", action="store_true", help="leave that out")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    parser.add_argument("--serve", choices=["neighbours", "tornado"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        {"neighbours": serve_neighbours, "tornado": serve_tornado}[options.serve]()
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, options.sockets + 1_000)), hard))
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            place = pathlib.Path(folder) / str(number)
            place.mkdir()
            options.key = place / "token.key"
            results = measure_edge(options, place)
            rounds.append(results if options.no_tornado else results | measure_tornado(options))
    figures = {name: {unit: statistics.median(one[name][unit] for one in rounds) for unit in rounds[0][name]} for name in rounds[0]}
    print(f"{options.sockets} sockets, {platform.system()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    print("| what | per CPU second | us of CPU | per second |\n| --- | --- | --- | --- |")
    for name, row in figures.items():
        print(f"| {name} | {row['per_cpu_second']:,.0f} | {row['us']:.0f} | {row['per_second']:,.0f} |")
    if "pull out of no cache" in figures:
        print(f"\nAll pulled an old range at once; calls for messages: {figures['pull out of no cache']['calls']:.0f}")
    if options.json:
        options.json.write_text(json.dumps({"medians": figures, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
