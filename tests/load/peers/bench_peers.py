"""Sets Throng beside other servers of WebSocket rooms: one neutral client, one room, one machine, one run.

Every server runs on the first core and the client on the second. The client checks every message at every member: lost, duplicated
and out of order are counted, not assumed. Peers are optional: those that are not installed are named and left out. Ends by itself.

    python tests/load/peers/bench_peers.py [--members 5000] [--rounds 3] [--only throng nchan …] [--out FOLDER] [--no-install]

Writes `peers.json` (every phase of every round), `peers.md` (the table) and `peers-*.svg` (the plots) to the folder.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from html import escape
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import install_peers
from c_programs import compiled
from peers import HERE, Peer, all_peers, pinned

PHASES = ("idle:2", "closed:1:4", "closed:8:4", "closed:64:4", "rate:5:8")
FAULTS = ("lost", "duplicated", "reordered", "disagreeing", "disconnected")
"""`reordered`: messages of one publisher; `disagreeing`: members whose order of all messages is not that of the others."""

_CLIENT_SECONDS = 240
_FLOOR = "floor"


@dataclass
class Figures:
    """What one peer did, a list per figure with an entry per round."""

    peer: Peer
    values: dict[str, list[float]] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def add(self, phase: dict[str, Any]) -> None:
        """Takes one line of the client."""
        self.phases.append(phase)
        kind = phase["phase"]
        if kind == "connect":
            self._note("handshakes per CPU second", phase["handshakes_per_cpu_second"])
            self._note("KB per connection", phase["kb_per_connection"])
            return
        if kind.startswith("closed:"):
            window = kind.split(":")[1]
            self._note(f"deliveries per CPU second, {window} in flight", phase["deliveries_per_cpu_second"])
            self._note(f"deliveries per second, {window} in flight", phase["deliveries_per_second"])
        if kind.startswith("rate:"):
            self._note("last receiver p50, ms", phase["last_p50_ms"])
            self._note("last receiver p99, ms", phase["last_p99_ms"])
        for name in FAULTS:
            self._note(name, phase[name])

    def _note(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def median(self, name: str) -> float | None:
        """The middle of the rounds; None when it was not measured."""
        return statistics.median(self.values[name]) if self.values.get(name) else None

    def most(self, name: str) -> float:
        """The worst of the rounds."""
        return max(self.values.get(name, [0]))


def compile_instruments(folder: pathlib.Path) -> bool:
    """Builds the client and the floor; False without a C compiler."""
    return compiled(folder, HERE / "room_client.c", HERE / "servers" / "floor.c") is not None


def measure(figures: Figures, instruments: pathlib.Path, options: argparse.Namespace) -> None:
    """One round of one peer; what goes wrong is noted, and the bench goes on with the next one."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            with figures.peer.run(folder, options.members) as running:
                servers = ",".join(map(str, running.pids))
                fixed = [
                    "--members",
                    str(options.members),
                    "--bytes",
                    str(options.bytes),
                    "--server",
                    servers,
                    "--label",
                    figures.peer.name,
                ]
                command = [str(instruments / "room_client"), *fixed, *running.arguments, *PHASES]
                done = subprocess.run(pinned(command, 1), stdout=subprocess.PIPE, text=True, timeout=_CLIENT_SECONDS, check=False)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            figures.problem = str(error)[:300]
            print(f"{figures.peer.name}: {figures.problem}", file=sys.stderr)
            return
    for line in done.stdout.splitlines():
        figures.add(json.loads(line))
    if done.returncode:
        figures.problem = f"the client ended with {done.returncode}"
    _tell(figures)


def _tell(figures: Figures) -> None:
    one, eight = (figures.values.get(f"deliveries per CPU second, {window} in flight", [0])[-1] for window in (1, 8))
    bad = sum(figures.most(name) for name in FAULTS)
    print(
        f"{figures.peer.name:14} {one:9,.0f} /CPU s, 8 in flight {eight:9,.0f}{'' if not bad else ', NOT all delivered in order'}",
        flush=True,
    )


def table(results: dict[str, Figures]) -> str:
    """The figures for people."""
    head = (
        "| server | kept | per CPU second, 1 in flight | of the C loop | 8 in flight | 64 in flight | sustained per second (8) | last receiver p50, p99"
        " | KB per idle connection | handshakes per CPU second | lost, twice, out of order, members of another order, cut off |"
    )
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    floor = results[_FLOOR].median("deliveries per CPU second, 1 in flight") if _FLOOR in results else None
    ranked = sorted(results.values(), key=lambda figures: -(figures.median("deliveries per CPU second, 1 in flight") or 0))
    for figures in ranked:
        one = figures.median("deliveries per CPU second, 1 in flight")
        if one is None:
            continue
        eight, many = (figures.median(f"deliveries per CPU second, {window} in flight") or 0 for window in (8, 64))
        sustained = figures.median("deliveries per second, 8 in flight") or 0
        p50, p99 = figures.median("last receiver p50, ms") or 0, figures.median("last receiver p99, ms") or 0
        kb, handshakes = figures.median("KB per connection") or 0, figures.median("handshakes per CPU second") or 0
        faults = ", ".join(f"{figures.most(name):,.0f}" for name in FAULTS)
        ratio = f"{one / floor:.2f}" if floor else "-"
        lines.append(
            f"| {figures.peer.title} | {figures.peer.durable} | {one:,.0f} | {ratio} | {eight:,.0f} | {many:,.0f} | {sustained:,.0f}"
            f" | {p50:.0f}, {p99:.0f} ms | {kb:.2f} | {handshakes:,.0f} | {faults} |"
        )
    return "\n".join(lines)


def bars(results: dict[str, Figures], name: str, *, smaller_is_better: bool = False) -> str:
    """One figure of all peers as an SVG of bars, best first."""
    shown = [(figures.peer.title, value) for figures in results.values() if (value := figures.median(name)) is not None]
    shown.sort(key=lambda each: each[1] if smaller_is_better else -each[1])
    most = max([value for _, value in shown] or [1]) or 1
    width, row, left = 820, 24, 330
    height = 48 + row * len(shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="22" font-size="14">{escape(name)}</text>',
    ]
    for number, (title, value) in enumerate(shown):
        top = 36 + row * number
        length = max(1.0, (width - left - 100) * value / most)
        colour = "#1f6feb" if title.startswith("Throng") else "#8c959f"
        parts.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(title)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{row - 7}" fill="{colour}"/>')
        parts.append(
            f'<text x="{left + length + 6:.1f}" y="{top + 13}">{value:,.0f}</text>'
            if value >= 100
            else f'<text x="{left + length + 6:.1f}" y="{top + 13}">{value:.2f}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


PLOTS = {
    "one-in-flight": ("deliveries per CPU second, 1 in flight", False),
    "eight-in-flight": ("deliveries per CPU second, 8 in flight", False),
    "memory": ("KB per connection", True),
    "last-receiver": ("last receiver p99, ms", True),
    "handshakes": ("handshakes per CPU second", False),
}


def write(results: dict[str, Figures], left_out: dict[str, str], options: argparse.Namespace) -> str:
    """Writes data, table and plots; returns the table with what belongs to it."""
    told = [f"- {title}: left out, {reason}" for title, reason in left_out.items()]
    told += [f"- {figures.peer.title}: {figures.problem}" for figures in results.values() if figures.problem]
    machine = f"{options.members} members, {options.bytes}-byte messages, {options.rounds} rounds, {platform.platform()}, Python {platform.python_version()}"
    text = "\n".join([machine, "", table(results), "", *told])
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "peers.md").write_text(text + "\n", encoding="utf-8")
    phases = {name: figures.phases for name, figures in results.items()}
    document = {"members": options.members, "message_bytes": options.bytes, "left_out": left_out, "phases": phases}
    (options.out / "peers.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for file, (name, smaller) in PLOTS.items():
        (options.out / f"peers-{file}.svg").write_text(bars(results, name, smaller_is_better=smaller), encoding="utf-8")
    return text


def main() -> int:
    """Runs the bench; 1 when Throng lost, doubled or misordered anything, 2 without a C compiler."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--members", type=int, default=5_000)
    parser.add_argument("--bytes", type=int, default=208, help="text of a message, 14 to 4000")
    parser.add_argument("--rounds", type=int, default=3, help="peers take turns; medians are shown")
    parser.add_argument("--only", nargs="*", help="names of peers")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("artifacts") / "bench")
    parser.add_argument("--no-install", action="store_true", help="fetch no peers")
    options = parser.parse_args()
    if not options.no_install:
        install_peers.main()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        instruments = pathlib.Path(name)
        if not compile_instruments(instruments):
            print("bench_peers needs a C compiler (cc) for its client", file=sys.stderr)
            return 2
        peers = [peer for peer in all_peers(instruments) if not options.only or peer.name in options.only]
        left_out = {peer.title: peer.missing for peer in peers if peer.missing}
        results = {peer.name: Figures(peer) for peer in peers if not peer.missing}
        for _ in range(options.rounds):
            for figures in results.values():
                measure(figures, instruments, options)
    print(f"\n{write(results, left_out, options)}\n\nwritten to {options.out}/peers.md, peers.json, peers-*.svg")
    ours = [figures for name, figures in results.items() if name.startswith("throng")]
    return int(any(figures.problem or figures.most(name) for figures in ours for name in FAULTS))


if __name__ == "__main__":
    raise SystemExit(main())
