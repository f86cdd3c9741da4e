"""Measures what it costs when many clients enter one group at once: at the start, and when their edge is killed and all come back to the other.

Starts a cluster of its own (Kafka, MariaDB, Redis, two of each service) in a temporary folder. Twice `--clients` receivers connect, half of
them to each edge; while messages are sent one edge is killed. For both phases it tells how long it took until everybody took part, CPU time
per enter of every kind of process, calls between the services per enter, and how many were refused. Ends by itself.

    python tests/load/bench_enter.py [--clients 5000] [--ramp 1000] [--seconds 40] [--json FILE]
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import platform
import re
import sys
import tempfile
import time
import urllib.request
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from cluster_load import plan_for

from throng.bench import BenchReport, BenchRun
from throng.bench.series import SLOT_NS
from throng.cluster.cluster import Cluster
from throng.cluster.plan import ClusterPlan

CALLS = re.compile(r"throng_(?:edge_upstream_calls|group_grpc_requests|unread_grpc_requests)_total\{(.*?)\} (\S+)")
LABEL = re.compile(r'(\w+)="(.*?)"')
TICKS = os.sysconf("SC_CLK_TCK")
KILLED = "edge-2"


class Sample:
    """CPU seconds by kind of process, and calls by service, method and code, since the beginning."""

    def __init__(self, cluster: Cluster) -> None:
        self.at = time.monotonic()
        self.cpu: collections.Counter[str] = collections.Counter()
        self.calls: collections.Counter[str] = collections.Counter()
        for name, process in cluster.processes.items():
            if name == KILLED and not process.running:
                continue
            self.cpu[process.kind if process.kind != "edge" else name] += cpu_seconds(process.pid)
            if process.kind != "router":
                self._count(name if process.kind == "edge" else process.kind, process.addresses.metrics)
        for backend in cluster.backends.all():
            self.cpu[backend.name] += cpu_seconds(backend.pid)

    def _count(self, who: str, address: str) -> None:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as response:
            text = response.read().decode()
        for labels, value in CALLS.findall(text):
            told = dict(LABEL.findall(labels))
            self.calls[f"{who} {told['method']} {told['code']}"] += int(float(value))

    def since(self, earlier: Sample, enters: int) -> dict[str, Any]:
        """What lies between two samples, per enter where that says more."""
        return {
            "cpu_ms_per_enter": {
                name: round(1_000 * (seconds - earlier.cpu[name]) / enters, 3) for name, seconds in sorted(self.cpu.items())
            },
            "calls": {
                name: number - earlier.calls[name] for name, number in sorted(self.calls.items()) if number > earlier.calls[name]
            },
        }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def back_seconds(report: BenchReport, killed_ns: int) -> float:
    """Seconds from the fault until all receivers take part again; -1: they never did."""
    receivers = int(report.plan["receivers"])
    lost = False
    for slot in report.slots:
        ended_ns = report.origin_ns + (slot.index + 1) * SLOT_NS
        if ended_ns >= killed_ns:
            lost |= slot.receivers_online < receivers
            if lost and slot.receivers_online >= receivers:
                return round((ended_ns - killed_ns) / 1e9, 2)
    return -1.0


def wait_online(run: BenchRun, wanted: int, timeout_seconds: float, *, least_seconds: float = 0.0) -> float:
    """Seconds until so many take part; -1: not in time."""
    started = time.monotonic()
    while time.monotonic() - started < timeout_seconds and not run.done:
        if run.progress.online >= wanted and time.monotonic() - started >= least_seconds:
            return round(time.monotonic() - started, 2)
        time.sleep(0.05)
    return -1.0


def measure(cluster: Cluster, clients: int, ramp: float, seconds: float) -> dict[str, Any]:
    """Both phases, and the verdict on what was delivered."""
    senders = 10
    plan = plan_for(cluster, receivers=2 * clients, senders=senders, rate=10, seconds=seconds, ramp=ramp)
    everybody = 2 * clients + senders
    first = Sample(cluster)
    with BenchRun(plan) as run:
        entered_seconds = wait_online(run, everybody, plan.connect_limit_seconds)
        at_start = Sample(cluster).since(first, everybody) | {"seconds": entered_seconds}
        if not run.wait_sending(5):
            return {"start": at_start, "summary": run.wait().summary()}
        time.sleep(3)
        before = Sample(cluster)
        event = run.note("edge killed")
        cluster.processes[KILLED].kill()
        # Long enough for the clients' backoff; what was seen in the meantime stands in the report's slots.
        wait_online(run, everybody, seconds, least_seconds=3.0)
        after = Sample(cluster).since(before, clients)
        report = run.wait()
    recovery = report.recovery_after(event)
    return {
        "start": at_start,
        "edge killed": {"seconds": back_seconds(report, event.at_ns), "at_head_seconds": recovery.all_at_head_seconds, **after},
        "problems": report.connections.problems,
        "verdict": report.verdict.value,
        "summary": report.summary(),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=5_000, help="clients of the edge that is killed")
    parser.add_argument("--ramp", type=float, default=1_000.0, help="connections opened per second at the start")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long is sent; the edge is killed after 3 s of it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        root.chmod(0o755)
        with Cluster(root / "cluster", ClusterPlan(restart_dead=False)) as cluster:
            figures = measure(cluster, chosen.clients, chosen.ramp, chosen.seconds)
    figures["machine"] = (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    print(json.dumps({name: value for name, value in figures.items() if name != "summary"}, indent=1))
    print(figures["summary"])
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
