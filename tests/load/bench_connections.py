"""What an idle connection costs a real edge process, or several that share a port: upgrade, JWT, session, one group entered, pings answered.

Starts `throng up` and a `throng edge` of its own, brings some clients in and out first (so that what is only ever made once is not counted),
then as many as asked for, each a user of its own; reads the edge's memory before, with all of them, after heartbeats, and when all have gone. One
more client is refused when the edge is full. Ends by itself.

    python tests/load/bench_connections.py [--sockets 19900] [--edges 1] [--hold 65] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import sys
import time
from typing import Any

from crowd import Crowd, cpu_seconds, kernel_kb, memory_kb
from edge_stage import EdgeStage, RunningEdge, running_edge

from throng.testing.servers import free_port

WARM = 1_000
GROUP = "everybody"


def sample(edges: list[RunningEdge]) -> dict[str, int]:
    """User memory of the edges together, kernel memory of the machine."""
    each = [memory_kb(edge.process.pid) for edge in edges]
    return {name: sum(memory[name] for memory in each) for name in each[0]} | kernel_kb()


def cpu(edges: list[RunningEdge]) -> float:
    """CPU seconds of the edges together."""
    return sum(cpu_seconds(edge.process.pid) for edge in edges)


def total(edges: list[RunningEdge], name: str) -> float:
    """A metric of all edges."""
    return sum(edge.metrics()[name] for edge in edges)


def fill(stage: EdgeStage, options: argparse.Namespace) -> dict[str, Any]:
    """Measures around one filling."""
    edges = [stage.measured, *(stage.add_edge(f"measured-{number}") for number in range(2, options.edges + 1))]
    stage.make_group(GROUP)
    crowd = Crowd(stage.address, stage.issuer)
    crowd.prepare(f"user-{number:06}" for number in range(WARM + options.sockets + 1))
    crowd.come_all(WARM, GROUP)
    for member in list(crowd.members.values()):
        crowd.go(member)
    time.sleep(3)
    figures: dict[str, Any] = {"before": sample(edges)}
    began, spent = time.monotonic(), cpu(edges)
    crowd.come_all(options.sockets, GROUP, seconds=options.sockets / 100)
    figures["seconds"] = time.monotonic() - began
    figures["cpu_seconds"] = cpu(edges) - spent
    figures["clients_of_each"] = [int(edge.metrics()["throng_edge_connections"]) for edge in edges]
    crowd.pump(3)
    figures["full"] = sample(edges)
    spent = cpu(edges)
    crowd.pump(options.hold)
    figures["held"] = sample(edges)
    figures["idle_cpu_share"] = (cpu(edges) - spent) / options.hold
    figures["pings"] = total(edges, "throng_edge_pings_total")
    figures["closed"] = options.sockets - len(crowd.members)
    if options.sockets == options.limit and options.edges == 1:
        crowd.come(GROUP)
        crowd.pump(2)
        figures["one_more"] = crowd.refused[-1] if crowd.refused else "let in"
    crowd.close()
    deadline = time.monotonic() + 30
    while total(edges, "throng_edge_connections") and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(2)
    figures["gone"] = sample(edges)
    return figures


def show(figures: dict[str, Any], sockets: int) -> None:
    """The figures for people."""
    before, held = figures["before"], figures["held"]
    print(f"{sockets} clients in {figures['seconds']:.1f} s, {sockets / figures['cpu_seconds']:,.0f} per CPU second of the edge")
    print("\n| KB | before | all in | after heartbeats | all gone | per connection, all in | after heartbeats |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in before:
        values = [figures[moment][name] for moment in ("before", "full", "held", "gone")]
        grown = [(value - values[0]) / sockets for value in values[1:3]]
        print(f"| {name} | {' | '.join(f'{value:,}' for value in values)} | {grown[0]:.2f} | {grown[1]:.2f} |")
    print("\nslab, buffers, sockets: of the whole machine, clients' ends included")
    print(
        f"{figures['pings']:.0f} pings, {figures['closed']} clients lost, {figures['idle_cpu_share'] * 100:.1f} % of a core while idle"
    )
    if "one_more" in figures:
        print(f"one more: {figures['one_more']}")
    print(f"clients of each process: {figures['clients_of_each']}")
    print(f"{(held['Pss'] - before['Pss']) / sockets:.2f} KB of user memory (Pss) per idle connection")


def main() -> int:
    """Runs the benchmark; 1 when clients were lost or a connection costs more than 2 KB of user memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sockets", type=int, default=19_900)
    parser.add_argument("--limit", type=int, default=19_900, help="max_connections of the edge")
    parser.add_argument("--edges", type=int, default=1, help="edge processes, which share one port if there are several")
    parser.add_argument("--hold", type=float, default=65.0, help="seconds to stay connected; two heartbeats take 60")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}")
    flags = {"max_connections": str(options.limit)}
    if options.edges > 1:
        flags |= {"port": str(free_port()), "reuse_port": "true"}
    with running_edge(**flags) as stage:
        figures = fill(stage, options)
    show(figures, options.sockets)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    per_connection = (figures["held"]["Pss"] - figures["before"]["Pss"]) / options.sockets
    return int(figures["closed"] > 0 or per_connection > 2.0)


if __name__ == "__main__":
    sys.exit(main())
