"""Draws a run as SVG: rates, ACK latency, lag and clients over time, with the events; no library needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from throng.bench.report import BenchReport
from throng.bench.series import SLOT_NS, Slot

_WIDTH, _PANEL, _LEFT, _TOP, _GAP, _RIGHT = 960, 130, 70, 76, 34, 20
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37")
_SHOWN_EVENTS = 40


class _Panel(NamedTuple):
    title: str
    lines: tuple[tuple[str, Callable[[Slot], float]], ...]


_PER_SECOND = 1e9 / SLOT_NS
_PANELS = (
    _Panel(
        "messages/s",
        (
            ("written", lambda slot: slot.submitted * _PER_SECOND),
            ("refused", lambda slot: slot.refused * _PER_SECOND),
            ("ACKed", lambda slot: slot.acked * _PER_SECOND),
        ),
    ),
    _Panel("deliveries/s", (("delivered", lambda slot: slot.delivered * _PER_SECOND),)),
    _Panel(
        "largest latency, ms",
        (("to ACK", lambda slot: slot.ack_ns_max / 1e6), ("to receiver", lambda slot: slot.lag_ns_max / 1e6)),
    ),
    _Panel(
        "clients",
        (("receivers online", lambda slot: slot.receivers_online), ("senders online", lambda slot: slot.senders_online)),
    ),
)


def to_svg(report: BenchReport) -> str:
    """The drawing of a report."""
    slots = report.slots
    last = max((slot.index for slot in slots), default=0) + 1
    height = _TOP + len(_PANELS) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(f"{report.verdict}: {report.reason}"[:140])}</text>',
    ]
    for number, panel in enumerate(_PANELS):
        parts += _draw_panel(panel, slots, last, _TOP + number * (_PANEL + _GAP))
    bottom = height - _GAP
    for number, event in enumerate(report.events[:_SHOWN_EVENTS]):
        x = _x(event.seconds * 1e9 / SLOT_NS, last)
        parts.append(f'<line x1="{x}" y1="{_TOP - 14}" x2="{x}" y2="{bottom}" stroke="#999" stroke-dasharray="2 3"/>')
        # Names take turns in three rows and stay inside the drawing, for events lie close together.
        side = ('x="{:.1f}" text-anchor="end"' if x > _WIDTH * 0.85 else 'x="{:.1f}"').format(x - 3 if x > _WIDTH * 0.85 else x + 3)
        parts.append(f'<text {side} y="{32 + 11 * (number % 3)}" fill="#666">{escape(event.name)}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _draw_panel(panel: _Panel, slots: Sequence[Slot], last: int, top: int) -> list[str]:
    most = max((value(slot) for _, value in panel.lines for slot in slots), default=0.0) or 1.0
    bottom = top + _PANEL
    parts = [
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}" stroke="#bbb"/>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_LEFT - 6}" y="{bottom + 14}" text-anchor="end" fill="#666">seconds</text>',
        f'<text x="{_LEFT}" y="{top - 2}" font-weight="bold">{escape(panel.title)}</text>',
    ]
    for part in range(6):
        at = last * part / 5
        parts.append(f'<text x="{_x(at, last)}" y="{bottom + 14}" text-anchor="middle" fill="#666">{at * SLOT_NS / 1e9:.1f}</text>')
    for number, (name, value) in enumerate(panel.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{_x(slot.index, last)},{bottom - value(slot) / most * (_PANEL - 14):.1f}" for slot in slots)
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
        parts.append(f'<text x="{_LEFT + 150 + 120 * number}" y="{top - 2}" fill="{colour}">{escape(name)}</text>')
    return parts


def _x(place: float, last: int) -> float:
    return round(_LEFT + place / last * (_WIDTH - _LEFT - _RIGHT), 1)
