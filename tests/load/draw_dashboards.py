"""Draws the main dashboards from a real cluster under load: docs/images/dashboard-business.svg and dashboard-path.svg.

    .venv/bin/python tests/load/draw_dashboards.py [--seconds 120]

Kafka, MariaDB, Redis, 2 edges, 2 routers, 2 group services and 1 unread service run on this machine, Prometheus scrapes them once a second, and
`throng bench` sends: 40 groups, one of them large, with an edge that is killed and started again in the middle.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "helm/dashboards"))

from cluster_load import plan_for
from draw import draw
from overview import BUSINESS, PATH

from throng.bench import BenchRun
from throng.cluster import Cluster, ClusterPlan
from throng.testing.servers import PrometheusServer

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "docs/images"
WARM_SECONDS, DOWN_SECONDS = 15.0, 12.0


def bench(cluster: Cluster, *, groups: int, receivers: int, rate: float, seconds: float) -> BenchRun:
    """A load on the cluster."""
    return BenchRun(
        plan_for(cluster, groups=groups, receivers=receivers, senders=groups * 2, rate=rate, seconds=seconds, workers=1)
    )


def measure(seconds: float, folder: pathlib.Path) -> None:
    """Runs the load and draws."""
    plan = ClusterPlan(default_group="", restart_dead=False)
    with Cluster(folder / "cluster", plan, say=print) as cluster:
        targets: dict[str, list[str]] = {}
        for process in cluster.processes.values():
            targets.setdefault(process.kind, []).append(process.addresses.metrics)
        watcher = PrometheusServer(folder / "prometheus", targets)
        watcher.start()
        began = time.time() + WARM_SECONDS
        small = bench(cluster, groups=40, receivers=400, rate=200.0, seconds=seconds)
        large = bench(cluster, groups=1, receivers=2_000, rate=20.0, seconds=seconds)
        with small as one, large as two:
            time.sleep(seconds / 2)
            print("kill -9 edge-2", flush=True)
            edge = cluster.processes["edge-2"]
            edge.kill()
            time.sleep(DOWN_SECONDS)
            edge.start()
            edge.wait_ready(60.0)
            for run in (one, two):
                print(run.wait(seconds + 120.0).summary().splitlines()[0], flush=True)
        ended = time.time()

        def ask(expr: str) -> list[dict[str, object]]:
            filled = expr.replace("$__rate_interval", "5s").replace("$namespace", ".*").replace("$instance", ".*")
            return watcher.query_range(filled, began, ended, 1.0)

        for board in (BUSINESS, PATH):
            file = IMAGES / f"dashboard-{board.uid.removeprefix('throng-')}.svg"
            file.write_text(draw(board, ask), encoding="utf-8")
            print(file)
        watcher.stop()


def main() -> None:
    """Draws both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long is sent")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throng-dashboards-") as folder:
        measure(arguments.seconds, pathlib.Path(folder))


if __name__ == "__main__":
    main()
