"""What `throng cluster` owes to whoever starts it: one owner of a folder, processes that come back, nothing that survives it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from backends import backend_missing
from frame_client import Closed, FrameClient, login

from throng.cli.data_folder import DataFolder
from throng.cli.refusal import Refusal
from throng.cluster import LINKS, Cluster, ClusterError, ClusterPlan
from throng.cluster.keeper import started_at
from throng.testing.servers import ServerMissing

pytestmark = pytest.mark.e2e
SMALL = ClusterPlan(
    groups=1,
    uplink="grpc",
    store="sqlite",
    proxied=frozenset({"edge->group", "client->edge"}),
    environment={"router-2": {"CLUSTER_TEST": "yes"}},
)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def start(folder: pathlib.Path, plan: ClusterPlan) -> Cluster:
    cluster = Cluster(folder, plan)
    try:
        cluster.start()
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)
    return cluster


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start(tmp_path_factory.mktemp("cluster"), SMALL)
    yield cluster
    cluster.stop()


def pids_of(folder: pathlib.Path) -> dict[str, int]:
    content = json.loads((folder / "cluster.json").read_text(encoding="utf-8"))
    return {name: one["pid"] for part in ("services", "backends") for name, one in content[part].items()}


def test_a_dead_process_comes_back_at_its_addresses(small: Cluster) -> None:
    router = small.processes["router-2"]
    before = router.pid
    router.kill(come_back=True)
    wait_for(lambda: router.pid != before and router.ready(), "the router did not come back")
    assert router.restarts == 1
    wait_for(lambda: pids_of(small.folder)["router-2"] == router.pid, "cluster.json names the old process")
    assert small.metric("throng_router_edges_alive", "router-2") >= 0


def test_one_process_has_a_variable_that_the_others_lack(small: Cluster) -> None:
    variables = {name: pathlib.Path(f"/proc/{small.processes[name].pid}/environ").read_bytes() for name in ("router-1", "router-2")}
    assert b"\0CLUSTER_TEST=yes\0" in variables["router-2"] + b"\0"
    assert b"CLUSTER_TEST" not in variables["router-1"]


def test_what_was_killed_on_purpose_stays_dead_until_it_is_started(small: Cluster) -> None:
    edge = small.processes["edge-2"]
    edge.kill()
    time.sleep(0.7)  # longer than the pause before a restart: nothing may happen here
    assert not edge.running
    edge.start()
    edge.wait_ready(30)


def test_a_folder_has_one_owner(small: Cluster) -> None:
    with pytest.raises(Refusal, match="Another Throng runs on"):
        Cluster(small.folder, SMALL).start()
    assert small.processes["edge-1"].ready()
    assert (small.folder / "cluster.json").exists(), "the refused one must not touch what runs"


def test_links_are_cut_and_mended(small: Cluster) -> None:
    url = small.edge_urls()[0]
    token, _ = login(url, "Ann")
    client = FrameClient(url, token)
    assert "welcome" in client.next()
    assert small.links.names == ["client->edge-1", "client->edge-2", "edge-1->group-1", "edge-2->group-1"]
    small.link("client->edge").cut()
    try:
        with pytest.raises((Closed, ConnectionResetError)):
            client.wait(lambda _: False)
        with pytest.raises(ConnectionRefusedError):
            FrameClient(url, token)
    finally:
        small.link("client->edge").restore()
        client.close()
    again = FrameClient(url, token)
    assert "welcome" in again.next()
    again.close()
    with pytest.raises(KeyError, match=r"group->mysql"):
        small.link("group->mysql")


def test_what_does_not_start_is_named_with_its_log(tmp_path: pathlib.Path) -> None:
    plan = ClusterPlan(
        edges=1, routers=1, groups=1, uplink="grpc", store="sqlite", flags={"router": {"queue_events": "1"}}, restart_dead=False
    )
    with pytest.raises(ClusterError, match=r"(?s)router-1 ended with 2.*queue_events"):
        start(tmp_path, plan)
    assert not (tmp_path / "cluster.json").exists()
    again = start(tmp_path, ClusterPlan(edges=1, routers=1, groups=1, uplink="grpc", store="sqlite"))
    again.stop()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"groups": 2, "uplink": "grpc"}, "uplink kafka"),
        ({"unreads": 2, "store": "sqlite"}, "store mysql"),
        ({"edges": 0}, "at least one"),
        ({"proxied": frozenset({"edge->nothing"})}, "edge->nothing"),
        ({"flags": {"nothing": {}}}, "nothing"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ClusterPlan(**values)  # type: ignore[arg-type]
    assert len(LINKS) == 16


def test_a_missing_program_is_named_with_its_remedy(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "throng.cli.main", "cluster", "--port", "0", "--data-dir", str(tmp_path / "data")]
    nowhere = {**os.environ, "PATH": str(tmp_path), "THRONG_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is missing:" in done.stderr
    assert "make cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_survives_a_stop(tmp_path: pathlib.Path) -> None:
    cluster = start(tmp_path, ClusterPlan(edges=1, routers=1, groups=1, uplink="grpc", store="sqlite"))
    pids = pids_of(tmp_path)
    cluster.processes["group-1"].pause()
    cluster.stop()
    assert [name for name, pid in pids.items() if started_at(pid)] == []
    assert not (tmp_path / "cluster.json").exists()


def test_nothing_survives_kill_9_of_the_supervisor_even_what_is_paused(tmp_path: pathlib.Path) -> None:
    child = pathlib.Path(__file__).with_name("cluster_child.py")
    supervisor = subprocess.Popen([sys.executable, str(child), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert supervisor.stdout is not None
        if supervisor.stdout.readline() != "ready\n":
            backend_missing("redis", "apt-get install redis-server")
        pids = pids_of(tmp_path)
        assert len(pids) == 5
        os.kill(pids["router-1"], signal.SIGSTOP)
    finally:
        supervisor.kill()
        supervisor.wait(10)
        supervisor.stdout.close()  # type: ignore[union-attr]
    wait_for(lambda: not any(started_at(pid) for pid in pids.values()), "something survived")
    folder = DataFolder(tmp_path)
    wait_for(lambda: not folder.is_locked(), "the folder stays taken")
    with Cluster(tmp_path, ClusterPlan(edges=1, routers=1, groups=1, uplink="grpc", store="sqlite")) as cluster:
        assert cluster.processes["edge-1"].ready()
