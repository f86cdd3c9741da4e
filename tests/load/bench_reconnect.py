"""Measures the storm of reconnecting: all clients of an edge, or of all edges, lose their connection at one moment and come back.

Starts a cluster of its own (Kafka, MariaDB, Redis, two of each service) in a temporary folder. `--clients` clients enter one group, half of them on
each edge, and hold what they got; then `--cut edge` kills one edge, or `--cut all` cuts every socket. Clients come back by full jitter, wait as long as a
503 says, enter with their position and, unless `--no-tokens`, with their resume token. It tells how long it took until everybody took part again, statements that
MariaDB served per second meanwhile beside those per second before, calls from the edges to the other services, refusals, and the edges' CPU time. Ends by itself.

    python tests/load/bench_reconnect.py [--clients 10000] [--cut edge|all] [--no-tokens] [--handshakes 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import collections
import heapq
import json
import os
import pathlib
import platform
import random
import re
import resource
import select
import socket
import sys
import tempfile
import time
import urllib.request
from typing import Any

import pymysql

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.client.v1 import client_pb2
from throng.bench.websocket import Handshake, client_frame, split_frames
from throng.cluster.cluster import Cluster
from throng.cluster.plan import ClusterPlan

GROUP = "lobby"
LIMIT_SECONDS = 120.0
TICKS = os.sysconf("SC_CLK_TCK")
CALLS = re.compile(r'throng_edge_upstream_calls_total\{code="(\w+)",method="(\w+)"\} (\S+)')
RESUMES = re.compile(r"(?m)^throng_edge_resumes_total (\S+)")


class Client:
    """One client: what it holds, and where it stands with its connection."""

    __slots__ = ("attempt", "data", "edge", "epoch", "resume", "seq", "sock", "state", "token")

    def __init__(self, token: str, edge: int) -> None:
        self.token = token
        self.edge = edge
        self.sock: socket.socket | None = None
        self.state = "away"
        self.data = b""
        self.attempt = 0
        self.epoch = self.seq = 0
        self.resume = ""


class Crowd:
    """All clients, in one epoll and one heap of times."""

    def __init__(self, addresses: list[tuple[str, int]], tokens: list[str], *, use_tokens: bool) -> None:
        self.addresses = addresses
        self.alive = [True] * len(addresses)
        self.clients = [Client(token, number % len(addresses)) for number, token in enumerate(tokens)]
        self.use_tokens = use_tokens
        self.epoll = select.epoll()
        self.by_fd: dict[int, Client] = {}
        self.due: list[tuple[float, int, Client]] = []
        self.inside = 0
        self.refused: collections.Counter[str] = collections.Counter()
        self.entered_at: list[float] = []

    def spread(self, seconds: float) -> None:
        """Everybody comes within so many seconds."""
        now = time.monotonic()
        for client in self.clients:
            self._later(client, now + random.random() * seconds)

    def cut(self, edges: list[int]) -> None:
        """Loses the sockets to some edges, without a word; their clients come back by full jitter."""
        now = time.monotonic()
        for client in self.clients:
            if client.edge in edges:
                self._lose(client, now)

    def run(self, seconds: float, *, until_all: bool) -> None:
        """Serves the clients for so long, or until all are in."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not (until_all and self.inside == len(self.clients)):
            while self.due and self.due[0][0] <= now:
                self._connect(heapq.heappop(self.due)[2])
            for fd, events in self.epoll.poll(0.01, 1_024):
                self._serve(self.by_fd[fd], events)

    def _later(self, client: Client, at: float) -> None:
        heapq.heappush(self.due, (at, id(client), client))

    def _lose(self, client: Client, now: float, retry_after: float | None = None) -> None:
        if client.sock is not None:
            del self.by_fd[client.sock.fileno()]
            client.sock.close()
            client.sock = None
        self.inside -= client.state == "in"
        client.state, client.data = "away", b""
        if not self.alive[client.edge]:
            client.edge = next(number for number, alive in enumerate(self.alive) if alive)
        bound = min(30.0, 0.5 * 2**client.attempt)
        client.attempt += 1
        self._later(client, now + (random.random() * bound if retry_after is None else retry_after + random.random()))

    def _connect(self, client: Client) -> None:
        host, port = self.addresses[client.edge]
        sock = client.sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((host, port))
        client.state = "dialing"
        self.by_fd[sock.fileno()] = client
        self.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, client: Client, events: int) -> None:
        sock = client.sock
        assert sock is not None
        try:
            if client.state == "dialing" and events & select.EPOLLOUT:
                host, port = self.addresses[client.edge]
                sock.send(Handshake(f"{host}:{port}", "/ws", client.token).request)
                client.state = "asked"
                self.epoll.modify(sock.fileno(), select.EPOLLIN)
            if not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return
            data = sock.recv(262_144)
            if not data:
                raise ConnectionResetError("closed")
            self._take(client, client.data + data)
        except OSError as error:
            self.refused[type(error).__name__] += 1
            self._lose(client, time.monotonic())

    def _take(self, client: Client, data: bytes) -> None:
        if client.state == "asked":
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                client.data = data
                return
            status = head[9:12].decode()
            if status != "101":
                self.refused[status] += 1
                retry = re.search(rb"Retry-After: (\d+)", head)
                self._lose(client, time.monotonic(), float(retry.group(1)) if retry else None)
                return
            client.state, data = "welcome", rest
        frames, client.data = split_frames(data)
        for frame in frames:
            if frame.opcode == 2:
                self._on_frame(client, client_pb2.ServerFrame.FromString(frame.payload))

    def _on_frame(self, client: Client, frame: client_pb2.ServerFrame) -> None:
        kind = frame.WhichOneof("event")
        if kind == "welcome":
            enter = client_pb2.Enter(group_id=GROUP, epoch=client.epoch, seq=client.seq)
            if self.use_tokens:
                enter.resume_token = client.resume
            assert client.sock is not None
            client.sock.send(client_frame(client_pb2.ClientFrame(request_id=1, enter=enter).SerializeToString()))
        elif kind == "entered":
            self.inside += client.state != "in"
            client.state, client.attempt = "in", 0
            client.epoch, client.seq = frame.entered.group.epoch, frame.entered.group.head_seq
            client.resume = frame.entered.resume_token
            self.entered_at.append(time.monotonic())
        elif kind == "failure":
            self.refused[str(frame.failure.code)] += 1
            self._lose(client, time.monotonic(), frame.failure.retry_after_ms / 1000)


class Sample:
    """Statements of MariaDB, calls of the edges, CPU seconds, until now."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.at = time.monotonic()
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            self.statements = int(cursor.fetchone()[1])
        self.calls: collections.Counter[str] = collections.Counter()
        self.resumes = 0
        self.cpu: collections.Counter[str] = collections.Counter()
        for edge in cluster.of("edge"):
            if not edge.running:
                continue
            with urllib.request.urlopen(f"http://{edge.addresses.metrics}/metrics", timeout=30) as response:
                text = response.read().decode()
            for code, method, value in CALLS.findall(text):
                self.calls[f"{edge.name} {method} {code}"] += int(float(value))
            self.resumes += sum(int(float(value)) for value in RESUMES.findall(text))
            fields = pathlib.Path(f"/proc/{edge.pid}/stat").read_text().rpartition(")")[2].split()
            self.cpu[edge.name] += (int(fields[11]) + int(fields[12])) / TICKS

    def since(self, earlier: Sample) -> dict[str, Any]:
        """What lies between two samples; of an edge that died in between nothing is told."""
        seconds = self.at - earlier.at
        statements = self.statements - earlier.statements
        return {
            "seconds": round(seconds, 2),
            "mysql_statements": statements,
            "mysql_statements_per_second": round(statements / seconds, 1),
            "resumed": self.resumes - earlier.resumes,
            "calls": {
                name: number - earlier.calls[name] for name, number in sorted(self.calls.items()) if number > earlier.calls[name]
            },
            "edge_cpu_seconds": {name: round(spent - earlier.cpu[name], 2) for name, spent in sorted(self.cpu.items())},
        }


def measure(cluster: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Everybody comes, rests, is cut off and comes back."""
    port = int(cluster.describe()["backends"]["mariadb"]["port"])
    issuer = TokenIssuer.from_file(cluster.key_file)
    tokens = [issuer.issue(f"user-{number}", ttl_seconds=3_600, name=f"User {number}") for number in range(options.clients)]
    addresses = [("127.0.0.1", int(url.rpartition(":")[2])) for url in cluster.edge_urls()]
    crowd = Crowd(addresses, tokens, use_tokens=not options.no_tokens)
    crowd.spread(options.clients / 800)
    crowd.run(LIMIT_SECONDS, until_all=True)
    crowd.run(12.0, until_all=False)  # joins are over, versions are compared, caches are warm
    before = Sample(cluster, port)
    crowd.run(10.0, until_all=False)
    idle = Sample(cluster, port)
    crowd.refused.clear()
    crowd.entered_at.clear()
    started = time.monotonic()
    if options.cut == "edge":
        cluster.processes["edge-2"].kill()
        crowd.alive[1] = False
        crowd.cut([1])
    else:
        crowd.cut(list(range(len(addresses))))
    left = len(crowd.clients) - crowd.inside
    crowd.run(LIMIT_SECONDS, until_all=True)
    back = sorted(at - started for at in crowd.entered_at)
    after = Sample(cluster, port)
    return {
        "clients": options.clients,
        "cut": left,
        "tokens": not options.no_tokens,
        "back": len(back),
        "all_back_seconds": round(back[-1], 2) if crowd.inside == len(crowd.clients) else None,
        "half_back_seconds": round(back[len(back) // 2], 2),
        "refused": dict(crowd.refused),
        "idle": idle.since(before),
        "storm": after.since(idle),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000, help="clients of both edges together")
    parser.add_argument("--cut", choices=["edge", "all"], default="edge", help="what they lose")
    parser.add_argument("--no-tokens", action="store_true", help="clients show no resume token")
    parser.add_argument("--handshakes", type=int, default=2_000, help="handshakes per second that an edge admits; 0: no limit")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, options.clients + 1_000)), hard))
    flags = {"edge": {"handshakes_per_second": str(options.handshakes)}}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        root.chmod(0o755)
        with Cluster(root / "cluster", ClusterPlan(restart_dead=False, flags=flags)) as cluster:
            figures = measure(cluster, options)
    figures["machine"] = (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
