"""Dockerfile and compose file: linted, pinned, without rights, and in step with the chart and the settings."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from chart import ROOT, SERVICES, component_of, render, workloads

from throng.cli.serve import SERVICES as KNOWN
from throng.runtime.settings import load

DOCKER = ROOT / "docker"
TEXT = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
OWN = {name: one for name, one in COMPOSE["services"].items() if one["image"].startswith("throng-") and name != "secrets"}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    plain = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", plain).splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            if word == "FROM":
                name = rest.rsplit(" AS ", 1)[1]
                found[name] = []
            found[name].append((word, rest.strip()))
    return found


def of(stage: str, word: str) -> list[str]:
    """The texts of one kind of instruction, of a stage and those that it is made of."""
    texts = [text for name, text in stages()[stage] if name == word]
    before = stages()[stage][0][1].split(" AS ")[0]
    return (of(before, word) if before in stages() else []) + texts


def variables(stage: str) -> dict[str, str]:
    """ENV of a stage."""
    return {name: value for text in of(stage, "ENV") for name, value in re.findall(r"(\w+)=(\S+)", text)}


def test_hadolint_finds_nothing() -> None:
    command = [str(pathlib.Path(sys.executable).parent / "hadolint"), "--failure-threshold", "style", str(DOCKER / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_four_targets_and_an_all_in_one() -> None:
    assert list(stages()) == ["", "page", "build", "base", "group", "router", "unread", "edge", "all"]
    for name in ("page", "build", "base"):
        assert re.match(r"\$\{(PYTHON|NODE)_IMAGE\}", stages()[name][0][1]), "base images are arguments, to be given by digest"


@pytest.mark.parametrize("stage", [*SERVICES, "all"])
def test_images_run_without_rights_and_know_whether_they_are_well(stage: str) -> None:
    assert of(stage, "USER")[-1] == "10001:10001"
    assert len(of(stage, "HEALTHCHECK")) == 1
    assert json.loads(of(stage, "CMD")[-1])[0] == "throng"
    assert of(stage, "FROM")[0].startswith("${PYTHON_IMAGE}")
    assert not [text for text in of(stage, "RUN") if re.search(r"apt-get|gcc|build-essential|pip install", text)]


@pytest.mark.parametrize("stage", SERVICES)
def test_images_agree_with_the_chart(stage: str) -> None:
    pod = next(pod for one, pod in workloads(render("small")) if component_of(one) == stage)
    container = pod["spec"]["containers"][0]
    assert json.loads(of(stage, "CMD")[-1]) == container["command"]
    assert {int(port) for port in of(stage, "EXPOSE")[-1].split()} == {port["containerPort"] for port in container["ports"]}
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    assert f'"throng", "health", "{stage}"' in of(stage, "HEALTHCHECK")[0]
    assert container["image"].startswith(f"throng-{stage}:")


def pins(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes by package."""
    text = (DOCKER / name).read_text(encoding="utf-8")
    found = {}
    for entry in re.split(r"\n(?=\S)", text.split("\n", 1)[1].strip()):
        head, *hashes = entry.split(" \\\n")
        package, version = head.split("==")
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
        found[_normal(package)] = (version, len(hashes))
    return found


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_packages_are_pinned_by_hash_to_the_versions_that_are_tested() -> None:
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
    tested = {_normal(name): version for name, version in tested.items()}
    pinned = pins("requirements.txt")
    assert all(hashes >= 1 for _, hashes in pinned.values())
    assert {name: version for name, (version, _) in pinned.items() if tested.get(name, version) != version} == {}
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {_normal(re.split(r"[\[<>=]", line)[0]) for line in parser["options"]["install_requires"].splitlines() if line}
    assert wanted - set(pinned) == set(), "run python docker/pin.py"
    assert set(pins("build-requirements.txt")) == {"setuptools"}
    assert len(re.findall(r"--require-hashes --only-binary=:all:", TEXT)) == 2


def test_what_is_copied_is_let_into_the_build() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for stage in stages():
        for text in [text for word, text in stages()[stage] if word == "COPY" and not text.startswith("--from")]:
            for source in text.split()[:-1]:
                assert any(source == name or source.startswith(f"{name}/") for name in let_in), source
                assert (ROOT / source).exists()


def test_compose_uses_targets_and_volumes_that_are_there() -> None:
    for name, one in COMPOSE["services"].items():
        if "build" in one:
            assert one["build"]["target"] in stages()
            assert one["image"] == f"throng-{one['build']['target']}"
        for needed, how in one.get("depends_on", {}).items():
            other = COMPOSE["services"][needed]
            if how["condition"] == "service_healthy" and not other["image"].startswith("throng-"):
                assert "healthcheck" in other, f"{name} waits for the health of {needed}"
        for volume in one.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
    for name, one in OWN.items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
    published = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert published == ["127.0.0.1:8080:8080"], "a laptop's own browser and nobody else"


@pytest.mark.parametrize("service", SERVICES)
def test_settings_of_compose_are_accepted(service: str) -> None:
    together = variables(service) | OWN[service]["environment"]
    settings: Any = load(KNOWN[service].settings(), environment=together)
    assert settings.host == "0.0.0.0"
    for key, value in together.items():
        if key.endswith("_ADDRESSES"):
            host, port = re.fullmatch(r"dns:///(\w+):(\d+)", value).groups()  # type: ignore[union-attr]
            assert port in of(host, "EXPOSE")[-1].split()


def test_compose_makes_tables_and_topics_before_it_serves() -> None:
    needed = {name: set(one.get("depends_on", {})) for name, one in COMPOSE["services"].items()}
    assert {"migrate", "topics", "redis"} <= needed["group"]
    assert "migrate" in needed["unread"]
    assert {"group", "router", "unread"} <= needed["edge"]
    for job in ("migrate", "topics"):
        assert OWN[job]["command"][:2] == ["throng", job]
        assert OWN[job]["restart"] == "on-failure"
