"""Renders the chart with the real helm, and finds objects in what comes out."""

from __future__ import annotations

import functools
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "throng"
HELM = str(pathlib.Path(sys.executable).parent / "helm")
OURS = ROOT / "tests" / "helm" / "values"
NAMESPACE = "chat"
SERVICES = ("edge", "group", "router", "unread")

SETS: dict[str, tuple[pathlib.Path, ...]] = {
    "trial": (CHART / "values" / "trial.yaml",),
    "small": (CHART / "values" / "small.yaml", OURS / "backends.yaml"),
    "100k": (CHART / "values" / "100k.yaml", OURS / "backends.yaml"),
    "1m": (CHART / "values" / "1m.yaml", OURS / "backends.yaml"),
    "everything": (OURS / "everything.yaml",),
    "own-certificates": (OURS / "backends.yaml", OURS / "own-certificates.yaml"),
}
"""Values files by the name of what they make together."""

Object = dict[str, Any]


def helm(*arguments: str, chart: pathlib.Path = CHART, name: str = "") -> subprocess.CompletedProcess[str]:
    """Runs helm with the values of a set."""
    files = [part for file in SETS.get(name, ()) for part in ("-f", str(file))]
    command = [HELM, *(str(chart) if argument == "CHART" else argument for argument in arguments), *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def template(*more: str, name: str = "", chart: pathlib.Path = CHART, release: str = "throng") -> subprocess.CompletedProcess[str]:
    """`helm template`."""
    return helm("template", release, "CHART", "--namespace", NAMESPACE, *more, chart=chart, name=name)


@functools.cache
def render(name: str, *more: str, chart: pathlib.Path = CHART, release: str = "throng") -> tuple[Object, ...]:
    """All objects that a set of values makes."""
    done = template(*more, name=name, chart=chart, release=release)
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def of_kind(objects: tuple[Object, ...], kind: str) -> dict[str, Object]:
    """Objects of one kind, by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def component_of(one: Object) -> str:
    """What an object belongs to."""
    return str(one["metadata"]["labels"]["app.kubernetes.io/component"])


def workloads(objects: tuple[Object, ...]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods, and its pod template."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one, one["spec"]["template"]


def matches(selector: Object, labels: Object) -> bool:
    """Whether a label selector selects these labels."""
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def environment(container: Object) -> dict[str, str]:
    """Plain environment variables of a container."""
    return {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}
