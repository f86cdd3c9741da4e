"""What operators are shown: every panel of every dashboard has data of a cluster that works and is broken now and then.

Which alerts fire upon which faults is judged where the faults are made (`told.py`).
"""

from __future__ import annotations

import json
import pathlib
import time

import pytest
from backends import backend_missing
from chaos_round import Round
from chaos_stage import ChaosStage
from faults import KillService
from recovery_table import Row
from watcher import INTERVAL_SECONDS, Watcher

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BOARDS = pathlib.Path(__file__).resolve().parents[2] / "helm/throng/dashboards"
SEEN_SECONDS = 15.0
NEEDS_A_FAULT = {"throng-business: Refusals by reason: A"}
"""Panels that stay empty while nothing fails: `board: panel: letter of the query`."""


@pytest.fixture
def prometheus(watcher: Watcher | None) -> Watcher:
    if watcher is None:
        backend_missing("prometheus", "apt-get install prometheus")
    return watcher


def expressions() -> dict[str, str]:
    """Every query of every panel, for all services."""
    found = {}
    for path in sorted(BOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "5s").replace("$namespace", ".*").replace("$instance", ".*")
                found[f"{path.stem}: {panel['title']}: {target['refId']}"] = expr
    return found


def test_every_panel_has_data(stage: ChaosStage, prometheus: Watcher, seed: int, rows: list[Row]) -> None:
    if not rows:  # no round went before in this process
        with Round(stage, "told", seed=seed) as round_:
            prometheus.wait_seeing()
            round_.apply(KillService("edge-2", 3.0))
            round_.finish()
    wanted = {name: expr for name, expr in expressions().items() if name not in NEEDS_A_FAULT}
    deadline = time.monotonic() + SEEN_SECONDS
    while empty := prometheus.without_data(wanted, prometheus.started_at):
        assert time.monotonic() < deadline, f"no data: {empty}"
        time.sleep(INTERVAL_SECONDS)
