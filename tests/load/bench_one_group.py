"""20,000 receivers in one group, half of them on each of two edges, 10 messages a second for ten minutes, blocks as set by default.

    .venv/bin/python tests/load/bench_one_group.py [--receivers 20000] [--rate 10] [--seconds 600]

The whole cluster (Kafka, MariaDB, Redis, 2 edges, 2 routers, 2 group services, 1 unread service) and the load client run on this machine. The
bar: 100 % delivered, once, in order, and 99 of 100 messages with the last receiver after 1.5 s at most. Exit code 0: it was reached; 3: delivered
as promised, but late. The report goes to artifacts/one-group.json, what the processes used of the CPU is printed.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

from cluster_load import all_arrived, allow_files, plan_for, wait_taking_part
from crowd import cpu_seconds

from throng.bench import BenchReport, BenchRun
from throng.cluster import Cluster, ClusterPlan

ARTIFACTS = pathlib.Path(__file__).resolve().parents[2] / "artifacts"
LAST_RECEIVER_P99_MS = 1_500.0


def measure(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple[BenchReport, dict[str, float]]:
    """Runs it once; the report, and CPU seconds of each service while messages were sent."""
    with Cluster(folder, ClusterPlan(default_group="", restart_dead=False), say=print) as cluster:
        bench = plan_for(
            cluster,
            groups=1,
            receivers=arguments.receivers,
            senders=arguments.senders,
            rate=arguments.rate,
            seconds=arguments.seconds,
            workers=arguments.workers,
            ramp=arguments.ramp,
            settle_seconds=60.0,
            audit_seconds=120.0,
            seed=arguments.seed,
        )
        with BenchRun(bench) as run:
            wait_taking_part(run)
            before = {name: cpu_seconds(process.pid) for name, process in cluster.processes.items() if process.pid}
            report = run.wait(arguments.seconds + 300.0)
            used = {name: cpu_seconds(cluster.processes[name].pid or 0) - start for name, start in before.items()}
            return report, used


def main() -> int:
    """Runs and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, default=20_000)
    parser.add_argument("--senders", type=int, default=10)
    parser.add_argument("--rate", type=float, default=10.0, help="messages per second")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long is sent")
    parser.add_argument("--ramp", type=float, default=800.0, help="connections opened per second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    allow_files(arguments.receivers // 2 + 1_000)
    with tempfile.TemporaryDirectory(prefix="throng-one-group-") as folder:
        report, used = measure(arguments, pathlib.Path(folder))
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "one-group.json").write_text(report.to_json(), encoding="utf-8")
    print(report.summary())
    print("CPU seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in used.items()))
    if not all_arrived(report):
        return 1
    return 0 if report.latency.last_receiver.p99_ms <= LAST_RECEIVER_P99_MS else 3


if __name__ == "__main__":
    raise SystemExit(main())
