"""Panels of Grafana dashboards in a few words: what is asked of Prometheus, in which unit, from where on it is amber or red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = "$__rate_interval"
_WIDTH = 24
_HEIGHTS = {"stat": 4, "timeseries": 8, "bargauge": 8}
_AMBER, _RED, _GREEN = "#EAB839", "red", "green"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression in PromQL, and how its series are called: `{{label}}` stands for the value of a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title, description: what is shown, and what it tells an operator; a hop number where there is one.
        unit: Grafana's name, such as `s`, `reqps`, `bytes`, `short`.
        queries: what is drawn.
        amber, red: from where on the value is a warning and an alarm; None: no such value.
        below: amber and red hold below their values instead of above.
        kind: `timeseries`, `stat` or `bargauge`.
        width: columns of 24.
        stack: series are added up.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    amber: float | None = None
    red: float | None = None
    below: bool = False
    kind: str = "timeseries"
    width: int = 8
    stack: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        uid: stands in links; never changed.
        title, description: what it answers.
        rows: (title, panels); a row begins on a line of its own.
        instances: metric whose `instance` label fills the variable `$instance`; empty: no such variable.
    """

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    instances: str = ""

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for _, panels in self.rows for panel in panels]


class Metrics:
    """Writes expressions with the dashboard's filters in them; `one`: those of `$instance` alone."""

    def __init__(self, *, one: bool = False) -> None:
        self._filters = 'namespace=~"$namespace"' + (',instance=~"$instance"' if one else "")

    def of(self, name: str, match: str = "") -> str:
        """A selector; `match` holds further matchers."""
        return f"{name}{{{self._filters}{',' if match else ''}{match}}}"

    def total(self, name: str, *by: str, match: str = "") -> str:
        """Sum of a gauge."""
        return f"sum{_by(by)}({self.of(name, match)})"

    def highest(self, name: str, *by: str) -> str:
        """Largest value of a gauge."""
        return f"max{_by(by)}({self.of(name)})"

    def lowest(self, name: str, *by: str) -> str:
        """Smallest value of a gauge."""
        return f"min{_by(by)}({self.of(name)})"

    def rate(self, name: str, *by: str, match: str = "") -> str:
        """Sum of a counter's growth per second."""
        return f"sum{_by(by)}(rate({self.of(name, match)}[{WINDOW}]))"

    def quantile(self, share: float, name: str, *by: str) -> str:
        """A quantile of a histogram."""
        return f"histogram_quantile({share}, sum{_by(('le', *by))}(rate({self.of(name + '_bucket')}[{WINDOW}])))"

    def mean(self, name: str, *by: str) -> str:
        """Mean of a histogram."""
        return f"{self.rate(name + '_sum', *by)} / {self.rate(name + '_count', *by)}"

    def quantiles(self, name: str) -> tuple[Query, ...]:
        """The median and the 99th percentile."""
        return Query(self.quantile(0.5, name), "p50"), Query(self.quantile(0.99, name), "p99")


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""


def to_grafana(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana 9 and later import it."""
    panels: list[dict[str, Any]] = []
    top = number = 0
    for title, members in board.rows:
        number += 1
        place = {"h": 1, "w": _WIDTH, "x": 0, "y": top}
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []})
        top += 1
        left = tallest = 0
        for panel in members:
            if left + panel.width > _WIDTH:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            height = _HEIGHTS[panel.kind]
            panels.append(_panel(panel, number, {"h": height, "w": panel.width, "x": left, "y": top}))
            left, tallest = left + panel.width, max(tallest, height)
        top += tallest
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["throng"],
        "schemaVersion": 37,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"type": "dashboards", "tags": ["throng"], "title": "Throng", "asDropdown": True, "includeVars": True, "keepTime": True}
        ],
        "templating": {"list": _variables(board)},
        "annotations": {"list": [_alerts_shown()]},
        "panels": panels,
    }


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _variables(board: Board) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0}
    ]
    asked = {"namespace": "label_values(throng_edge_connections, namespace)"}
    if board.instances:
        asked["instance"] = f'label_values({board.instances}{{namespace=~"$namespace"}}, instance)'
    for name, query in asked.items():
        found.append(
            {
                "name": name,
                "label": name.capitalize(),
                "type": "query",
                "datasource": _source(),
                "query": {"query": query, "refId": name},
                "definition": query,
                "refresh": 2,
                "sort": 1,
                "includeAll": True,
                "allValue": ".*",
                "multi": True,
                "current": {"text": "All", "value": "$__all"},
            }
        )
    return found


def _alerts_shown() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _source(),
        "enable": True,
        "iconColor": _RED,
        "expr": 'ALERTS{alertname=~"Throng.*",alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _source(),
        "gridPos": place,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _source(),
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.kind == "timeseries":
        found["color"] = {"mode": "palette-classic"}
        found["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stack else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.amber is None and panel.red is None else "dashed"},
        }
    else:
        found["color"] = {"mode": "thresholds"}
    return found


def _steps(panel: Panel) -> list[dict[str, Any]]:
    if panel.below:
        steps = [(None, _RED), (panel.red, _AMBER), (panel.amber, _GREEN)]
    else:
        steps = [(None, _GREEN), (panel.amber, _AMBER), (panel.red, _RED)]
    known = [(value, colour) for number, (value, colour) in enumerate(steps) if number == 0 or value is not None]
    return [{"value": value, "color": colour} for value, colour in known]


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "bargauge":
        return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
    return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area", "textMode": "auto", "orientation": "auto"}
