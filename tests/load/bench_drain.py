"""Empties one of two edges: `--sockets` clients in one group, half on each or all on the one; nobody may miss a message.

Starts `throng up` and two edge processes. The clients are those of `throng bench`, which judges every message; `--probes` more on the edge that drains measure how
long each is away, and newcomers ask a router for an edge and connect all the time. The edge drains by SIGTERM, or with `--by order` as `throng edge drain` does.
With `--all-on-it` the other edge starts only when all are in, so that the one has them all and the other one nobody.
Told are: the time it took, upgrades refused at either edge, messages lost, when all were complete again, how late the hub's timers ran on both edges before and meanwhile, and
the gap per client. Ends by itself.

    python tests/load/bench_drain.py [--sockets 19000] [--all-on-it] [--window 20] [--by sigterm|order] [--rate 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from typing import Any

import grpc
from crowd import KEY, Crowd, Member
from edge_stage import EdgeStage, RunningEdge

from throng.api.client.v1 import client_pb2
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.bench import BenchEvent, BenchPlan, BenchReport, BenchRun
from throng.bench.series import SLOT_NS
from throng.testing.servers import free_port

GROUP = "everybody"
WARM_SECONDS, AFTER_SECONDS, NEWCOMER_SECONDS, LOOK_SECONDS = 8.0, 6.0, 0.05, 1.0
DELAY = "throng_edge_loop_delay_seconds_bucket<="


class Probes:
    """Clients that obey `drain` as the page does, and note for how long they were away."""

    def __init__(self, stage: EdgeStage, leave: RunningEdge, come: RunningEdge, count: int) -> None:
        self._old, self._new = Crowd(leave.address, stage.issuer), Crowd(come.address, stage.issuer)
        self._old.prepare(f"probe-{number}" for number in range(count))
        self._new.prepare(f"probe-{number}" for number in range(count))
        self._old.on_frame, self._old.on_gone = self._heard, self._closed
        self._due: dict[Member, float] = {}
        self._coming: dict[Member, float] = {}
        self.count = count
        self.closed = 0
        self.gaps: list[float] = []

    def come(self) -> None:
        """All enter at the edge that will drain."""
        self._old.come_all(self.count, GROUP)

    def pump(self) -> None:
        """Turns both crowds for a moment."""
        self._old.pump(0.002)
        now = time.monotonic()
        for member in [member for member, at in self._due.items() if at <= now]:
            del self._due[member]
            self._old.go(member)
            self._coming[self._new.come(GROUP)] = now
        self._new.pump(0.002)
        now = time.monotonic()
        for member in [member for member in self._coming if member.entered]:
            self.gaps.append(now - self._coming.pop(member))

    @property
    def back(self) -> bool:
        """All are at the other edge."""
        return len(self.gaps) == self.count

    @property
    def refused(self) -> list[str]:
        """Status lines that were no 101 at the edge to which they went."""
        return self._new.refused

    def close(self) -> None:
        """All leave."""
        self._old.close()
        self._new.close()

    def _heard(self, member: Member, frame: client_pb2.ServerFrame) -> None:
        if frame.HasField("drain"):
            self._due[member] = time.monotonic() + frame.drain.reconnect_after_ms / 1000

    def _closed(self, member: Member) -> None:
        self.closed += 1
        self._due.pop(member, None)
        self._coming[self._new.come(GROUP)] = time.monotonic()


class Newcomers(threading.Thread):
    """One after the other asks a router for an edge, upgrades there and leaves."""

    def __init__(self, stage: EdgeStage) -> None:
        super().__init__(name="newcomers", daemon=True)
        self._channel = grpc.insecure_channel(stage.router_address)
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._token = stage.issuer.issue("newcomer", ttl_seconds=3_600, name="newcomer")
        self._ended = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.second_try_failed = 0

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(NEWCOMER_SECONDS):
            edge_id, outcome = self._try(())
            self.outcomes[f"{edge_id} {outcome}"] += 1
            if outcome != "101":
                self.second_try_failed += self._try((edge_id,))[1] != "101"

    def end(self) -> None:
        """Stops and waits."""
        self._ended.set()
        self.join()
        self._channel.close()

    def _try(self, avoid: tuple[str, ...]) -> tuple[str, str]:
        try:
            assigned = self._stub.AssignEdge(router_pb2.AssignEdgeRequest(avoid_edge_ids=avoid), timeout=5)
        except grpc.RpcError as error:
            return "none", str(error.code())
        host, _, port = assigned.public_url.removeprefix("ws://").rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=5) as sock:
                sock.sendall(
                    f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: throng.v1.protobuf\r\n"
                    f"Authorization: Bearer {self._token}\r\n\r\n".encode()
                )
                return assigned.edge_id, sock.recv(4_096)[9:12].decode()
        except OSError as error:
            return assigned.edge_id, type(error).__name__


class Watch(threading.Thread):
    """Reads the metrics of an edge once a second, as long as it answers."""

    def __init__(self, edge: RunningEdge) -> None:
        super().__init__(name="watch", daemon=True)
        self._edge = edge
        self._ended = threading.Event()
        self.newest: dict[str, float] = edge.metrics()
        self.before = self.newest

    def run(self) -> None:
        """Until `end`, or until the edge is gone."""
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.newest = self._edge.metrics()
            except OSError:
                return

    def end(self) -> None:
        """Stops and waits."""
        self._ended.set()
        self.join()

    @property
    def connections(self) -> int:
        """Clients at the last look."""
        return int(self.newest["throng_edge_connections"])


def delays(before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """How late the hub's timer was between two looks: share of ticks above 10 ms, bounds of the 99th percentile and of the latest, ms."""
    grown = sorted(
        (float(name.removeprefix(DELAY)), after[name] - before.get(name, 0.0)) for name in after if name.startswith(DELAY)
    )
    ticks = grown[-1][1]
    if not ticks:
        return {"ticks": 0}
    bound = next(le for le, count in grown if count >= ticks)
    p99 = next(le for le, count in grown if count >= ticks * 0.99)
    within = max(count for le, count in grown if le <= 0.01)
    return {"ticks": int(ticks), "above_10_ms": round(1 - within / ticks, 4), "p99_ms": p99 * 1000, "most_ms": bound * 1000}


def empty(stage: EdgeStage, run: BenchRun, options: argparse.Namespace) -> dict[str, Any]:
    """Drains the measured edge while everything goes on."""
    leaving = stage.measured
    other = options.other
    probes = Probes(stage, leaving, other, options.probes)
    probes.come()
    newcomers = Newcomers(stage)
    quiet = [leaving.metrics(), other.metrics()]
    time.sleep(WARM_SECONDS)
    watches = [Watch(leaving), Watch(other)]
    figures: dict[str, Any] = {
        "on_it": watches[0].connections,
        "on_the_other": watches[1].connections,
        "upgrades_before": leaving.handshakes(),
        "lag_before": [delays(quiet[place], watches[place].before) for place in range(2)],
    }
    for thread in (newcomers, *watches):
        thread.start()
    options.drain = run.note("drain")
    began = time.monotonic()
    if options.by == "sigterm":
        leaving.process.terminate()
    else:
        with grpc.insecure_channel(stage.router_address) as channel:
            request = router_pb2.DrainEdgeRequest(edge_id="measured", window_ms=round(options.window * 1000))
            router_pb2_grpc.RouterServiceStub(channel).DrainEdge(request, timeout=5)
    ended = False
    while not (ended and probes.back) and time.monotonic() - began < options.window + 60:
        probes.pump()
        if not ended:
            ended = leaving.process.poll() is not None if options.by == "sigterm" else watches[0].connections == 0
            figures["seconds"] = round(time.monotonic() - began, 2)
    figures["ended"], figures["exit_code"] = ended, leaving.process.poll()
    until = time.monotonic() + AFTER_SECONDS
    while time.monotonic() < until:
        probes.pump()
    newcomers.end()
    for watch in watches:
        watch.end()
    figures["lag_meanwhile"] = [delays(watch.before, watch.newest) for watch in watches]
    figures["on_the_other_afterwards"] = int(other.metrics()["throng_edge_connections"])
    figures["upgrades_at_the_other"] = other.handshakes()
    figures["newcomers"] = dict(newcomers.outcomes)
    figures["newcomers_refused_twice"] = newcomers.second_try_failed
    gaps = sorted(probes.gaps)
    figures["probes"] = {"back": len(gaps), "of": probes.count, "closed_by_edge": probes.closed, "refused": probes.refused}
    figures["gap_ms"] = {
        name: round(gaps[int(share * (len(gaps) - 1))] * 1000, 1) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    probes.close()
    return figures


def again(report: BenchReport, drain: BenchEvent, window: float) -> dict[str, Any]:
    """When all receivers were back and held everything, and how far from it they were at worst, by the bench's slots of 100 ms."""
    complete = report.recovery_after(drain).all_at_head_seconds
    meanwhile = [
        slot for slot in report.slots if drain.at_ns <= report.origin_ns + slot.index * SLOT_NS < drain.at_ns + (window + 30) * 1e9
    ]
    return {
        "complete_seconds_after_window": None if complete is None else round(complete - window, 1),
        "away_at_once_most": int(report.plan["receivers"]) - min(slot.receivers_online for slot in meanwhile),
        "lacked_a_message_ms_most": round(max(slot.stale_ns for slot in meanwhile) / 1e6),
        "catch_up_ms": {"p99": report.latency.catch_up.p99_ms, "max": report.latency.catch_up.max_ms},
    }


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], BenchReport]:
    """Runs it once."""
    flags = {"drain_window_ms": str(round(options.window * 1000)), "max_connections": "19900"}
    port = str(free_port())
    with tempfile.TemporaryDirectory() as folder:
        stage = EdgeStage(pathlib.Path(folder), flags)
        try:
            stage.start()
            if not options.all_on_it:
                options.other = stage.add_edge("other", port=port)
            stage.make_group(GROUP)
            plan = BenchPlan(
                # Who begins at an edge that is not there yet goes to the next one, as every client does.
                urls=(f"ws://{stage.address}", f"ws://127.0.0.1:{port}"),
                group_address=stage.group_address,
                jwt_secret_file=stage.key_file,
                group_ids=(GROUP,),
                receivers=options.sockets - options.probes,
                senders=4,
                rate=options.rate,
                seconds=3_600.0,
                workers=2,
                ramp=options.ramp,
                settle_seconds=60.0,
            )
            with BenchRun(plan) as run:
                if not run.wait_sending(plan.connect_limit_seconds + 30.0):
                    raise SystemExit(f"the receivers did not all enter: {run.progress}\n{stage.log_tail()}")
                if options.all_on_it:
                    options.other = stage.add_edge("other", port=port)
                figures = empty(stage, run, options)
                run.stop()
                report = run.wait(300.0)
                return figures | {"again": again(report, options.drain, options.window)}, report
        finally:
            stage.stop()


def main() -> int:
    """Measures and prints; 0: all were delivered everything and nobody was refused at the other edge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=19_000)
    parser.add_argument("--all-on-it", action="store_true", help="the other edge starts when all are on the one that drains")
    parser.add_argument("--window", type=float, default=20.0, help="seconds over which clients leave")
    parser.add_argument("--by", choices=["sigterm", "order"], default="sigterm")
    parser.add_argument("--rate", type=float, default=4.0, help="messages per second, each to all")
    parser.add_argument("--ramp", type=float, default=900.0, help="connections opened per second at first")
    parser.add_argument("--probes", type=int, default=400)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, options.sockets)), hard))
    figures, report = measure(options)
    deliveries = report.deliveries
    figures["deliveries"] = {"expected": deliveries.expected, "missing": deliveries.missing, "offline": deliveries.offline}
    figures["verdict"], figures["reason"], figures["findings"] = report.verdict.value, report.reason, dict(report.counts)
    figures["reconnects"] = report.connections.receiver_reconnects
    figures["closes"], figures["problems"] = report.connections.closes, report.connections.problems
    figures["delivery_ms"] = {"p50": report.latency.delivery.p50_ms, "p99": report.latency.delivery.p99_ms}
    figures["load_client"] = {"cpu_shares": report.client.cpu_shares, "late": report.client.reasons}
    figures["by"], figures["window"], figures["sockets"], figures["rate"] = (
        options.by,
        options.window,
        options.sockets,
        options.rate,
    )
    figures["machine"] = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    whole = deliveries.expected > 0 and not deliveries.missing and not deliveries.offline and not report.counts
    refused = figures["newcomers_refused_twice"] or figures["probes"]["refused"]
    return 0 if whole and not refused and figures["ended"] and figures["probes"]["back"] == options.probes else 1


if __name__ == "__main__":
    sys.exit(main())
