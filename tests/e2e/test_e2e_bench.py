"""`throng bench` on a running `throng up`: passes where all is well, through a killed edge, and tells what it cannot judge."""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from throng_process import ThrongProcess

from throng.bench import BenchPlan, BenchRun, DeliveryMode, Verdict, run
from throng.bench.report import BenchReport
from throng.cli.data_folder import DataFolder

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_ports(count: int) -> int:
    """The first of consecutive free ports, below those that the system deals out to clients: a load beside this takes all of these."""
    for _ in range(1_000):
        first = random.randrange(10_000, 30_000)
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrongProcess]:
    """A `throng up` with a second edge process, on the port after the first's."""
    process = ThrongProcess(tmp_path_factory.mktemp("bench") / "data", port=free_ports(2), edges=1, own_ports=True).start()
    yield process
    process.kill()


def plan_for(throng: ThrongProcess, **options: object) -> BenchPlan:
    folder = DataFolder(throng.data_dir)
    running = folder.read_running()
    assert running is not None
    urls = tuple(f"ws://127.0.0.1:{throng.port + number}" for number in range(throng.edges + 1))
    defaults: dict[str, object] = {"receivers": 20, "senders": 4, "rate": 100.0, "seconds": 2.0, "block_interval_ms": 100}
    target = {"urls": urls, "group_address": running.group, "jwt_secret_file": folder.key_file}
    return BenchPlan(**target | defaults | options)  # type: ignore[arg-type]


def edge_process(throng: ThrongProcess) -> int:
    """The process of the further edge, a child of `throng up`."""
    assert throng.process is not None
    children = pathlib.Path(f"/proc/{throng.process.pid}/task").glob("*/children")
    found = [int(pid) for path in children for pid in path.read_text().split()]
    return next(pid for pid in found if b"\0edge\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())


def assert_all_delivered(report: BenchReport) -> None:
    assert report.verdict in (Verdict.PASSED, Verdict.LOAD_CLIENT_SATURATED), report.summary()
    assert report.counts == {}, report.summary()
    assert report.deliveries.expected == report.deliveries.received > 0
    assert report.messages.submitted == report.messages.acked + report.messages.refused
    assert report.messages.acked > 0


@pytest.mark.parametrize("delivery", list(DeliveryMode))
def test_every_message_is_delivered_once_in_several_groups(pair: ThrongProcess, delivery: DeliveryMode) -> None:
    """I1 to I6, I9."""
    report = run(plan_for(pair, groups=3, delivery=delivery, workers=2))
    assert_all_delivered(report)
    assert report.messages.acked == 200
    assert report.deliveries.expected == sum(slot.delivered for slot in report.slots)
    assert report.latency.last_receiver.count == 200
    assert [event.name for event in report.events] == ["connected", "sending", "stopped", "settled", "judged"]


def test_a_killed_edge_costs_nothing_but_time(pair: ThrongProcess) -> None:
    """I2, I3, I4, I6, I10 through kill -9 of one of two edges."""
    with BenchRun(plan_for(pair, seconds=6.0)) as running:
        assert running.wait_sending(30)
        deadline = time.monotonic() + 10
        while running.progress.acked < 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        killed = running.note("killed an edge")
        os.kill(edge_process(pair), signal.SIGKILL)
        report = running.wait(120)
    assert_all_delivered(report)
    assert report.connections.receiver_reconnects >= 5
    assert report.connections.closes.get("1006", 0) >= 5
    recovery = report.recovery_after(killed)
    assert recovery.first_ack_seconds is not None
    assert recovery.first_delivery_seconds is not None
    assert recovery.all_at_head_seconds is not None
    assert recovery.all_at_head_seconds > 0


def test_without_an_edge_it_says_that_the_server_cannot_be_reached(pair: ThrongProcess) -> None:
    nowhere = f"ws://127.0.0.1:{free_ports(1)}"
    report = run(plan_for(pair, urls=(nowhere,), connect_seconds=1.0))
    assert report.verdict is Verdict.SERVER_UNREACHABLE
    assert "0 of 24 clients" in report.reason


def command(throng: ThrongProcess, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "throng.cli.main", "bench", "--data-dir", str(throng.data_dir), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_the_command_writes_report_and_plot(pair: ThrongProcess, tmp_path: pathlib.Path) -> None:
    report, plot = tmp_path / "report.json", tmp_path / "plot.svg"
    arguments = ["--receivers", "5", "--senders", "2", "--rate", "20", "--seconds", "1", "--block-interval-ms", "50"]
    with command(pair, *arguments, "--report", str(report), "--plot", str(plot)) as process:
        out, progress = process.communicate(timeout=90)
    assert process.returncode in (0, 3), out + progress
    assert out.startswith(("PASSED", "LOAD_CLIENT_SATURATED"))
    assert "online" in progress
    document = json.loads(report.read_text())
    assert (document["schema"], document["version"]) == ("throng-bench", 1)
    assert document["deliveries"]["expected"] == document["deliveries"]["received"] == 100
    assert plot.read_text().startswith("<svg")
    assert "Bearer" not in report.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_in_good_order(pair: ThrongProcess, tmp_path: pathlib.Path, number: signal.Signals) -> None:
    report = tmp_path / "report.json"
    arguments = ["--receivers", "5", "--senders", "2", "--rate", "20", "--seconds", "60", "--report", str(report)]
    with command(pair, *arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "written" in line and "written 0" not in line:
                process.send_signal(number)
                break
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 5, out
    assert out.startswith("ABORTED")
    document = json.loads(report.read_text())
    assert document["messages"]["acked"] == document["messages"]["submitted"] > 0
    assert document["deliveries"]["missing"] == 0


def test_other_machines_are_refused(pair: ThrongProcess) -> None:
    with command(pair, "--url", "ws://192.0.2.1:8080") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--allow-remote" in errors


def test_a_group_service_that_is_away_is_no_fault_of_the_product(pair: ThrongProcess) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)}"
    with command(pair, "--group-address", nowhere, "--connect-seconds", "1") as process:
        out, errors = process.communicate(timeout=90)
    assert process.returncode == 4, out + errors
    assert "SERVER_UNREACHABLE" in errors


@pytest.mark.parametrize(
    "scenario",
    [
        ["storm-reconnect", "--seconds", "6", "--receivers", "30"],
        ["churn", "--seconds", "3", "--receivers", "30", "--churn-per-second", "10"],
        ["storm-send", "--seconds", "4", "--senders", "20", "--rate-steps", "1,10"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_scenario_delivers_everything_and_is_judged(pair: ThrongProcess, tmp_path: pathlib.Path, scenario: list[str]) -> None:
    """Demands on time are told and fail nothing here: this machine may be busy."""
    report = tmp_path / "report.json"
    with command(pair, "--scenario", *scenario, "--report", str(report)) as process:
        out, errors = process.communicate(timeout=90)
    assert process.returncode in (0, 3, 6), out + errors
    document = json.loads(report.read_text())
    assert document["counts"] == {}
    assert document["deliveries"]["missing"] == 0
    assert document["scenario"]["name"] == scenario[0]
    assert document["scenario"]["demands"]
    assert all(demand["met"] for demand in document["scenario"]["demands"] if demand["absolute"])
    assert document["samples"][-1]["resident_bytes"] > 0
    assert "scenario" in out
