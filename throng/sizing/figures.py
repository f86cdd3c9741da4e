"""The result of a sizing: figures by section, each with its formula, the assumptions, and warnings; as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from throng.sizing.assumptions import Assumption
from throng.sizing.crowd import Crowd

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `formula` in the words of docs/plan.md."""

    section: str
    name: str
    value: float
    unit: str
    formula: str


@dataclass(slots=True)
class Sizing:
    """What came out."""

    crowd: Crowd
    assumptions: list[Assumption]
    figures: list[Figure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, section: str, name: str, value: float, unit: str, formula: str) -> float:
        """Notes a figure and gives it back."""
        self.figures.append(Figure(section, name, value, unit, formula))
        return value

    def __getitem__(self, name: str) -> float:
        return next(figure.value for figure in self.figures if figure.name == name)

    def to_json(self) -> str:
        """Everything, in base units; docs/plan.md names the fields."""
        document: dict[str, Any] = {"schema": "throng-plan", "version": SCHEMA_VERSION, "asked": asdict(self.crowd)}
        document["figures"] = [asdict(figure) for figure in self.figures]
        document["assumptions"] = [asdict(one) for one in self.assumptions]
        document["warnings"] = self.warnings
        return json.dumps(document, indent=1) + "\n"

    def text(self) -> str:
        """For a person: what is needed, what it rests on, and what to know."""
        lines: list[str] = []
        section = ""
        for figure in self.figures:
            if figure.section != section:
                section = figure.section
                lines += ["", section]
            lines.append(f"  {figure.name:<34}{_shown(figure.value, figure.unit):>16}   = {figure.formula}")
        lines += ["", "What it rests on"]
        asked = asdict(self.crowd)
        lines += [f"  {name:<34}{_plain(value):>16}   given" for name, value in asked.items()]
        lines += [f"  {one.name:<34}{_plain(one.value):>16}   {one.unit}: {one.source}" for one in self.assumptions]
        if self.warnings:
            lines += ["", "To know", *(f"  - {warning}" for warning in self.warnings)]
        return "\n".join(lines[1:])


def _plain(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return str(value)


def _shown(value: float, unit: str) -> str:
    """Bytes and bits in the largest unit that fits, other numbers with three digits that count."""
    for base, letters in (("bytes/s", "kMGTP"), ("bits/s", "kMGTP"), ("bytes", "kMGTP")):
        if unit == base:
            place = -1
            while value >= 1_000 and place + 1 < len(letters):
                value, place = value / 1_000, place + 1
            return f"{value:,.3g} {letters[place] if place >= 0 else ''}{base.replace('bytes', 'B').replace('bits', 'bit')}"
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {unit}".strip()
