"""Measures by how much slow work of one edge holds up its own handshakes and its fan-out: the work in this edge, beside the same
work in another edge on the same core, which is the control: the machine is as full, and only the edge is not the same.

Two real edge processes share one core, everything else has the other one (`--no-pin`: no cores are dealt out). Neighbours answer
at once over gRPC and publish 20 messages a second to `--receivers` of edge A; a client shakes hands with A 100 times a second until
`welcome`. The work, each `--seconds` long: nothing, in A, in B (the control); rounds go there and back, so that drift is shared.
Ends by itself.

    python tests/load/bench_edge_isolation.py [--receivers 1000] [--seconds 6] [--rounds 2] [--work history,burst,...] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import re
import secrets
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from bench_edge_cpu import edge_command, end, free_port, request, start, wait_ready  # noqa: E402
from crowd import cpu_seconds  # noqa: E402
from isolation_neighbours import serve_neighbours  # noqa: E402

from throng.adapters.jwt_tokens import TokenIssuer  # noqa: E402
from throng.api.client.v1 import client_pb2  # noqa: E402
from throng.bench.websocket import client_frame  # noqa: E402

BULK_BLOCKS = 20
SHAKES = 100.0
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
WORK = {
    "history": "100 pages of 200 old messages a second, evenly",
    "burst": "100 clients ask for a page of 200 old messages at once, each second",
    "pull": "100 clients pull 200 old messages each at once, each second",
    "json": "as the burst, for clients that speak JSON",
    "blocks": f"{BULK_BLOCKS} blocks of 40 KB a second to 100 clients",
    "deflate": f"{BULK_BLOCKS} blocks of 40 KB a second to 100 clients, compressed",
    "huge": f"{BULK_BLOCKS} blocks of 200 KB a second to 100 clients who asked for compression",
}


# Clients --------------------------------------------------------------------------------------------------------------


def first(host: str, token: str, group: str, *, more: str = "", json_frames: bool = False) -> bytes:
    """An upgrade that enters a group."""
    wanted = request(host, token, browser=False).decode()
    wanted = wanted.replace("groups=lobby&delivery=notify", f"groups={group}" if group else "")
    if json_frames:
        wanted = wanted.replace("throng.v1.protobuf", "throng.v1.json")
    return (wanted[:-2] + more + "\r\n").encode()


class Line:
    """A blocking connection of a member; frames are counted, not read."""

    def __init__(self, port: int, wanted: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.sendall(wanted)
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.sock.recv(65_536)
        self._rest = self._rest.partition(b"\r\n\r\n")[2]

    def frame(self) -> bytes:
        """The payload of the next frame."""
        while True:
            data = self._rest
            if len(data) >= 2:
                size, start = data[1], 2
                if size == 126:
                    size, start = int.from_bytes(data[2:4], "big"), 4
                elif size == 127:
                    size, start = int.from_bytes(data[2:10], "big"), 10
                if len(data) >= start + size and len(data) >= start:
                    self._rest = data[start + size :]
                    return data[start : start + size]
            got = self.sock.recv(1 << 20)
            if not got:
                raise RuntimeError("an edge closed a connection")
            self._rest = data + got


def receive(issuer: TokenIssuer, ports: dict[str, int], count: int) -> None:
    """Members of `lobby` on A: when the last of them had each message. A line in: says what was measured since the one before."""
    epoll, socks = select.epoll(), {}
    for number in range(count):
        line = Line(ports["a"], first(f"127.0.0.1:{ports['a']}", issuer.issue(f"member-{number}", ttl_seconds=900), "lobby"))
        line.frame(), line.frame()
        line.sock.setblocking(False)
        socks[line.sock.fileno()] = line.sock
        epoll.register(line.sock.fileno(), select.EPOLLIN)
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    pattern = re.compile(rb"#(\d{20})#")
    seen: dict[int, list[int]] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == sys.stdin.fileno():
                if not sys.stdin.readline():
                    return
                whole = [(last - sent) / 1e6 for sent, (had, last) in seen.items() if had == count]
                print(json.dumps({"last": whole, "missing": len(seen) - len(whole)}), flush=True)
                seen.clear()
                continue
            data = socks[fd].recv(65_536)
            if not data:
                raise RuntimeError("an edge closed a connection")
            for found in pattern.findall(data):
                entry = seen.setdefault(int(found), [0, 0])
                entry[0] += 1
                entry[1] = time.monotonic_ns()


def shake(issuer: TokenIssuer, ports: dict[str, int]) -> None:
    """Shakes hands with A all the time, until `welcome`. A line in: says what was measured since the one before."""
    found: list[float] = []
    token = issuer.issue("shaker", ttl_seconds=900)
    wanted = first(f"127.0.0.1:{ports['a']}", token, "")

    def run() -> None:
        due = time.perf_counter()
        while True:
            started = time.perf_counter()
            line = Line(ports["a"], wanted)
            line.frame()
            found.append(1_000 * (time.perf_counter() - started))
            line.sock.close()
            due = max(due + 1.0 / SHAKES, time.perf_counter() - 1.0)
            time.sleep(max(0.0, due - time.perf_counter()))

    threading.Thread(target=run, daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        taken = found[:]
        del found[: len(taken)]
        print(json.dumps(taken), flush=True)


def ask(kind: str, number: int, up_to: int, *, json_frames: bool) -> bytes:
    """A client's question for 200 old messages."""
    if kind == "pull":
        frame = client_pb2.ClientFrame(
            request_id=number, pull=client_pb2.Pull(group_id="old", after_seq=up_to - 200, up_to_seq=up_to, epoch=1)
        )
    else:
        frame = client_pb2.ClientFrame(request_id=number, history=client_pb2.History(group_id="old", before_seq=up_to, limit=200))
    if json_frames:
        asked = {"requestId": str(number), "history": {"groupId": "old", "beforeSeq": str(up_to), "limit": 200}}
        return client_frame(json.dumps(asked).encode(), 1)
    return client_frame(frame.SerializeToString())


def disturb(issuer: TokenIssuer, port: int, kind: str) -> None:
    """A hundred clients that make work; ends with its standard input, and says how much it had."""
    json_frames, bulk = kind == "json", kind in ("blocks", "deflate", "huge")
    more = DEFLATE if kind in ("deflate", "huge") else ""
    lines, done, dice = [], [0, 0], random.Random(2)
    for number in range(100):
        token = issuer.issue(f"{kind}-{number}", ttl_seconds=900)
        wanted = first(f"127.0.0.1:{port}", token, "bulk" if bulk else "old", more=more, json_frames=json_frames)
        lines.append(Line(port, wanted))
    if bulk:
        for line in lines:
            threading.Thread(target=swallow, args=(line, done), daemon=True).start()
    else:
        for line in lines:
            threading.Thread(target=pages, args=(line, done), daemon=True).start()
    print("ready", flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    due, number = time.monotonic(), 0
    while not ended.is_set():
        if bulk:
            ended.wait(0.1)
            continue
        for line in [lines[number % 100]] if kind == "history" else lines:
            number += 1
            line.sock.sendall(ask(kind, number, dice.randrange(300, 3_800), json_frames=json_frames))
        due += 0.01 if kind == "history" else 1.0
        ended.wait(max(0.0, due - time.monotonic()))
    print(json.dumps({"answers": done[0], "megabytes": done[1] / 1e6}), flush=True)


def pages(line: Line, done: list[int]) -> None:
    """Counts answers: only they are larger than 16 KB."""
    with contextlib.suppress(OSError, RuntimeError):
        while True:
            size = len(line.frame())
            done[0] += size > 16_384
            done[1] += size


def swallow(line: Line, done: list[int]) -> None:
    """Reads and forgets."""
    while data := line.sock.recv(1 << 20):
        done[1] += len(data)


# The run --------------------------------------------------------------------------------------------------------------


class Stage:
    """Two edges, their neighbours, members of A and who shakes hands with it."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path) -> None:
        self._options = options
        self._key = folder / "token.key"
        self._key.write_text(secrets.token_hex(32))
        self._edges: dict[str, subprocess.Popen[str]] = {}
        self.ports = {name: free_port() for name in "ab"}
        self._children: list[subprocess.Popen[str]] = []
        self._neighbours = self._child("neighbours")
        address = self._line(self._neighbours)
        with (folder / "edges.log").open("w") as log:
            for name, port in self.ports.items():
                command = edge_command(folder, address, port, self._key)
                command[command.index("edge-1")] = name
                command += ["--heartbeat-interval-ms", "600000", "--native-fan-out", options.native]
                self._edges[name] = start(*command, log=log)
                self._pin(self._edges[name], 1)
        for port in self.ports.values():
            wait_ready(port)
        self._tell(self._neighbours, "edges")
        self._receivers, self._shaker = self._child("receive", str(options.receivers)), self._child("shake")
        for child in (self._receivers, self._shaker):
            self._line(child)

    def _child(self, role: str, *words: str) -> subprocess.Popen[str]:
        child = start(__file__, "--role", role, "--key-file", str(self._key), "--ports", json.dumps(self.ports), "--words", *words)
        self._pin(child, 0)
        self._children.append(child)
        return child

    def _pin(self, child: subprocess.Popen[str], core: int) -> None:
        if self._options.pin:
            os.sched_setaffinity(child.pid, {core})

    def _line(self, child: subprocess.Popen[str]) -> str:
        assert child.stdout is not None
        said = child.stdout.readline()
        if not said:
            raise RuntimeError("a process of the bench ended early")
        return said.strip()

    def _tell(self, child: subprocess.Popen[str], words: str = "") -> str:
        assert child.stdin is not None
        child.stdin.write(words + "\n")
        child.stdin.flush()
        return self._line(child)

    @contextlib.contextmanager
    def work(self, kind: str, edge: str) -> Iterator[None]:
        """While it lasts, clients make work for an edge; "": nobody does."""
        if not edge:
            yield
            return
        child = self._child("disturb", str(self.ports[edge]), kind)
        self._line(child)
        if kind in ("blocks", "deflate", "huge"):
            self._tell(self._neighbours, f"bulk {edge} {200_000 if kind == 'huge' else 40_000}")
        try:
            time.sleep(0.5)
            yield
        finally:
            self._tell(self._neighbours, "quiet")
            self._children.remove(child)
            assert child.stdin is not None
            child.stdin.close()
            self.had = json.loads(self._line(child))
            child.stdin = None
            child.wait(10)
            time.sleep(0.3)

    def measure(self) -> dict[str, Any]:
        """What A's clients see, and CPU of both edges."""
        self._tell(self._receivers), self._tell(self._shaker)
        cpu = {name: cpu_seconds(edge.pid) for name, edge in self._edges.items()}
        time.sleep(self._options.seconds)
        spent = {name: cpu_seconds(edge.pid) - cpu[name] for name, edge in self._edges.items()}
        last = json.loads(self._tell(self._receivers))
        return {"shakes": json.loads(self._tell(self._shaker)), "last": last["last"], "missing": last["missing"], "cpu": spent}

    def stop(self) -> None:
        """Ends everything."""
        for child in (*self._children[::-1], *self._edges.values()):
            end(child)


def measure(options: argparse.Namespace, stage: Stage) -> dict[str, list[dict[str, Any]]]:
    """All that was measured, by work and place."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind in options.work.split(","):
        places = ["", "a", "b"]
        for number in range(options.rounds):
            for edge in places if number % 2 == 0 else places[::-1]:
                with stage.work(kind, edge):
                    found = stage.measure()
                if edge:
                    found["had"] = stage.had
                rows.setdefault(f"{kind} {edge}", []).append(found)
        show(kind, rows)
    return rows


def show(kind: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Rows of one kind of work."""
    for edge, name in (("", "nothing"), ("b", "in another edge on the same core"), ("a", "in this edge")):
        found = rows[f"{kind} {edge}"]
        shakes = sorted(one for each in found for one in each["shakes"])
        last = sorted(one for each in found for one in each["last"])
        cpu = [statistics.mean(each["cpu"][edge] for each in found) for edge in "ab"]
        figures = [statistics.median(shakes), quantile(shakes, 0.9), quantile(shakes, 0.99), shakes[-1]]
        figures += [statistics.median(last), quantile(last, 0.9), quantile(last, 0.99), last[-1]]
        had = found[0].get("had", "")
        print(f"| {kind}: {name} | {' | '.join(f'{one:.1f}' for one in figures)} | {cpu[0]:.2f} | {cpu[1]:.2f} | {had}", flush=True)


def quantile(ordered: list[float], share: float) -> float:
    """Of sorted values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, default=1_000, help="members of A's group")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of a kind and place")
    parser.add_argument("--work", default=",".join(WORK), help="kinds of work, separated by commas")
    parser.add_argument("--native", choices=["off", "on", "ring"], default="off", help="how the edges send to groups")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="deal out no cores")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    for flag in ("--role", "--key-file", "--ports"):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    parser.add_argument("--words", nargs="*", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "neighbours":
        serve_neighbours()
    elif options.role:
        issuer, ports = TokenIssuer.from_file(pathlib.Path(options.key_file)), json.loads(options.ports)
        if options.role == "receive":
            receive(issuer, ports, int(options.words[0]))
        elif options.role == "shake":
            shake(issuer, ports)
        else:
            disturb(issuer, int(options.words[0]), options.words[1])
    else:
        print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores; milliseconds, CPU seconds\n")
        print(
            "| work | handshake p50 | p90 | p99 | max | last receiver p50 | p90 | p99 | max | CPU of A | of B |\n|" + " --- |" * 11
        )
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(options, pathlib.Path(folder))
            try:
                rows = measure(options, stage)
            finally:
                stage.stop()
        if options.json:
            options.json.write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
