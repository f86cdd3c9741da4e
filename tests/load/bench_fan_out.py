"""Measures the fan-out of one edge process beside a bare C loop and plain Tornado, in one run on this machine.

One group, one neutral C client in a process of its own that checks the order. Figures are deliveries per CPU second of the server
process, so they say what one core can do even where client and server share cores. Other load on the machine moves all of them: read
the ratios. In the end five messages come each second, and it is the time that counts from the asking for one until the last member has
it, beside the time that the floor's sends of one message to all take by themselves. Ends by itself.

    python tests/load/bench_fan_out.py [--sockets 5000] [--seconds 3] [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from c_programs import compiled

from edge.native.build import build

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
WINDOWS = (1, 8, 64)
PACED = -5
BLOCK = 10
TITLES = {
    "floor": "C floor: epoll and send(2), no heartbeat, no outbox",
    "edge": "Throng's edge, pure Python: hub and sessions, every socket a user who entered the group",
    "edge-blocks": f"the same with blocks of {BLOCK} messages",
    "native": "Throng's edge with the compiled loop",
    "ring": "Throng's edge with the compiled loop by io_uring",
    "native-blocks": f"the same with blocks of {BLOCK} messages",
    "hub": "Throng's hub alone",
    "tornado": "Tornado write_message in a loop",
}


@dataclass
class Figures:
    """What one server did; per window, a figure per round."""

    per_cpu_second: dict[int, list[float]] = field(default_factory=dict)
    per_second: dict[int, list[float]] = field(default_factory=dict)
    out_of_order: int = 0
    to_last_us: list[int] = field(default_factory=list)
    """From the asking until the last member had it, for each paced message of all rounds."""
    bare_us: list[int] = field(default_factory=list)
    """What the sends alone took, where the server tells."""
    kb_per_idle_connection: list[float] = field(default_factory=list)

    def median(self, window: int) -> float:
        """The middle of the rounds."""
        return statistics.median(self.per_cpu_second[window])


def compile_instruments(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    """Builds client and floor; None without a C compiler."""
    built = compiled(folder, HERE / "fan_out_client.c", HERE / "fan_out_floor.c")
    return (built[0], built[1]) if built else None


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError(f"no VmRSS of {pid}")


def windows_of(name: str) -> tuple[int, ...]:
    """What a server is measured at."""
    return (1,) if name.endswith("blocks") else WINDOWS if name in ("hub", "tornado") else (*WINDOWS, PACED)


def measure(name: str, command: list[str], client: pathlib.Path, figures: Figures, options: argparse.Namespace) -> None:
    """One round of one server, in a process of its own."""
    windows, block = windows_of(name), BLOCK if name.endswith("blocks") else 1
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT)
    try:
        assert server.stdout is not None
        ports = server.stdout.readline().split()
        time.sleep(0.3)  # lets the start-up settle before memory is read; nothing depends on it
        before_kb = resident_kb(server.pid)
        arguments = [*ports, server.pid, options.sockets, options.bytes, options.seconds, *windows]
        reader = subprocess.Popen([client, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert reader.stdin is not None
            assert reader.stdout is not None
            if reader.stdout.readline().strip() != "ready":
                raise RuntimeError("the client could not connect")
            time.sleep(0.3)
            figures.kb_per_idle_connection.append((resident_kb(server.pid) - before_kb) / options.sockets)
            output, _ = reader.communicate("go\n", timeout=60 + len(windows) * (3 * options.seconds + 30))
        finally:
            reader.kill()
            reader.wait()
        if reader.returncode:
            raise RuntimeError("the client failed")
        for line in output.splitlines():
            window, deliveries, wall, cpu, out_of_order, *times_us = line.split()
            figures.out_of_order = max(figures.out_of_order, int(out_of_order))
            figures.to_last_us += map(int, times_us)
            if int(window) > 0:
                figures.per_cpu_second.setdefault(int(window), []).append(block * int(deliveries) / max(float(cpu), 0.01))
                figures.per_second.setdefault(int(window), []).append(block * int(deliveries) / float(wall))
        told, _ = server.communicate(timeout=30)
        figures.bare_us += [int(each) for each in told.split()[-int(-PACED * 3 * options.seconds) :]]
    finally:
        server.kill()
        server.wait()


def table(results: dict[str, Figures]) -> str:
    """The figures for people, each with its ratios."""
    lines = ["| server | in flight | deliveries per CPU second | of C floor | of Tornado | deliveries per second | out of order |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, figures in results.items():
        for window in filter(lambda window: window > 0, windows_of(name)):
            median = figures.median(window)
            ratios = [f"{median / results[base].median(window):.2f}" if base in results else "-" for base in ("floor", "tornado")]
            wall = statistics.median(figures.per_second[window])
            lines.append(f"| {name} | {window} | {median:,.0f} | {' | '.join(ratios)} | {wall:,.0f} | {figures.out_of_order} |")
    lines += ["", *times(results), "", *(f"{name}: {TITLES[name]}" for name in results), ""]
    for name, figures in results.items():
        if name != "floor":
            lines.append(f"{name}: {statistics.median(figures.kb_per_idle_connection):.2f} KB of user memory per idle connection")
    return "\n".join(lines)


def times(results: dict[str, Figures]) -> list[str]:
    """How long a message takes to the last member at five per second."""
    lines = [
        "| server | from asking to the last member: p50 ms | p99 ms | sends alone: p50 ms | p99 ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, figures in results.items():
        cells = [
            f"{percentile(times, share) / 1000:.1f}" if times else "-"
            for times in (figures.to_last_us, figures.bare_us)
            for share in (0.5, 0.99)
        ]
        if figures.to_last_us:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def percentile(values: list[int], share: float) -> int:
    """The value that `share` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def main() -> int:
    """Runs the benchmark; 1 when the edge or the hub lost the order, 2 without a C compiler."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sockets", type=int, default=5_000)
    parser.add_argument("--bytes", type=int, default=208, help="payload of a message, 8 to 4000")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring per server and window")
    parser.add_argument("--rounds", type=int, default=1, help="servers take turns; medians are shown")
    parser.add_argument("--only", nargs="*", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    options = parser.parse_args()
    wanted = options.sockets + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        instruments = compile_instruments(pathlib.Path(folder))
        if instruments is None:
            print("bench_fan_out needs a C compiler (cc) for its client", file=sys.stderr)
            return 2
        client, floor = instruments
        library = str(build(pathlib.Path(folder)))
        servers = str(HERE / "fan_out_servers.py")
        commands = {
            "floor": [str(floor), str(options.bytes)],
            "edge": [sys.executable, servers, "edge", str(options.bytes)],
            "edge-blocks": [sys.executable, servers, "edge", str(options.bytes), str(BLOCK)],
            "native": [sys.executable, servers, "edge", str(options.bytes), "1", library],
            "ring": [sys.executable, servers, "edge", str(options.bytes), "1", library, "ring"],
            "native-blocks": [sys.executable, servers, "edge", str(options.bytes), str(BLOCK), library],
            "hub": [sys.executable, servers, "hub", str(options.bytes)],
            "tornado": [sys.executable, servers, "tornado", str(options.bytes)],
        }
        results = {name: Figures() for name in options.only}
        for _ in range(options.rounds):
            for name, figures in results.items():
                measure(name, commands[name], client, figures, options)
    print(f"{options.sockets} sockets, {options.bytes}-byte messages, {platform.platform()}, Python {platform.python_version()}\n")
    print(table(results))
    if options.json:
        document = {
            "sockets": options.sockets,
            "message_bytes": options.bytes,
            "servers": {k: asdict(v) for k, v in results.items()},
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(figures.out_of_order for name, figures in results.items() if name not in ("floor", "tornado")))


if __name__ == "__main__":
    sys.exit(main())
