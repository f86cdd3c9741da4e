"""Connects and leaves, for an hour, as fast as an edge lets in or at a given pace: does anything stay behind?

Starts `throng up` and a `throng edge` of its own. `--stay` clients are in one group at any time; whenever a new one has entered, the oldest leaves, every second one
without a close frame. Nine of ten are users that come back again and again (`--users` of them), the tenth was never there before. Every `--every` seconds
coming stops, until exactly `--stay` are left, and the edge's memory is read: user memory (Pss, private, resident) and what the kernel of the whole machine holds
beside it (slab, socket buffers, sockets, sockets in TIME_WAIT). The first sample comes after everybody was there once. Ends by itself.

    python tests/load/bench_churn.py [--minutes 60] [--stay 2000] [--users 20000] [--every 30] [--per-second N] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pathlib
import platform
import sys
import time
from collections import deque
from typing import Any

from crowd import Crowd, Member, cpu_seconds, kernel_kb, memory_kb
from edge_stage import EdgeStage, running_edge

GROUP = "everybody"
UNDER_WAY = 96
SETTLE_SECONDS = 2.0
ALLOWED_GROWTH = 0.03


class Churn:
    """Clients that come and go."""

    def __init__(self, stage: EdgeStage, *, users: int, stay: int) -> None:
        self.crowd = Crowd(stage.address, stage.issuer)
        self.came = self.refused = 0
        self._stay = stay
        self._present: deque[Member] = deque()
        self._coming: list[Member] = []
        self._known = itertools.cycle(range(users))
        self._strangers = itertools.count()

    def run(self, seconds: float, *, per_second: float = 0.0) -> None:
        """Comes and goes for so long, so many a second; 0.0: as fast as the edge lets in."""
        began, came_before = time.monotonic(), self.came
        while (passed := time.monotonic() - began) < seconds:
            due = passed * per_second - (self.came - came_before) if per_second else UNDER_WAY
            self._turn(min(UNDER_WAY, max(0, round(due))))
            if per_second:
                time.sleep(0.02)

    def settle(self) -> None:
        """Lets those under way in, until exactly as many as shall stay are there."""
        deadline = time.monotonic() + 60
        while self._coming or len(self._present) != self._stay:
            self._turn(1 if len(self._present) < self._stay else 0)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self._coming)} are still under way, {len(self._present)} are in")
        self.crowd.pump(SETTLE_SECONDS)

    def _turn(self, under_way: int) -> None:
        room = under_way - len(self._coming)
        if room > 0:
            self.crowd.prepare(self._name(self.came + number) for number in range(room))
            self._coming += [self.crowd.come(GROUP) for _ in range(room)]
        self.crowd.pump(0.005)
        still: list[Member] = []
        for member in self._coming:
            if member.entered:
                self.came += 1
                self._present.append(member)
            elif member.refused:
                self.refused += 1
                self.crowd.go(member, politely=False)
            elif member.fd in self.crowd.members:
                still.append(member)
        self._coming = still
        while len(self._present) > self._stay:
            self.crowd.go(self._present.popleft(), politely=bool(self.came % 2))

    def _name(self, number: int) -> str:
        return f"stranger-{next(self._strangers)}" if number % 10 == 0 else f"user-{next(self._known)}"


def sample(stage: EdgeStage, churn: Churn, began: float) -> dict[str, Any]:
    """One line of the table."""
    return {
        "seconds": round(time.monotonic() - began),
        "came": churn.came,
        **memory_kb(stage.pid),
        **kernel_kb(),
        "connections": int(stage.metrics()["throng_edge_connections"]),
    }


def measure(stage: EdgeStage, options: argparse.Namespace) -> dict[str, Any]:
    """Runs it."""
    stage.make_group(GROUP)
    churn = Churn(stage, users=options.users, stay=options.stay)
    while churn.came < options.users * 10 / 9 + options.stay:
        churn.run(1.0)
    churn.settle()
    began, cpu, came = time.monotonic(), cpu_seconds(stage.pid), churn.came
    samples = [sample(stage, churn, began)]
    while time.monotonic() - began < options.minutes * 60:
        churn.run(options.every, per_second=options.per_second)
        churn.settle()
        samples.append(sample(stage, churn, began))
        print(json.dumps(samples[-1]), flush=True)
    spent = cpu_seconds(stage.pid) - cpu
    figures = {
        "samples": samples,
        "came": churn.came - came,
        "refused": churn.refused,
        "per_second": round((churn.came - came) / (time.monotonic() - began)),
        "per_cpu_second": round((churn.came - came) / spent),
        "growth": growth(samples, "Private"),
        "bytes_per_connect": round(slope(samples, "Private") * 1024, 2),
        "open_files": len(os.listdir(f"/proc/{stage.pid}/fd")),
    }
    churn.crowd.close()
    return figures


def growth(samples: list[dict[str, Any]], name: str) -> float:
    """The mean of the last third above that of the first, as a part of it."""
    third = max(1, len(samples) // 3)
    first, last = (sum(each[name] for each in part) / len(part) for part in (samples[:third], samples[-third:]))
    return round(last / first - 1, 4)


def slope(samples: list[dict[str, Any]], name: str) -> float:
    """By least squares: KB for each client that came and went."""
    count = len(samples)
    xs, ys = [each["came"] for each in samples], [each[name] for each in samples]
    x_mean, y_mean = sum(xs) / count, sum(ys) / count
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def show(figures: dict[str, Any]) -> None:
    """The figures for people."""
    names = list(figures["samples"][0])
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for each in figures["samples"]:
        print(f"| {' | '.join(f'{each[name]:,}' for name in names)} |")
    print(
        f"\n{figures['came']:,} came and went, {figures['per_second']} a second, {figures['per_cpu_second']} per CPU second of the edge,"
        f" {figures['refused']} refused; private memory {figures['growth']:+.2%} from the first third to the last,"
        f" {figures['bytes_per_connect']:+} bytes per client that came"
    )


def main() -> int:
    """Runs the benchmark; 1 when the edge's private memory grew by more than 3 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--stay", type=int, default=2_000, help="clients that are in at any time")
    parser.add_argument("--users", type=int, default=20_000, help="users that come again and again")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two samples")
    parser.add_argument(
        "--per-second", type=float, default=0.0, help="clients that come in a second; 0: as many as the edge lets in"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    with running_edge() as stage:
        figures = measure(stage, options)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(figures["growth"] > ALLOWED_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
