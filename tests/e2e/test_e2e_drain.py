"""One of two edges empties itself under load, by order and by SIGTERM: every message reaches everybody once, nobody is refused elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from frame_client import FrameClient, login
from test_e2e_bench import assert_all_delivered, edge_process, free_ports, plan_for
from throng_process import ThrongProcess, ready

from throng.bench import BenchRun
from throng.cli.data_folder import DataFolder
from throng.cluster.metrics import read_metric

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
WINDOW_MS = 1_500
RECEIVERS = 300


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrongProcess]:
    environment = {"THRONG_EDGE_DRAIN_WINDOW_MS": str(WINDOW_MS)}
    folder = tmp_path_factory.mktemp("drain") / "data"
    process = ThrongProcess(folder, port=free_ports(2), edges=1, own_ports=True, environment=environment).start()
    yield process
    process.kill()


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def operations(throng: ThrongProcess) -> tuple[str, str]:
    running = DataFolder(throng.data_dir).read_running()
    assert running is not None
    stays, leaves = running.operations
    return stays, leaves


class Newcomers:
    """Ask for an edge and connect there, one after the other, while `with` lasts; nobody may be turned away twice."""

    def __init__(self, throng: ThrongProcess) -> None:
        self._throng = throng
        self._token = login(throng.address, "newcomer")[0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newcomers")
        self.failures: list[str] = []
        self.came = 0

    def __enter__(self) -> Newcomers:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.wait(0.03):
            try:
                self._come()
            except Exception:
                try:
                    self._come()  # it was assigned just before the order
                except Exception as error:
                    self.failures.append(repr(error))
            self.came += 1

    def _come(self) -> None:
        with urllib.request.urlopen(f"{self._throng.address}/v1/assign", timeout=5) as response:
            address = json.load(response)["url"].replace("ws://", "http://")
        client = FrameClient(address, self._token)
        try:
            assert "welcome" in client.next()
        finally:
            client.close()


@pytest.mark.parametrize("by", ["order", "sigterm"])
def test_a_drained_edge_loses_no_message_and_nobody_is_refused_elsewhere(pair: ThrongProcess, by: str) -> None:
    """I2 to I6."""
    stays, leaves = operations(pair)
    until(lambda: ready(leaves), "the edge takes clients")
    refused_before = refused(stays)
    with BenchRun(plan_for(pair, receivers=RECEIVERS, seconds=12.0)) as running:
        assert running.wait_sending(60)
        until(lambda: running.progress.acked >= 50, "messages are sent")
        assert read_metric(leaves, "throng_edge_connections") >= RECEIVERS / 2
        with Newcomers(pair) as newcomers:
            began = time.monotonic()
            if by == "order":
                pair.throng("edge", "drain", "edge-1", "--window-ms", str(WINDOW_MS))
                until(lambda: read_metric(leaves, "throng_edge_connections") == 0, "the edge is empty")
                assert not ready(leaves)
            else:
                pid = edge_process(pair)
                os.kill(pid, signal.SIGTERM)
                until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the process ends")
            assert time.monotonic() - began < WINDOW_MS / 1000 + 8
            until(lambda: newcomers.came > 20, "newcomers came")
        running.stop()
        report = running.wait(120)
    assert_all_delivered(report)
    assert report.connections.receiver_reconnects >= RECEIVERS / 2
    assert "1006" not in report.connections.closes
    assert newcomers.failures == []
    assert refused(stays) == refused_before
    if by == "order":
        pair.throng("edge", "undrain", "edge-1")
    until(lambda: ready(leaves), "the edge is back")
    assert "edge-1  serves" in pair.throng("edge", "list").stdout


def refused(address: str) -> float:
    """Upgrades that an edge refused or lost, whatever the reason."""
    total = 0.0
    for outcome in ("not_ready", "full", "too_many_handshakes"):
        with contextlib.suppress(KeyError):
            total += read_metric(address, "throng_edge_handshakes_total", outcome=outcome)
    return total
