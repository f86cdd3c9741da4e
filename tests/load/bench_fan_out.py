"""Measures the fan-out of one edge process beside a bare C loop and plain Tornado, in one run on this machine.

One group, one neutral C client in a process of its own that checks the order. Figures are deliveries per CPU second of the server
process, so they say what one core can do even where client and server share cores. Other load on the machine moves all three: read
the ratios. Ends by itself.

    python tests/load/bench_fan_out.py [--sockets 5000] [--seconds 3] [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
WINDOWS = (1, 8, 64)
TITLES = {
    "floor": "C floor: epoll and send(2), no heartbeat, no outbox",
    "edge": "Throng's edge, pure Python: hub and sessions, every socket a user who entered the group",
    "hub": "Throng's hub alone",
    "tornado": "Tornado write_message in a loop",
}


@dataclass
class Figures:
    """What one server did; per window, a figure per round."""

    per_cpu_second: dict[int, list[float]] = field(default_factory=dict)
    per_second: dict[int, list[float]] = field(default_factory=dict)
    out_of_order: int = 0
    kb_per_idle_connection: list[float] = field(default_factory=list)

    def median(self, window: int) -> float:
        """The middle of the rounds."""
        return statistics.median(self.per_cpu_second[window])


def compile_instruments(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    """Builds client and floor; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    built = []
    for name in ("fan_out_client", "fan_out_floor"):
        subprocess.run([compiler, "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
        built.append(folder / name)
    return built[0], built[1]


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError(f"no VmRSS of {pid}")


def measure(command: list[str], client: pathlib.Path, figures: Figures, options: argparse.Namespace) -> None:
    """One round of one server, in a process of its own."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT)
    try:
        assert server.stdout is not None
        ports = server.stdout.readline().split()
        time.sleep(0.3)  # lets the start-up settle before memory is read; nothing depends on it
        before_kb = resident_kb(server.pid)
        arguments = [*ports, server.pid, options.sockets, options.bytes, options.seconds, *WINDOWS]
        reader = subprocess.Popen([client, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert reader.stdin is not None
            assert reader.stdout is not None
            if reader.stdout.readline().strip() != "ready":
                raise RuntimeError("the client could not connect")
            time.sleep(0.3)
            figures.kb_per_idle_connection.append((resident_kb(server.pid) - before_kb) / options.sockets)
            output, _ = reader.communicate("go\n", timeout=60 + len(WINDOWS) * (options.seconds + 30))
        finally:
            reader.kill()
            reader.wait()
        if reader.returncode:
            raise RuntimeError("the client failed")
        for line in output.splitlines():
            window, deliveries, wall, cpu, out_of_order = line.split()
            figures.per_cpu_second.setdefault(int(window), []).append(int(deliveries) / max(float(cpu), 0.01))
            figures.per_second.setdefault(int(window), []).append(int(deliveries) / float(wall))
            figures.out_of_order = max(figures.out_of_order, int(out_of_order))
        server.wait(30)
    finally:
        server.kill()
        server.wait()


def table(results: dict[str, Figures]) -> str:
    """The figures for people, each with its ratios."""
    lines = ["| server | in flight | deliveries per CPU second | of C floor | of Tornado | deliveries per second | out of order |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, figures in results.items():
        for window in WINDOWS:
            median = figures.median(window)
            ratios = [f"{median / results[base].median(window):.2f}" if base in results else "-" for base in ("floor", "tornado")]
            wall = statistics.median(figures.per_second[window])
            lines.append(f"| {name} | {window} | {median:,.0f} | {' | '.join(ratios)} | {wall:,.0f} | {figures.out_of_order} |")
    lines += ["", *(f"{name}: {TITLES[name]}" for name in results), ""]
    for name, figures in results.items():
        if name != "floor":
            lines.append(f"{name}: {statistics.median(figures.kb_per_idle_connection):.2f} KB of user memory per idle connection")
    return "\n".join(lines)


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
        servers = str(HERE / "fan_out_servers.py")
        commands = {
            "floor": [str(floor), str(options.bytes)],
            "edge": [sys.executable, servers, "edge", str(options.bytes)],
            "hub": [sys.executable, servers, "hub", str(options.bytes)],
            "tornado": [sys.executable, servers, "tornado", str(options.bytes)],
        }
        results = {name: Figures() for name in options.only}
        for _ in range(options.rounds):
            for name, figures in results.items():
                measure(commands[name], client, figures, options)
    print(f"{options.sockets} sockets, {options.bytes}-byte messages, {platform.platform()}, Python {platform.python_version()}\n")
    print(table(results))
    if options.json:
        document = {
            "sockets": options.sockets,
            "message_bytes": options.bytes,
            "servers": {k: asdict(v) for k, v in results.items()},
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(results[name].out_of_order for name in ("edge", "hub") if name in results))


if __name__ == "__main__":
    sys.exit(main())
