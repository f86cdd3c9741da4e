"""One cluster for all chaos tests of a process; the seed comes from THRONG_CHAOS_SEED."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
import recovery_table
from backends import backend_missing
from chaos_stage import ChaosStage
from watcher import Watcher

from throng.testing.servers import ServerMissing


@pytest.fixture(scope="session")
def seed() -> int:
    """Chooses the order of faults, replicas and cursors."""
    return int(os.environ.get("THRONG_CHAOS_SEED", "1"))


@pytest.fixture(scope="session")
def shared_stage(tmp_path_factory: pytest.TempPathFactory, artifacts: pathlib.Path) -> Iterator[ChaosStage]:
    """Logs of all processes are kept with the artifacts."""
    stage = ChaosStage(tmp_path_factory.mktemp("chaos"))
    try:
        stage.start()
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    try:
        yield stage
    finally:
        stage.stop()
        stage.keep_logs(artifacts / "chaos-logs")


@pytest.fixture(scope="session")
def watcher(shared_stage: ChaosStage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher | None]:
    """Prometheus with Throng's rules; None where it is not installed, which the tests of alerts say."""
    try:
        watcher = Watcher(shared_stage.cluster, tmp_path_factory.mktemp("watcher") / "prometheus")
    except ServerMissing:
        yield None
        return
    watcher.start()  # whoever needs it waits until it sees the cluster
    try:
        yield watcher
    finally:
        watcher.stop()


@pytest.fixture
def stage(shared_stage: ChaosStage) -> Iterator[ChaosStage]:
    """The cluster, whole again after whatever a test left behind."""
    yield shared_stage
    shared_stage.mend()


@pytest.fixture(scope="session")
def rows(artifacts: pathlib.Path) -> Iterator[list[recovery_table.Row]]:
    """Recovery times of all rounds, written as a table at the end."""
    found: list[recovery_table.Row] = []
    yield found
    if found:
        recovery_table.write(found, artifacts, "recovery-times")
