"""Dashboards: as generated, whole, asking only for metrics that there are, in expressions that Prometheus understands."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
from backends import backend_missing

from throng.testing.servers.process import ServerMissing, find_program

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "helm/throng/dashboards").glob("*.json"))
}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def with_variables(expr: str) -> str:
    return expr.replace("$__rate_interval", "1m").replace("$namespace", ".*").replace("$instance", ".*")


def test_they_are_as_their_generator_writes_them() -> None:
    command = [sys.executable, str(ROOT / "helm/dashboards/generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_one_for_each_question() -> None:
    names = {"business", "path", "storms", "edge", "group", "router", "unread", "backends"}
    assert set(BOARDS) == {f"throng-{name}" for name in names}
    assert all(board["uid"] == name for name, board in BOARDS.items())


@pytest.mark.parametrize("name", BOARDS)
def test_panels_say_what_they_show_and_do_not_overlap(name: str) -> None:
    board = BOARDS[name]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"], panel
        assert panel["description"].endswith((".", ").")), panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert panel["targets"], panel["title"]
    asked = " ".join(expressions(board))
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$(?!__)(\w+)", asked)) | {"datasource"} == variables, "each variable is used"


def test_they_ask_only_for_metrics_that_there_are() -> None:
    documented = re.findall(r"^\| `(throng_\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.M)
    known = set(PROCESS)
    for metric, kind in documented:
        known |= {f"{metric}_{end}" for end in ("bucket", "count", "sum")} if kind == "histogram" else {metric}
    rules = (ROOT / "helm/throng/rules/recording.yaml").read_text() + (ROOT / "helm/throng/rules/alerts.yaml").read_text()
    asked = {
        name
        for text in [rules, *(expr for board in BOARDS.values() for expr in expressions(board))]
        for name in re.findall(r"\b((?:throng|process)_[a-z0-9_]+)\b", text)
    }
    assert asked - known == set()
    assert len(asked) > 80


def test_prometheus_understands_every_expression(tmp_path: pathlib.Path) -> None:
    try:
        promtool = find_program("promtool", backend="prometheus", package="prometheus")
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    every = [with_variables(expr) for board in BOARDS.values() for expr in expressions(board)]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(every)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
