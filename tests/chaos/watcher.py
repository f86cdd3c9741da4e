"""Prometheus beside the cluster of the chaos tests, with Throng's own rules: what it saw, and which alerts it raised."""

from __future__ import annotations

import pathlib
import re
import time
from collections.abc import Mapping

from chaos_stage import SPARE

from throng.cluster import Cluster
from throng.testing.servers import PrometheusServer

RULES = pathlib.Path(__file__).resolve().parents[2] / "helm/throng/rules"
INTERVAL_SECONDS = 0.5
_START_SECONDS = 30.0
_QUIET_SECONDS = 45.0
_QUICK = {"5m": "4s", "15m": "6s", "30m": "4s", "1h": "4s", "6h": "5s", "3d": "5s"}
"""Windows of the rules, and what they are here: faults last seconds."""

_REMEMBERED = "60s"
"""How long it is known here that a process was there."""


def quickened(rules: str) -> str:
    """The rules with windows of seconds, and alerts that do not wait. Thresholds stay as they are."""
    short = re.sub(r"(last_over_time\(.*)\[15m\]", rf"\1[{_REMEMBERED}]", rules)
    short = re.sub(r"\[(\d+[mhd])\]", lambda match: f"[{_QUICK[match[1]]}]", short)
    return re.sub(r"^ +for: \w+\n", "", short, flags=re.M)


class Watcher:
    """A Prometheus that scrapes every service of a cluster twice a second.

    Attributes:
        started_at: Unix seconds.
    """

    def __init__(self, cluster: Cluster, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True)
        self._cluster = cluster
        files = []
        for rule in sorted(RULES.glob("*.yaml")):
            files.append(folder / rule.name)
            files[-1].write_text(quickened(rule.read_text(encoding="utf-8")), encoding="utf-8")
        targets: dict[str, list[str]] = {}
        for process in cluster.processes.values():
            targets.setdefault(process.kind, []).append(process.addresses.metrics)
        self.server = PrometheusServer(folder, targets, rules=files, interval_seconds=INTERVAL_SECONDS)

    def start(self) -> None:
        """Starts it; it looks for its targets 5 s later."""
        self.started_at = time.time()
        self.server.start()

    def wait_seeing(self) -> None:
        """Waits until it sees every process that runs."""
        running = sum(process.running for process in self._cluster.processes.values())
        deadline = time.monotonic() + _START_SECONDS
        while len(self.server.query("up == 1")) < running:
            assert time.monotonic() < deadline, "not every process can be scraped"
            time.sleep(INTERVAL_SECONDS)

    def stop(self) -> None:
        """Ends it. Idempotent."""
        self.server.stop()

    def firing(self) -> set[str]:
        """Names of the alerts that fire now. That a process which stands by does not run is none."""
        spare = self._cluster.processes[SPARE].addresses.metrics
        found = self.server.query(f'ALERTS{{alertstate="firing",instance!="{spare}"}}')
        return {series["metric"]["alertname"] for series in found}

    def fired(self, since: float) -> set[str]:
        """Names of the alerts that fired at any moment since then, Unix seconds."""
        seconds = max(1, round(time.time() - since))
        found = self.server.query(f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s]))')
        return {series["metric"]["alertname"] for series in found}

    def wait_fired(self, alert: str, seconds: float, *, since: float) -> None:
        """Waits for an alert that fired since then.

        Raises:
            AssertionError: it did not come; names those that did.
        """
        deadline = time.monotonic() + seconds
        while alert not in (fired := self.fired(since)):
            assert time.monotonic() < deadline, f"{alert} did not fire; {sorted(fired)} did"
            time.sleep(INTERVAL_SECONDS)

    def wait_quiet(self) -> None:
        """Waits until no alert fires: everything was mended.

        Raises:
            AssertionError: naming those that do not end.
        """
        deadline = time.monotonic() + _QUIET_SECONDS
        while firing := self.firing():
            assert time.monotonic() < deadline, f"{sorted(firing)} do not end {_QUIET_SECONDS:g} s after everything was mended"
            time.sleep(INTERVAL_SECONDS)

    def course(self, since: float) -> dict[str, list[tuple[float, float]]]:
        """From when until when each alert fired, since then; Unix seconds."""
        found = self.server.query_range('count by (alertname) (ALERTS{alertstate="firing"})', since, time.time(), INTERVAL_SECONDS)
        return {series["metric"]["alertname"]: _spans([float(at) for at, _ in series["values"]]) for series in found}

    def without_data(self, expressions: Mapping[str, str], since: float) -> list[str]:
        """Names of the expressions that had no value at any moment since then."""
        seconds = max(1, round(time.time() - since))
        window = f"[{seconds}s:{max(1, seconds // 60)}s]"
        return [name for name, expr in expressions.items() if not self.server.query(f"last_over_time(({expr}){window})")]


def _spans(times: list[float]) -> list[tuple[float, float]]:
    """Joins moments that are one step apart."""
    spans: list[tuple[float, float]] = []
    for at in times:
        if spans and at - spans[-1][1] < 1.5 * INTERVAL_SECONDS:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))
    return spans
