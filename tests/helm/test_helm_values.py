"""The schema is closed and complete, agrees with values and settings, and contradictions are refused in one sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from chart import CHART, ROOT, SERVICES, environment, render, template, workloads

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def leaves(node: Any, path: str = "") -> set[str]:
    if isinstance(node, dict) and node:
        return {leaf for key, child in node.items() for leaf in leaves(child, f"{path}.{key}")}
    return {path}


def schema_leaves(node: dict[str, Any], path: str = "") -> set[str]:
    if "properties" in node and not path.endswith(".settings"):
        return {leaf for key, child in node["properties"].items() for leaf in schema_leaves(child, f"{path}.{key}")}
    return {path}


def test_generated_files_agree() -> None:
    done = subprocess.run([sys.executable, "helm/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_schema_and_values_know_the_same() -> None:
    open_maps = {".monitoring.dashboards.labels.grafana_dashboard"}
    values = {re.sub(r"(labels)\.\w+$", r"\1", leaf) if leaf in open_maps else leaf for leaf in leaves(DEFAULTS)}
    assert values == schema_leaves(SCHEMA) - {".global"}


def test_every_object_of_the_schema_is_closed_and_described() -> None:
    def walk(node: dict[str, Any], path: str) -> None:
        assert node.get("description") or path == "", path
        if "properties" in node:
            assert node["additionalProperties"] is False, path
            for key, child in node["properties"].items():
                walk(child, f"{path}.{key}")

    walk(SCHEMA, "")


NONSENSE = {
    "edge.replicas=many": "edge/replicas",
    "edge.replicas=0": "edge/replicas",
    "edge.replikas=3": "replikas",
    "edges.replicas=3": "edges",
    "edge.settings.max_conections=3": "max_conections",
    "edge.settings.max_connections=lots": "max_connections",
    "edge.settings.jwt_secret_file=/tmp/x": "jwt_secret_file",
    "edge.settings.kafka_servers=k:1": "kafka_servers",
    "group.settings.drain_window_ms=5": "drain_window_ms",
    "edge.resources.limits.memory=much": "memory",
    "kafka.servers[0]=kafka": "kafka/servers",
    "mysql.servers[0]=mysql://db:3306": "mysql/servers",
    "ingress.controller=apache": "ingress/controller",
    "image.digests.edge=latest": "digests/edge",
    "host=https://chat.example.org": "host",
    "edge.publicUrl=https://chat.example.org": "publicUrl",
    "auth.jwtSecret.secret=Upper Case": "jwtSecret",
    "auth.jwtSecret.value=abc": "value",
    "pods.runAsUser=0": "runAsUser",
    "pods.preStopSeconds=-1": "preStopSeconds",
    "edge.autoscaling.cpuPercent=50": "cpuPercent",
    "ipFamily=IPv5": "ipFamily",
    "edge.rollout.maxSurge=a few": "maxSurge",
    "trial.enabled=maybe": "trial/enabled",
}


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_refused_by_the_schema(value: str) -> None:
    done = template("--set", value, name="small")
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert NONSENSE[value].rpartition("/")[2] in done.stderr


CONTRADICTIONS = {
    "kafka.servers=": "kafka.servers is empty",
    "auth.jwtPublicKey.secret=a": "exclude each other",
    "mysql.migrations.password.secret=": "mysql.migrations.password.secret must name",
    "mysql.tls.enabled=true": "mysql.tls.ca.secret",
    "kafka.user=me": "go together",
    "redis.user=me": "redis.user needs",
    "kafka.minInsyncReplicas=4": "must not be above kafka.replicationFactor",
    "kafka.partitions=1": "more than kafka.partitions (1)",
    "edge.autoscaling.minReplicas=99": "minReplicas must not be above",
    "rpc.tls.enabled=true": "needs either rpc.tls.secret",
    "rpc.tls.secret=a": "mean nothing without rpc.tls.enabled",
    "host=": "needs host",
    "gateway.enabled=true": "needs either gateway.parentRefs",
    "trial.enabled=true": "brings its own servers",
}


@pytest.mark.parametrize("value", CONTRADICTIONS)
def test_contradictions_are_refused_in_a_sentence(value: str) -> None:
    option = "--set-json" if value.endswith("servers=") else "--set"
    done = template(option, value + "[]" if option == "--set-json" else value, name="small")
    assert done.returncode != 0
    assert CONTRADICTIONS[value] in done.stderr


def test_the_chart_alone_says_what_it_needs() -> None:
    done = template()
    assert done.returncode != 0
    assert "kafka.servers is empty: name your servers as host:port, or set trial.enabled=true" in done.stderr


def test_settings_under_settings_are_not_set_elsewhere() -> None:
    for name in ("everything", "trial", "own-certificates"):
        for one, pod in workloads(render(name, "--set-json", "edge.settings={}", "--set-json", "group.settings={}")):
            container = pod["spec"]["containers"][0]
            if container["name"] not in SERVICES:
                continue
            prefix = f"THRONG_{container['name'].upper()}_"
            given = {key.removeprefix(prefix).lower() for key in environment(container) if key.startswith(prefix)}
            offered = set(SCHEMA["properties"][container["name"]]["properties"]["settings"]["properties"])
            assert (given & offered) - {"write_seconds"} == set(), one["metadata"]["name"]


def test_whole_numbers_keep_their_digits() -> None:
    edge = next(pod for one, pod in workloads(render("everything")) if one["metadata"]["name"] == "throng-edge")
    variables = environment(edge["spec"]["containers"][0])
    assert variables["THRONG_EDGE_MAX_CONNECTIONS"] == "1000000"
    assert variables["THRONG_EDGE_ALLOW_ACCESS_TOKEN_QUERY"] == "true"
