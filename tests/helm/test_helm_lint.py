"""Helm accepts the chart, and three versions of Kubernetes accept what it makes."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from chart import CHART, SETS, helm, render
from kubernetes_schemas import faults

VERSIONS = ("1.31", "1.34", "1.37")
FOREIGN = {
    "cert-manager.io/v1": {"Issuer", "Certificate"},
    "gateway.networking.k8s.io/v1": {"Gateway", "HTTPRoute"},
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PrometheusRule"},
}
"""Kinds that other people's CRDs define: no schema of Kubernetes knows them."""


@pytest.mark.parametrize("name", SETS)
def test_helm_lint(name: str) -> None:
    done = helm("lint", "CHART", "--strict", name=name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETS)
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    known = [one for one in render(name) if one["kind"] not in FOREIGN.get(one["apiVersion"], set())]
    assert len(known) > 20
    assert [fault for one in known for fault in faults(one, version)] == []


def test_validation_can_fail() -> None:
    deployment = next(one for one in render("small") if one["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replicsa": 1, "minReadySeconds": "soon"}}
    for version in VERSIONS:
        found = "\n".join(faults(wrong, version))
        assert "'replicsa' was unexpected" in found
        assert "spec.minReadySeconds: 'soon' is not" in found


@pytest.mark.parametrize("name", SETS)
def test_every_object_has_a_name_of_its_own(name: str) -> None:
    keys = [(one["kind"], one["metadata"]["name"]) for one in render(name)]
    assert len(keys) == len(set(keys))
    assert all(len(one) <= 63 for _, one in keys)


def test_a_long_release_name_fits() -> None:
    objects = render("everything", release="a-release-with-a-name-that-is-as-long-as-it-may-be-53")
    assert max(len(one["metadata"]["name"]) for one in objects) <= 63


def test_dashboards_and_rules_are_taken_as_they_are(tmp_path: pathlib.Path) -> None:
    chart = tmp_path / "throng"
    shutil.copytree(CHART, chart)
    for folder in ("dashboards", "rules"):
        (chart / folder).mkdir(exist_ok=True)
    board = '{"title": "Probe", "panels": [{"legendFormat": "{{ pod }}"}]}\n'
    (chart / "dashboards" / "probe_one.json").write_text(board)
    rule = 'groups:\n  - name: probe\n    rules:\n      - alert: Probe\n        expr: up == 0\n        annotations: {text: "{{ $labels.pod }} is away"}\n'
    (chart / "rules" / "probe.yaml").write_text(rule)
    objects = {(one["kind"], one["metadata"]["name"]): one for one in render("everything", chart=chart)}
    config_map = objects["ConfigMap", "throng-dashboard-probe-one"]
    assert config_map["data"] == {"probe_one.json": board}
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    alert = objects["PrometheusRule", "throng-probe"]["spec"]["groups"][0]["rules"][0]
    assert alert["annotations"]["text"] == "{{ $labels.pod }} is away"
    assert objects["PrometheusRule", "throng-probe"]["metadata"]["labels"]["release"] == "prometheus"
