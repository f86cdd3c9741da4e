"""How newcomers are dealt out when an edge appears: its share over time, and where a storm between two of its reports goes.

Starts `throng up` and an edge with `--held` clients; then `--rate` newcomers a second ask a router for an edge, connect there and stay. After 10 s a second edge starts. Told is, for
every 3 s from its first client on, which part of the newcomers it got and how many came in its worst second. After 45 s of that, `--storm` newcomers ask at once: told is to where they were assigned, beside what
both edges held. The edge inside `throng up` has the weight 1 and takes hardly anybody. Ends by itself.

    python tests/load/bench_assign.py [--held 3000] [--rate 120] [--storm 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from typing import Any

import grpc

os.environ["THRONG_EDGE_WEIGHT"] = "1"  # of the edge inside `throng up`; the others are told otherwise

from crowd import Crowd
from edge_stage import EdgeStage, RunningEdge

from throng.api.router.v1 import router_pb2, router_pb2_grpc

GROUP = "everybody"
ALONE_SECONDS, SLICE_SECONDS, SLICES = 10.0, 3.0, 15


class Arrivals:
    """Newcomers who ask a router where to go."""

    def __init__(self, stage: EdgeStage) -> None:
        self._stage = stage
        self._channel = grpc.insecure_channel(stage.router_address)
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._crowds: dict[str, Crowd] = {}
        self._number = 0
        self.log: list[tuple[float, str]] = []

    def one(self) -> str:
        """One newcomer asks, and begins to connect."""
        edge_id = self.ask()
        self._crowd(self._url).come(GROUP)
        self.log.append((time.monotonic(), edge_id))
        return edge_id

    def ask(self) -> str:
        """One newcomer asks."""
        assigned = self._stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=5)
        self._url = assigned.public_url.removeprefix("ws://")
        return str(assigned.edge_id)

    def run(self, seconds: float, rate: float) -> None:
        """Newcomers come at an even pace."""
        began = time.monotonic()
        came = 0
        while (passed := time.monotonic() - began) < seconds:
            while came < passed * rate:
                self.one()
                came += 1
            for crowd in list(self._crowds.values()):
                crowd.pump(0.001)

    def fill(self, edge: RunningEdge, clients: int) -> None:
        """So many clients are at an edge, whatever the router thinks."""
        crowd = self._crowd(edge.address)
        crowd.prepare(f"held-{number}" for number in range(clients))
        crowd.come_all(clients, GROUP)

    def close(self) -> None:
        """All leave."""
        for crowd in self._crowds.values():
            crowd.close()
        self._channel.close()

    def _crowd(self, address: str) -> Crowd:
        crowd = self._crowds.get(address)
        if crowd is None:
            crowd = self._crowds[address] = Crowd(address, self._stage.issuer)
        self._number += 1
        crowd.prepare([f"newcomer-{self._number}"])
        return crowd


def measure(stage: EdgeStage, options: argparse.Namespace) -> dict[str, Any]:
    """Runs it."""
    stage.make_group(GROUP)
    arrivals = Arrivals(stage)
    arrivals.fill(stage.measured, options.held)
    arrivals.run(ALONE_SECONDS, options.rate)
    edges: list[RunningEdge] = []
    starting = threading.Thread(target=lambda: edges.append(stage.add_edge("new")))
    starting.start()
    arrivals.run(SLICES * SLICE_SECONDS + 3.0, options.rate)
    starting.join()
    first = next((at for at, edge_id in arrivals.log if edge_id == "new"), 0.0)
    since = [(at - first, edge_id) for at, edge_id in arrivals.log if at >= first]
    slices = []
    for number in range(SLICES):
        part = [edge_id for at, edge_id in since if number <= at / SLICE_SECONDS < number + 1]
        slices.append(round(part.count("new") / max(1, len(part)), 3))
    worst = Counter(int(at) for at, edge_id in since if edge_id == "new")
    held = {"measured": int(stage.metrics()["throng_edge_connections"]), "new": int(edges[0].metrics()["throng_edge_connections"])}
    began = time.monotonic()
    storm = Counter(arrivals.ask() for _ in range(options.storm))
    figures = {
        "share_each_3_s": slices,
        "most_in_a_second": max(worst.values()),
        "held_before_storm": held,
        "storm": dict(storm),
        "storm_seconds": round(time.monotonic() - began, 2),
        "would_hold": {name: held[name] + storm[name] for name in held},
    }
    arrivals.close()
    return figures


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", type=int, default=3_000, help="clients of the edge that is there first")
    parser.add_argument("--rate", type=float, default=120.0, help="newcomers per second")
    parser.add_argument("--storm", type=int, default=2_000, help="newcomers who ask at once at the end")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage = EdgeStage(pathlib.Path(folder), {"weight": "0"})
        try:
            stage.start()
            figures = measure(stage, options)
        finally:
            stage.stop()
    figures["machine"] = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
