"""How long things took to be well again after each fault, as a table."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from throng.bench import BenchReport
from throng.bench.series import SLOT_NS, STALE_LIMIT_NS, Recovery

HEADER = (
    "| fault | held | fault → ACK | fault → delivery | fault → all at head | heal → ACK | heal → delivery | heal → all at head "
    "| longest silence of ACKs | refused to two probes | largest service |"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault of one round. Times in seconds; None: not before the next fault."""

    round: str
    fault: str
    held_seconds: float
    from_fault: Recovery
    from_heal: Recovery
    all_at_head_seconds: float | None
    healed_seconds: float | None
    silence_seconds: float
    most_mebibytes: float
    refusals: int

    def text(self) -> str:
        """As a line of the table."""
        first, second = self.from_fault, self.from_heal
        cells = [
            self.fault,
            f"{self.held_seconds:.1f}",
            *map(
                _cell,
                (
                    first.first_ack_seconds,
                    first.first_delivery_seconds,
                    self.all_at_head_seconds,
                    second.first_ack_seconds,
                    second.first_delivery_seconds,
                    self.healed_seconds,
                ),
            ),
            f"{self.silence_seconds:.1f}",
            str(self.refusals),
            f"{self.most_mebibytes:.0f} MiB",
        ]
        return f"| {' | '.join(cells)} |"


def _cell(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"


def silence_seconds(report: BenchReport, from_ns: int, until_ns: int | None) -> float:
    """The longest time without any ACK between two moments of the monotonic clock."""
    longest = run = 0
    for slot in report.slots:
        at_ns = report.origin_ns + slot.index * SLOT_NS
        if at_ns < from_ns or (until_ns is not None and at_ns > until_ns):
            continue
        run = 0 if slot.acked else run + 1
        longest = max(longest, run)
    return longest * SLOT_NS / 1e9


def healed_seconds(report: BenchReport, since_ns: int, until_ns: int | None) -> float | None:
    """Seconds from a moment until receivers were at the head and stayed there; None: they were not when the next fault came."""
    last_bad, ends_bad = 0.0, False
    for slot in report.slots:
        end_ns = report.origin_ns + (slot.index + 1) * SLOT_NS
        if end_ns <= since_ns or (until_ns is not None and end_ns > until_ns):
            continue
        ends_bad = slot.receivers_online < int(report.plan["receivers"]) or slot.stale_ns > STALE_LIMIT_NS
        if ends_bad:
            last_bad = (end_ns - since_ns) / 1e9
    return None if ends_bad else round(last_bad, 2)


def write(rows: Sequence[Row], folder: pathlib.Path, name: str) -> pathlib.Path:
    """Writes `name`.md and `name`.json; returns the former."""
    lines = [HEADER, "|" + " --- |" * HEADER.count(" |"), *(row.text() for row in rows)]
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = {"schema": "throng-recovery", "version": 1, "rows": [asdict(row) for row in rows]}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path
