"""Measures what clients that read nothing cost those that do: 9,000 readers in one group of one edge, alone and beside 1,000 that
stall, there and back (alone, beside, beside, alone), so that whatever grows or wanes over a round is the same for both.

Hub and sessions serve in a process of their own (fan_out_servers.EdgeServer: every socket a user who entered the group); the readers
are two processes that check the order, the stalled ones a third with small receive buffers. Each phase begins after the same bursts,
those that fill up the stalled ones. After each phase beside them they are closed with 4008 and gone. Latency is from publishing to
the last of all readers. Ends by itself.

    python tests/load/bench_slow_readers.py [--readers 9000] [--stalled 1000] [--rate 4] [--seconds 8] [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import platform
import select
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import IO, Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from throng.runtime.file_limit import raise_file_limit

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
MESSAGE_BYTES = 208
FILL_BYTES = 4_096
"""Size of messages that fill up the stalled: a few that are large leave the readers less to do than many."""
LENGTHS = {ord("p"): MESSAGE_BYTES, ord("l"): FILL_BYTES}
READERS = 2
PATIENCE_SECONDS = 60.0
ALONE, BESIDE, GIVEN_UP = "alone", "beside the stalled", "while they are given up"
USUAL_MESSAGES = 120
GIVE_UP_SECONDS = 12.0
SETTLE_SECONDS = 1.0
RESTING_KB = 512
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# The server ---------------------------------------------------------------------------------------------------------------


async def serve(unsent_bytes: int, shared_frames: int) -> None:
    """Publishes for each `p`, and what is larger for each `l`, answers `s` with what was counted, until the control connection ends."""
    from fan_out_servers import EdgeServer

    from edge.core.hub_settings import HubSettings

    settings = replace(
        HubSettings(), heartbeat_interval_seconds=3600.0, unsent_bytes=unsent_bytes, outbox_shared_frames=shared_frames
    )
    server = EdgeServer(settings)
    loop = asyncio.get_running_loop()
    listener, control = (socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(2))
    listener.setblocking(False)
    control.setblocking(False)
    loop.add_reader(listener.fileno(), server.accept, listener)
    print(listener.getsockname()[1], control.getsockname()[1], flush=True)
    accepted, _ = await loop.sock_accept(control)
    number = 0
    while wanted := await loop.sock_recv(accepted, 4096):
        for order in wanted:
            if order in LENGTHS:
                number += 1
                server.publish(b"x" * (LENGTHS[order] - 8) + b"%08d" % number)
            else:
                await loop.sock_sendall(accepted, json.dumps(_counted(server)).encode() + b"\n")


def _counted(server: Any) -> dict[str, Any]:
    counters = server.counters
    names = ("connections", "blocked_connections", "outbox_bytes", "outbox_overflows", "closed", "pending_frames")
    return {name: getattr(counters, name) for name in names} | {"cpu_seconds": time.process_time()}


# The clients --------------------------------------------------------------------------------------------------------------


def connect(port: int, count: int, *, receive_buffer: int = 0) -> list[socket.socket]:
    """Connects and upgrades."""
    made = []
    for _ in range(count):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        sock.sendall(UPGRADE)
        made.append(sock)
    return made


class Readers:
    """Reads everything, checks the order, notes when the last of its sockets had each message."""

    def __init__(self, port: int, count: int) -> None:
        self._epoll = select.epoll()
        self._socks = {sock.fileno(): sock for sock in connect(port, count)}
        self._rest: dict[int, bytes] = {}
        self._last = dict.fromkeys(self._socks, 0)
        self._counts: Counter[int] = Counter()
        self.done: dict[int, int] = {}
        self.out_of_order = 0
        for fd, sock in self._socks.items():
            sock.setblocking(False)
            self._epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        """Until standard input says something."""
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            for fd, _ in self._epoll.poll():
                if fd == sys.stdin.fileno():
                    return
                self._take(fd, self._socks[fd].recv(1 << 18))

    def _take(self, fd: int, data: bytes) -> None:
        assert data, "a reader was closed"
        data = self._rest.pop(fd, b"") + data
        at = data.index(b"\r\n\r\n") + 4 if data.startswith(b"HTTP") else 0
        size = len(data)
        while at + 4 <= size:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = data[at + 2] << 8 | data[at + 3], at + 4
            end = start + length
            if end > size:
                break
            tail = data[end - 8 : end]
            if length >= MESSAGE_BYTES - 60 and tail.isdigit():
                self._note(fd, int(tail))
            at = end
        if at < size:
            self._rest[fd] = data[at:]

    def _note(self, fd: int, number: int) -> None:
        self.out_of_order += number != self._last[fd] + 1
        self._last[fd] = number
        self._counts[number] += 1
        if self._counts[number] == len(self._socks):
            self.done[number] = time.monotonic_ns()


def read(port: int, count: int) -> None:
    """A process of readers."""
    readers = Readers(port, count)
    print("in", flush=True)
    readers.run()
    print(json.dumps({"done": readers.done, "out_of_order": readers.out_of_order}), flush=True)


def stall(port: int, count: int) -> None:
    """A process of clients that read nothing, until standard input ends."""
    socks = connect(port, count, receive_buffer=4_096)
    print("in", flush=True)
    sys.stdin.read()
    for sock in socks:
        sock.close()


# The run ------------------------------------------------------------------------------------------------------------------


class Child:
    """A process of this bench, spoken to by lines."""

    def __init__(self, *role: object) -> None:
        command = [sys.executable, str(HERE / "bench_slow_readers.py"), *map(str, role)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def line(self) -> str:
        """What it says next."""
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        said = stream.readline()
        assert said, "a process of the bench ended early"
        return said

    def say(self) -> None:
        """Tells it to go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


class Bench:
    """Server and readers; `phase` measures."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._server = Child("--serve", options.unsent, options.frames)
        self.port, control = map(int, self._server.line().split())
        self._control = socket.create_connection(("127.0.0.1", control))
        self._answers = self._control.makefile()
        each = options.readers // READERS
        self._readers = [Child("--read", self.port, each) for _ in range(READERS)]
        for reader in self._readers:
            reader.line()
        self.wait(lambda counted: counted["connections"] == each * READERS)
        self._published: list[int] = []
        self._bursts = 0
        self._phases: list[tuple[str, int, int, float]] = []

    def counted(self) -> dict[str, Any]:
        """What the server counts now."""
        self._control.sendall(b"s")
        return dict(json.loads(self._answers.readline()))

    def wait(self, condition: Any) -> dict[str, Any]:
        """Until the server's counters are so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition(counted := self.counted()):
            assert time.monotonic() < deadline, counted
            time.sleep(0.05)
        return counted

    def publish(self, kind: bytes = b"p") -> None:
        """One message."""
        self._published.append(time.monotonic_ns())
        self._control.sendall(kind)

    def settle(self) -> None:
        """Until all who read have what was published: nothing waits in the edge but for the stalled, and the kernel's buffers rest."""
        self.wait(lambda counted: not counted["pending_frames"] and counted["blocked_connections"] in (0, self._options.stalled))
        kept = 0
        while abs(kept - (kept := kernel_kb())) > RESTING_KB:
            time.sleep(SETTLE_SECONDS)

    def phase(self, name: str, seconds: float) -> None:
        """Publishes at the rate for so long."""
        self.settle()
        before, first = self.counted(), len(self._published)
        due = time.monotonic()
        for _ in range(round(seconds * self._options.rate)):
            self.publish()
            due += 1.0 / self._options.rate
            time.sleep(max(0.0, due - time.monotonic()))
        cpu = self.counted()["cpu_seconds"] - before["cpu_seconds"]
        self._phases.append((name, first, len(self._published), cpu))

    def burst(self) -> None:
        """Messages that do not wait for each other."""
        for _ in range(self._options.burst):
            self.publish(b"l")
        time.sleep(0.25)

    def alone(self) -> None:
        """A phase without stalled clients, after as many bursts as filled them up, or will."""
        for _ in range(self._bursts or USUAL_MESSAGES // self._options.burst):
            self.burst()
        self.phase(ALONE, self._options.seconds)

    def beside(self) -> dict[str, Any]:
        """A phase beside clients that stall, and another while they are given up."""
        there, closed = self.counted()["connections"], self.counted()["closed"]
        stalled = Child("--stall", self.port, self._options.stalled)
        try:
            stalled.line()
            self.wait(lambda counted: counted["connections"] == there + self._options.stalled)
            found = self.fill()
            self.phase(BESIDE, self._options.seconds)
            found["blocked_to_the_end_of_the_phase"] = self.counted()["blocked_connections"]
            self.phase(GIVEN_UP, GIVE_UP_SECONDS)
            gone = self.wait(lambda counted: counted["connections"] == there)["closed"]
            return found | {"closed": {code: count - closed.get(code, 0) for code, count in gone.items()}}
        finally:
            stalled.end()

    def fill(self) -> dict[str, Any]:
        """Publishes until every stalled client is blocked and gets heads in place of blocks."""
        wanted, began = self._options.stalled, kernel_kb()
        counted = self.counted()
        base = counted["outbox_overflows"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._bursts = 0
        while counted["blocked_connections"] < wanted or counted["outbox_overflows"] - base < wanted:
            assert time.monotonic() < deadline, counted
            self.burst()
            self._bursts += 1
            counted = self.counted()
        return {
            "outbox_bytes_each": counted["outbox_bytes"] / wanted,
            "kernel_kb_each": (kernel_kb() - began) / wanted,
            "bursts_to_fill": self._bursts,
        }

    def results(self) -> dict[str, Any]:
        """Latencies of all phases; ends the readers."""
        for reader in self._readers:
            reader.say()
        told = [json.loads(reader.line()) for reader in self._readers]
        phases, missed = [], 0
        for name, first, end, cpu in self._phases:
            numbers = [number for number in range(first, end) if all(str(number + 1) in one["done"] for one in told)]
            missed += end - first - len(numbers)
            last = [max(one["done"][str(number + 1)] for one in told) - self._published[number] for number in numbers]
            milliseconds = sorted(nanoseconds / 1e6 for nanoseconds in last)
            deliveries = (end - first) * (self._options.readers // READERS) * READERS
            phases.append(
                {
                    "phase": name,
                    "messages": end - first,
                    "median_ms": statistics.median(milliseconds),
                    "p90_ms": milliseconds[int(len(milliseconds) * 0.9)],
                    "max_ms": milliseconds[-1],
                    "cpu_us_per_delivery": cpu / deliveries * 1e6,
                }
            )
        return {"phases": phases, "missed": missed, "out_of_order": sum(one["out_of_order"] for one in told)}

    def end(self) -> None:
        """Ends everything."""
        for child in (*self._readers, self._server):
            child.end()


def kernel_kb() -> int:
    """Memory that the kernel has in TCP buffers, of the whole machine."""
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * 4
    raise LookupError("no TCP line")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """One round, there and back."""
    bench = Bench(options)
    try:
        bench.alone()
        stalled = [bench.beside(), bench.beside()]
        bench.alone()
        return {"stalled": stalled} | bench.results()
    finally:
        bench.end()


def show(figures: dict[str, Any]) -> None:
    """The figures of a round for people."""
    print("| phase | messages | last reader, median ms | p90 | worst | CPU us per delivery |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in figures["phases"]:
        times = " | ".join(f"{row[name]:.0f}" for name in ("median_ms", "p90_ms", "max_ms"))
        print(f"| {row['phase']} | {row['messages']} | {times} | {row['cpu_us_per_delivery']:.2f} |")
    print({name: value for name, value in figures.items() if name != "phases"}, flush=True)


def compare(rounds: list[dict[str, Any]]) -> None:
    """What stalled clients cost, of what it costs without them, by rounds; and how far apart two phases of one kind are."""
    print("\n| round | median, beside / alone | p90 | CPU | two phases alone, second / first | two beside |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, figures in enumerate(rounds, start=1):
        alone, beside = ([row for row in figures["phases"] if row["phase"] == kind] for kind in (ALONE, BESIDE))
        ratios = [
            statistics.mean(row[name] for row in beside) / statistics.mean(row[name] for row in alone)
            for name in ("median_ms", "p90_ms", "cpu_us_per_delivery")
        ]
        ratios += [second["median_ms"] / first["median_ms"] for first, second in (alone, beside)]
        print(f"| {number} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |", flush=True)


def main() -> int:
    """Runs; 1 when a reader missed something or a stalled client was not closed with 4008."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--readers", type=int, default=9_000)
    parser.add_argument("--stalled", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=4.0, help="messages per second")
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of each phase; the stalled are given up 20 s after they stalled"
    )
    parser.add_argument(
        "--burst", type=int, default=2, help="messages of 4 KB each quarter of a second while the stalled are filled up"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--unsent", type=int, default=131_072, help="HubSettings.unsent_bytes")
    parser.add_argument("--frames", type=int, default=64, help="HubSettings.outbox_shared_frames")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    parser.add_argument("--serve", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stall", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    raise_file_limit()
    if options.serve:
        import uvloop

        uvloop.run(serve(*options.serve))
        return 0
    if options.read or options.stall:
        (read if options.read else stall)(*(options.read or options.stall))
        return 0
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    rounds = []
    for _ in range(options.rounds):
        rounds.append(run(options))
        show(rounds[-1])
    compare(rounds)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=2) + "\n")
    ended = all(each["closed"] == {"4008": options.stalled} for figures in rounds for each in figures["stalled"])
    return int(any(figures["out_of_order"] + figures["missed"] for figures in rounds) or not ended)


if __name__ == "__main__":
    sys.exit(main())
