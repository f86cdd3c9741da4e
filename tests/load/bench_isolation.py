"""Measures whether slow work beside it lengthens sending, fan-out or handshakes: with each disturbance and without, in one run.

Starts a cluster (Kafka, MariaDB, Redis, two edges, one group service with a word list of 100,000 words and a safety hook) in a temporary
folder. `throng bench` sends 50 messages/s to one group of 200 receivers on the first edge and judges; beside it a client shakes hands
with that edge 40 times a second until `welcome`. All runs on the same cores, so what a disturbance costs in CPU is in the figures too:
the control is the same disturbance at the other edge, which burns the same CPU and shares nothing else. Ends by itself.

    python tests/load/bench_isolation.py [--seconds 10] [--receivers 200] [--rate 50] [--words 100000]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import pathlib
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import grpc
from cluster_load import plan_for
from edge_client import EdgeClient

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.client.v1 import client_pb2
from throng.api.safety.v1 import safety_pb2, safety_pb2_grpc
from throng.bench import BenchPlan, BenchReport, BenchRun
from throng.bench.plan import host_and_port
from throng.cluster import Cluster, ClusterPlan

SLOW_SECONDS = 0.5
AT = ("", ", at the other edge")
_UPGRADE = (
    "GET /ws?groups={group} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: throng.v1.protobuf\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
)
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"


class Hook(safety_pb2_grpc.SafetyHookServiceServicer):
    """Allows everything, in groups that are named slow after half a second."""

    def __init__(self) -> None:
        self.slow_groups: set[str] = set()

    def CheckMessage(self, request: Any, context: Any) -> safety_pb2.CheckMessageResponse:  # noqa: N802
        if request.group_id in self.slow_groups:
            time.sleep(SLOW_SECONDS)
        return safety_pb2.CheckMessageResponse(verdict=safety_pb2.VERDICT_ALLOWED)


class Stage:
    """The cluster and what can be done to it."""

    def __init__(self, arguments: argparse.Namespace, cluster: Cluster, hook: Hook, words: pathlib.Path) -> None:
        self.arguments = arguments
        self.cluster = cluster
        self.hook = hook
        self.words = words
        self.history_group = ""
        self.issuer = TokenIssuer.from_file(cluster.key_file)
        self.addresses = ["{}:{}".format(*host_and_port(url)) for url in cluster.edge_urls()]

    def plan(self, edge: int = 0, **fields: Any) -> BenchPlan:
        whole = plan_for(self.cluster, workers=1, ramp=500, max_attempts=1, **fields)
        return dataclasses.replace(whole, urls=(self.cluster.edge_urls()[edge],))

    def run_main(self) -> tuple[BenchReport, list[float]]:
        """One measurement: the report, and milliseconds of handshakes."""
        plan = self.plan(
            receivers=self.arguments.receivers,
            senders=20,
            rate=self.arguments.rate,
            seconds=self.arguments.seconds,
            block_max_messages=1,
            block_interval_ms=0,
        )
        with BenchRun(plan) as run:
            run.wait_sending(60)
            shakes = self.shake_hands(self.arguments.seconds)
            report = run.wait(120)
        return report, shakes

    def shake_hands(self, seconds: float) -> list[float]:
        """Connects 40 times a second until `welcome`; milliseconds each."""
        found: list[float] = []
        token = self.issuer.issue("shaker", ttl_seconds=600)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.perf_counter()
            client = EdgeClient(self.addresses[0], token=token)
            client.receive()
            found.append(1_000 * (time.perf_counter() - started))
            client.close()
            time.sleep(max(0.025 - (time.perf_counter() - started), 0.0))
        return sorted(found)

    # Disturbances -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def nothing(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """The word list changes every 2 s, by one of some files that were made before."""
        ended = threading.Event()
        files = [self.words.with_suffix(f".{number}") for number in range(3)]
        for number, file in enumerate(files):
            write_words(file, self.arguments.words, seed=number)

        def write() -> None:
            number = 0
            while not ended.wait(2.0):
                shutil.copyfile(files[number % len(files)], self.words.with_suffix(".next"))
                os.replace(self.words.with_suffix(".next"), self.words)
                number += 1

        thread = threading.Thread(target=write)
        thread.start()
        yield
        ended.set()
        thread.join()

    @contextlib.contextmanager
    def slow_hook(self) -> Iterator[None]:
        """Two senders with one message in a hundred wait half a second each for the hook."""
        rate = max(self.arguments.rate / 100, 1.0)
        with BenchRun(self.plan(receivers=0, senders=2, rate=rate, seconds=300.0)) as run:
            self.hook.slow_groups.update(run._deal.group_ids)
            run.wait_sending(60)
            yield
            run.stop()
            report = run.wait(60)
            print(f"  (those who wait: p50 {report.latency.ack.p50_ms:.0f} ms)", file=sys.stderr)

    @contextlib.contextmanager
    def reading(self, edge: int) -> Iterator[None]:
        """Ten clients of an edge read old pages of 200 messages, 100 pages a second."""
        with self.child(edge, "--read", self.history_group):
            yield

    @contextlib.contextmanager
    def large_blocks(self, edge: int, *, deflate: bool) -> Iterator[None]:
        """40 messages of 4,000 characters a second in blocks of ten to 20 clients of an edge, who ask for compression or not."""
        fields = {"receivers": 0, "senders": 10, "rate": 40.0, "seconds": 300.0, "text_bytes": 4_000}
        with BenchRun(self.plan(edge, **fields, block_max_messages=10, block_interval_ms=1_000)) as run:
            with self.child(edge, "--swallow", run._deal.group_ids[0], *(["--deflate"] if deflate else [])):
                run.wait_sending(60)
                yield
            run.stop()
            run.wait(60)

    @contextlib.contextmanager
    def child(self, edge: int, *flags: str) -> Iterator[None]:
        command = [sys.executable, __file__, *flags, "--address", self.addresses[edge], "--key-file", str(self.cluster.key_file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield
            finally:
                process.kill()
                print(f"  ({process.stdout.read().strip().splitlines()[-1:]})", file=sys.stderr)


def write_words(file: pathlib.Path, count: int, *, seed: int) -> None:
    """Words that nobody says."""
    dice = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz\u4e2d\u6587\u5b57\u8bcd"
    file.write_text("".join("zq" + "".join(dice.choices(letters, k=8)) + "\n" for _ in range(count)), encoding="utf-8")


# Children -------------------------------------------------------------------------------------------------------------


def read_pages(arguments: argparse.Namespace) -> None:
    """Ten connections, ten pages a second each, until this process is ended; says how many it has read."""
    issuer, pages = TokenIssuer.from_file(arguments.key_file), [0]

    def read(number: int) -> None:
        token = issuer.issue(f"reader-{number}", ttl_seconds=600)
        path = f"/ws?groups={arguments.read}"
        client = EdgeClient(arguments.address, token=token, path=path, subprotocols=("throng.v1.protobuf",))
        dice = random.Random(number)
        while True:
            started = time.monotonic()
            frame = client_pb2.ClientFrame(request_id=7)
            frame.history.group_id, frame.history.before_seq, frame.history.limit = arguments.read, dice.randrange(300, 1_900), 200
            client.send(frame)
            while client.receive().request_id != 7:
                pass
            pages[0] += 1
            time.sleep(max(0.1 - (time.monotonic() - started), 0.0))

    for number in range(10):
        threading.Thread(target=read, args=(number,), daemon=True).start()
    print("ready", flush=True)
    for _ in range(300):
        time.sleep(1.0)
        print(f"{pages[0]} pages", flush=True)


def swallow(arguments: argparse.Namespace) -> None:
    """Twenty connections whose frames nobody reads beyond the socket; says whether they are compressed, and bytes."""
    issuer, total = TokenIssuer.from_file(arguments.key_file), [0]
    more = _DEFLATE if arguments.deflate else ""
    heads: list[bytes] = []

    def take(connection: socket.socket) -> None:
        while data := connection.recv(1 << 20):
            total[0] += len(data)

    host, _, port = arguments.address.rpartition(":")
    for number in range(20):
        connection = socket.create_connection((host, int(port)), timeout=60)
        token = issuer.issue(f"swallower-{number}", ttl_seconds=600)
        request = _UPGRADE.format(group=arguments.swallow, host=arguments.address, token=token, more=more)
        connection.sendall(request.encode())
        heads.append(connection.recv(65_536))
        threading.Thread(target=take, args=(connection,), daemon=True).start()
    compressed = sum(b"permessage-deflate" in head for head in heads)
    print("ready", flush=True)
    for _ in range(300):
        time.sleep(1.0)
        print(f"{compressed} of 20 compressed, {total[0] / 1e6:.1f} MB", flush=True)


# The run --------------------------------------------------------------------------------------------------------------


def measure(stage: Stage) -> bool:
    """Prints a row per disturbance; whether nothing was lost, doubled or out of order."""
    cases: list[tuple[str, Callable[[], contextlib.AbstractContextManager[None]]]] = [
        ("nothing", stage.nothing),
        (f"a word list of {stage.arguments.words:,} read anew every 2 s", stage.reloading),
        ("hook of 500 ms for 1 % of the messages", stage.slow_hook),
    ]
    # There and back, so that what grows or wanes over the run is the same for both.
    there_and_back = (0, 1, 1, 0)
    pages, blocks = "100 pages of 200 old messages read per second", "blocks of 40 KB, 4 a second to 20 clients"
    cases += [(pages + AT[edge], functools.partial(stage.reading, edge)) for edge in there_and_back]
    cases.append(("nothing", stage.nothing))
    cases += [(blocks + AT[edge], functools.partial(stage.large_blocks, edge, deflate=False)) for edge in there_and_back]
    cases += [(f"the same, compressed{AT[edge]}", functools.partial(stage.large_blocks, edge, deflate=True)) for edge in (0, 1)]
    cases.append(("nothing", stage.nothing))
    cases = [case for case in cases if re.search(stage.arguments.only, case[0])]
    warm_up = BenchRun(stage.plan(receivers=0, senders=20, rate=400.0, seconds=5.0))
    with warm_up:
        stage.history_group = warm_up.wait(120).group_ids[0]
    print("| beside it | to ACK p50 | p99 | to each receiver p50 | p99 | max | handshake p50 | p99 | verdict |\n|" + " --- |" * 9)
    faults = 0
    for name, disturb in cases:
        with disturb():
            report, shakes = stage.run_main()
        ack, delivery = report.latency.ack, report.latency.delivery
        faults += sum(count for kind, count in report.counts.items() if kind.is_fault)
        print(
            f"| {name} | {ack.p50_ms:.0f} | {ack.p99_ms:.0f} | {delivery.p50_ms:.0f} | {delivery.p99_ms:.0f} | {delivery.max_ms:.0f}"
            f" | {shakes[len(shakes) // 2]:.1f} | {shakes[int(len(shakes) * 0.99)]:.1f} | {report.verdict.name} |",
            flush=True,
        )
    return faults == 0


def main() -> int:
    """Runs everything; returns 1 when a message was lost, doubled or out of order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--receivers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--only", default="", help="rows whose names this regular expression finds")
    parser.add_argument("--words", type=int, default=100_000)
    for flag in ("--read", "--swallow", "--address", "--key-file"):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    parser.add_argument("--deflate", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read or arguments.swallow:
        arguments.key_file = pathlib.Path(arguments.key_file)
        (read_pages if arguments.read else swallow)(arguments)
        return 0
    print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores; milliseconds\n")
    hook, server = Hook(), grpc.server(futures.ThreadPoolExecutor(16))
    safety_pb2_grpc.add_SafetyHookServiceServicer_to_server(hook, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        words = pathlib.Path(folder) / "words.txt"
        write_words(words, arguments.words, seed=0)
        group = {
            "word_list_file": str(words),
            "word_list_check_seconds": "0.2",
            "safety_hook_address": f"127.0.0.1:{port}",
            "safety_hook_timeout_seconds": "2",
        }
        plan = ClusterPlan(edges=2, routers=1, groups=1, flags={"group": group})
        with Cluster(pathlib.Path(folder) / "cluster", plan) as cluster:
            good = measure(Stage(arguments, cluster, hook, words))
    server.stop(0.5).wait()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
