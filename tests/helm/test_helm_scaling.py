"""Autoscalers ask for metrics that prometheus-adapter is told to make of metrics that the services export; sizes add up."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import yaml
from backends import backend_missing
from chart import CHART, ROOT, SERVICES, component_of, environment, of_kind, render, workloads

from throng.testing.servers.process import ServerMissing, find_program

ADAPTER = yaml.safe_load((ROOT / "helm" / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
EXPORTED = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE))
PEOPLE = {"small": 5_000, "100k": 100_000, "1m": 1_000_000}
SENDS_PER_CORE = 94_000
SENDS_PER_MEMBER = 3


def test_custom_metrics_are_made_of_what_is_exported() -> None:
    made = {rule["name"]["as"] for rule in ADAPTER["rules"]["custom"]}
    asked = set()
    for scaler in of_kind(render("everything"), "HorizontalPodAutoscaler").values():
        asked |= {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"] if metric["type"] == "Pods"}
    assert asked == made
    for rule in ADAPTER["rules"]["custom"]:
        names = re.findall(r"throng_\w+", rule["seriesQuery"] + rule["metricsQuery"])
        assert {name.removesuffix("_bucket") for name in names} <= EXPORTED


def test_adapter_queries_give_a_number_for_every_pod(tmp_path: pathlib.Path) -> None:
    """By Prometheus itself: the lag of a pod that sent, and zero, not nothing, for one that did not."""
    try:
        promtool = find_program("promtool", backend="prometheus", package="prometheus")
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    rules = []
    for rule in ADAPTER["rules"]["custom"]:
        series = rule["seriesQuery"].partition("{")[0]
        query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", 'namespace="chat"')
        rules.append({"record": f"asked:{rule['name']['as']}", "expr": query.replace("<<.GroupBy>>", "pod")})
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    lag = "throng_edge_publish_to_last_send_seconds_bucket"
    given = {
        'throng_edge_connections{namespace="chat",pod="a"}': "70x20",
        'throng_edge_connections{namespace="chat",pod="b"}': "30x20",
    }
    for bound, count in {"0.25": 0, "0.5": 100, "+Inf": 100}.items():
        given[f'{lag}{{namespace="chat",pod="a",le="{bound}"}}'] = f"0+{count}x20"
        given[f'{lag}{{namespace="chat",pod="b",le="{bound}"}}'] = "5x20"
    wanted = {
        "asked:throng_edge_connections": {"a": 70, "b": 30},
        "asked:throng_edge_fan_out_lag_seconds": {"a": 0.4975, "b": 0},
    }
    asked = [
        {
            "expr": f"round({name}, 0.0001)",
            "eval_time": "15m",
            "exp_samples": [{"labels": f'{{pod="{pod}"}}', "value": value} for pod, value in values.items()],
        }
        for name, values in wanted.items()
    ]
    series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"rule_files": ["rules.yaml"], "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_know_the_jobs_that_the_monitor_makes() -> None:
    (monitor,) = of_kind(render("everything"), "ServiceMonitor").values()
    assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/component"
    rules = "".join(path.read_text(encoding="utf-8") for path in (CHART / "rules").glob("*.yaml"))
    boards = "".join(path.read_text(encoding="utf-8") for path in (CHART / "dashboards").glob("*.json"))
    named = set(re.findall(r'job=\\?"(\w+)\\?"', rules + boards))
    assert named <= set(SERVICES)


def test_each_service_scales_by_what_fills_it() -> None:
    found = {}
    for scaler in of_kind(render("everything"), "HorizontalPodAutoscaler").values():
        metrics = scaler["spec"]["metrics"]
        found[component_of(scaler)] = [one["pods"]["metric"]["name"] if one["type"] == "Pods" else "cpu" for one in metrics]
    assert found == {
        "edge": ["throng_edge_connections", "throng_edge_fan_out_lag_seconds"],
        "group": ["cpu", "throng_group_uplink_lag_records"],
        "router": ["cpu"],
        "unread": ["cpu"],
    }


@pytest.mark.parametrize("name", PEOPLE)
def test_sizes_hold_their_people(name: str) -> None:
    values = yaml.safe_load((CHART / "values" / f"{name}.yaml").read_text(encoding="utf-8"))
    edges = values["edge"]["replicas"]
    pod = next(pod for one, pod in workloads(render(name)) if component_of(one) == "edge")
    limit = int(environment(pod["spec"]["containers"][0])["THRONG_EDGE_MAX_CONNECTIONS"])
    left = edges - 1 if name == "small" else edges - -(-edges // 3)
    assert left * limit >= PEOPLE[name], "those who are left when a zone is lost must hold everybody"
    assert PEOPLE[name] / left * SENDS_PER_MEMBER <= 0.7 * SENDS_PER_CORE, "and have time to send"
    scaling = values["edge"].get("autoscaling", {})
    if scaling:
        assert scaling["minReplicas"] == edges
        assert scaling["connections"] <= limit
        assert scaling["maxReplicas"] * scaling["connections"] >= PEOPLE[name]


@pytest.mark.parametrize("name", PEOPLE)
def test_the_arithmetic_is_written_down_with_the_numbers_that_are_used(name: str) -> None:
    text = (CHART / "values" / f"{name}.yaml").read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    values = yaml.safe_load(text)
    assert "94,000" in comment
    assert f"{PEOPLE[name]:,}" in comment
    for number in (values["edge"]["replicas"], values["kafka"]["partitions"]):
        assert re.search(rf"\b{number:,}\b", comment) or number == 2, number
    assert f"{values['edge']['settings']['max_connections']:,}" in comment
