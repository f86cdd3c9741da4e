"""A load of `throng bench` on a cluster that runs on this machine: what it needs, and whether all of it arrived."""

from __future__ import annotations

import resource
from typing import Any

from throng.bench import BenchPlan, BenchReport, BenchRun
from throng.cluster import Cluster


def plan_for(cluster: Cluster, **fields: Any) -> BenchPlan:
    """Where the clients connect, where groups are made and with which key; the load itself is given by `fields`."""
    return BenchPlan(
        urls=tuple(cluster.edge_urls()),
        group_address=",".join(process.addresses.grpc for process in cluster.of("group")),
        jwt_secret_file=cluster.key_file,
        **fields,
    )


def wait_taking_part(run: BenchRun) -> None:
    """Returns when every client takes part and messages are sent; ends the program when they do not come."""
    if not run.wait_sending(run.plan.connect_limit_seconds + 30.0):
        raise SystemExit("the receivers did not all enter")
    print(f"{run.progress.online:,} clients take part", flush=True)


def allow_files(needed: int) -> None:
    """Lets this process and its children have so many files open; ends the program where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        raise SystemExit(f"{hard} files may be open in a process; this needs {needed}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def all_arrived(report: BenchReport) -> bool:
    """Every message at every receiver, as promised, and every submission answered."""
    whole = not report.deliveries.missing and not report.deliveries.offline and report.deliveries.expected > 0
    faults = [kind for kind, count in report.counts.items() if count and kind.is_fault]
    return whole and not faults and not report.messages.unanswered
