"""10,000 receivers in one group, 5,000 on each of two edges, through a killed edge, a killed group service and a Redis flush.

    .venv/bin/python tests/load/bench_chaos_10k.py --receivers 10000 --rate 10

The whole cluster (Kafka, MariaDB, Redis, 2 edges, 2 routers, 2 group services, 1 unread service) and the load client run on this machine. The
bar is 100 % delivered, once, in order. Exit code 0: it was reached. The report goes to artifacts/chaos-10k.json.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import redis
from cluster_load import all_arrived, allow_files, plan_for, wait_taking_part

from throng.bench import BenchEvent, BenchReport, BenchRun
from throng.cluster import Cluster, ClusterPlan

ARTIFACTS = pathlib.Path(__file__).resolve().parents[2] / "artifacts"
WARM_SECONDS, BETWEEN_SECONDS, DOWN_SECONDS = 10.0, 30.0, 5.0


def break_things(cluster: Cluster, run: BenchRun) -> list[tuple[str, BenchEvent, BenchEvent]]:
    """Makes the three faults, 30 s apart; each with the events of its beginning and its end."""
    found = []
    time.sleep(WARM_SECONDS)
    for name in ("edge-1", "group-1"):
        began = run.note(f"kill {name}")
        print(f"kill -9 {name}", flush=True)
        cluster.processes[name].kill()
        time.sleep(DOWN_SECONDS)
        cluster.processes[name].start()
        cluster.processes[name].wait_ready(60.0)
        found.append((f"kill {name}", began, run.note(f"{name} serves again")))
        time.sleep(BETWEEN_SECONDS)
    began = run.note("flush redis")
    print("FLUSHALL", flush=True)
    server = cluster.backends.redis.server
    with redis.Redis(port=server.port, socket_timeout=10.0) as client:  # type: ignore[attr-defined]
        client.flushall()
    found.append(("flush redis", began, began))
    time.sleep(BETWEEN_SECONDS)
    return found


def measure(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple[BenchReport, list[tuple[str, BenchEvent, BenchEvent]]]:
    """Runs it once."""
    edge = {"reconnect_base_ms": "1000", "reconnect_max_ms": "10000", "heartbeat_interval_ms": "30000"}
    plan = ClusterPlan(default_group="", restart_dead=False, flags={"edge": edge})
    with Cluster(folder, plan, say=print) as cluster:
        bench = plan_for(
            cluster,
            groups=1,
            receivers=arguments.receivers,
            senders=arguments.senders,
            rate=arguments.rate,
            seconds=3_600.0,
            workers=arguments.workers,
            ramp=arguments.ramp,
            settle_seconds=60.0,
            seed=arguments.seed,
        )
        with BenchRun(bench) as run:
            wait_taking_part(run)
            events = break_things(cluster, run)
            run.stop()
            return run.wait(300.0), events


def main() -> int:
    """Runs and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, default=10_000)
    parser.add_argument("--senders", type=int, default=10)
    parser.add_argument("--rate", type=float, default=10.0, help="messages per second")
    parser.add_argument("--ramp", type=float, default=400.0, help="connections opened per second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    allow_files(arguments.receivers * 2)
    with tempfile.TemporaryDirectory(prefix="throng-10k-") as folder:
        report, events = measure(arguments, pathlib.Path(folder))
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "chaos-10k.json").write_text(report.to_json(), encoding="utf-8")
    print(report.summary())
    print(
        "\n| fault | → ACK | → delivery | → all at head | after it serves again: → all at head |\n| --- | --- | --- | --- | --- |"
    )
    for place, (name, began, healed) in enumerate(events):
        until = events[place + 1][1] if place + 1 < len(events) else next(one for one in report.events if one.name == "stopped")
        one, two = report.recovery_after(began, until=until), report.recovery_after(healed, until=until)
        print(
            f"| {name} | {one.first_ack_seconds} | {one.first_delivery_seconds} | {one.all_at_head_seconds} | {two.all_at_head_seconds} |"
        )
    return 0 if all_arrived(report) else 1


if __name__ == "__main__":
    raise SystemExit(main())
