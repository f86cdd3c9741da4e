"""Draws a dashboard as SVG from what a Prometheus holds: for the docs, where no Grafana is; no library needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from panels import Board, Panel, Query

Series = tuple[str, list[tuple[float, float]]]
Ask = Callable[[str], list[dict[str, Any]]]
"""An expression -> the series of Prometheus' query_range: `metric` and `values`."""

_COLUMN, _MARGIN, _TITLE, _ROW, _HEIGHTS = 50, 10, 46, 26, {"stat": 84, "timeseries": 170, "bargauge": 170}
_COLOURS = ("#1f6feb", "#1a7f37", "#d1242f", "#9a6700", "#8250df", "#bf3989", "#0a7ea4", "#57606a")
_SHOWN = 6
_UNITS = {"s": " s", "reqps": "/s", "Bps": " B/s", "bytes": " B", "short": "", "percentunit": " %"}


def draw(board: Board, ask: Ask) -> str:
    """The whole dashboard, 24 columns wide."""
    parts: list[str] = []
    top = _TITLE
    for title, panels in board.rows:
        parts.append(f'<text x="{_MARGIN}" y="{top + 17}" font-size="13" font-weight="bold">{escape(title)}</text>')
        top += _ROW
        left = tallest = 0
        for panel in panels:
            if left + panel.width > 24:
                top, left, tallest = top + tallest, 0, 0
            height = _HEIGHTS[panel.kind]
            box = (_MARGIN + left * _COLUMN, top, panel.width * _COLUMN - 8, height - 8)
            parts += _draw_panel(panel, box, [series for query in panel.queries for series in _series(query, ask(query.expr))])
            left, tallest = left + panel.width, max(tallest, height)
        top += tallest
    width, height = 24 * _COLUMN + 2 * _MARGIN, top + _MARGIN
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="#f6f8fa"/>',
        f'<text x="{_MARGIN}" y="22" font-size="16" font-weight="bold">{escape(board.title)}</text>',
        f'<text x="{_MARGIN}" y="38" fill="#57606a">{escape(board.description)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _series(query: Query, found: Sequence[dict[str, Any]]) -> list[Series]:
    series = []
    for one in found:
        name = query.legend
        for label, value in one["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        points = [(float(at), float(value)) for at, value in one["values"] if value not in ("NaN", "+Inf", "-Inf")]
        if points:
            series.append((name, points))
    return series


def _draw_panel(panel: Panel, box: tuple[int, int, int, int], series: list[Series]) -> list[str]:
    x, y, width, height = box
    series.sort(key=lambda one: -max(value for _, value in one[1]))
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="white" stroke="#d0d7de" rx="3"/>',
        f'<text x="{x + 8}" y="{y + 15}" font-weight="bold">{escape(panel.title)}</text>',
    ]
    if not series:
        return [*parts, f'<text x="{x + 8}" y="{y + 40}" fill="#57606a">nothing yet</text>']
    if panel.kind == "stat":
        value = series[0][1][-1][1]
        return [
            *parts,
            f'<text x="{x + 8}" y="{y + 52}" font-size="24" fill="{_colour(panel, value)}">{_number(value, panel.unit)}</text>',
        ]
    if panel.kind == "bargauge":
        return parts + _bars(panel, box, series)
    return parts + _lines(panel, box, series)


def _bars(panel: Panel, box: tuple[int, int, int, int], series: list[Series]) -> list[str]:
    x, y, width, _ = box
    most = max(points[-1][1] for _, points in series) or 1.0
    parts = []
    for number, (name, points) in enumerate(series[:10]):
        top, share = y + 24 + number * 13, points[-1][1] / most
        parts.append(f'<rect x="{x + 110}" y="{top}" width="{round((width - 190) * share)}" height="10" fill="{_COLOURS[0]}"/>')
        parts.append(f'<text x="{x + 8}" y="{top + 9}">{escape(name[:18])}</text>')
        parts.append(f'<text x="{x + width - 70}" y="{top + 9}">{_number(points[-1][1], panel.unit)}</text>')
    return parts


def _lines(panel: Panel, box: tuple[int, int, int, int], series: list[Series]) -> list[str]:
    x, y, width, height = box
    left, right, top, bottom = x + 62, x + width - 8, y + 24, y + height - 32
    times = [at for _, points in series for at, _ in points]
    first, last = min(times), max(max(times), min(times) + 1)
    most = max((value for _, points in series for _, value in points), default=0.0) or 1.0
    parts = [
        f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#d0d7de"/>',
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end" fill="#57606a">{_number(most, panel.unit)}</text>',
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end" fill="#57606a">0</text>',
    ]
    legend = left
    for number, (name, points) in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(
            f"{left + (at - first) / (last - first) * (right - left):.1f},{bottom - max(value, 0) / most * (bottom - top):.1f}"
            for at, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        if number < _SHOWN and legend + 6 * len((name or "value")[:24]) < right:
            parts.append(f'<text x="{legend}" y="{y + height - 10}" fill="{colour}">{escape((name or "value")[:24])}</text>')
            legend += 14 + 6 * len((name or "value")[:24])
    return parts


def _colour(panel: Panel, value: float) -> str:
    amber, red = panel.amber, panel.red
    if panel.below:
        return "#d1242f" if red is not None and value < red else "#9a6700" if amber is not None and value < amber else "#1a7f37"
    return "#d1242f" if red is not None and value >= red else "#9a6700" if amber is not None and value >= amber else "#1a7f37"


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.2g} %"
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    for bound, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= bound:
            return f"{value / (bound if letter != 'k' else 1e3):.3g} {letter}{_UNITS.get(unit, '').strip()}"
    return f"{value:,.0f}{_UNITS.get(unit, '')}" if value >= 100 else f"{value:.3g}{_UNITS.get(unit, '')}"
