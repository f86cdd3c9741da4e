"""A Throng for the connection benchmarks: `throng up` in one process, and the edge that is measured in one of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.testing.servers import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """One edge process: where its clients and its operators are served."""

    process: subprocess.Popen[bytes]
    address: str
    operations: str

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name; samples of one name are added up, but for `le`."""
        read: dict[str, float] = {}
        for sample in self._samples():
            le = sample.labels.get("le")
            name = f"{sample.name}<={le}" if le else sample.name
            read[name] = read.get(name, 0.0) + sample.value
        return read

    def handshakes(self) -> dict[str, int]:
        """Upgrades so far by outcome, without those that never came."""
        ours = [sample for sample in self._samples() if sample.name == "throng_edge_handshakes_total"]
        return {sample.labels["outcome"]: int(sample.value) for sample in ours if sample.value}

    def _samples(self) -> Iterator[Sample]:
        with urllib.request.urlopen(f"http://{self.operations}/metrics", timeout=30) as response:
            text = response.read().decode()
        for family in text_string_to_metric_families(text):
            yield from family.samples

    def ready(self) -> bool:
        """It takes clients."""
        try:
            with urllib.request.urlopen(f"http://{self.operations}/readyz", timeout=2):
                return True
        except OSError:
            return False


class EdgeStage:
    """What runs. `pid`, `address` and `operations` are those of the edge that is measured; `up_pid` that of everything else."""

    def __init__(self, folder: pathlib.Path, flags: dict[str, str]) -> None:
        self.folder = folder
        self._flags = flags
        self._log = (folder / "log").open("wb")
        self._children: list[subprocess.Popen[bytes]] = []
        self._channel: grpc.Channel | None = None
        self.pid = self.up_pid = 0
        self.address = self.operations = ""

    def start(self) -> None:
        """Starts both and waits until the edge takes clients."""
        data = self.folder / "data"
        up = self._spawn("up", {"port": "0", "data_dir": str(data)})
        self.up_pid = up.pid
        running_file = data / "running.json"
        self._wait(running_file.exists)
        running = self._running = json.loads(running_file.read_text())
        self.group_address, self.router_address = str(running["group"]), str(running["router"])
        self.key_file = data / "token.key"
        self.issuer = TokenIssuer.from_file(self.key_file)
        self._channel = grpc.insecure_channel(self.group_address)
        self.measured = self.add_edge("measured")
        self.pid, self.address, self.operations = self.measured.process.pid, self.measured.address, self.measured.operations

    def add_edge(self, edge_id: str, **more: str) -> RunningEdge:
        """Starts one more edge, with the settings of all and its own, and waits until it takes clients."""
        address, operations = (f"127.0.0.1:{free_port()}" for _ in range(2))
        flags = {
            "edge_id": edge_id,
            "port": address.rpartition(":")[2],
            "metrics_port": operations.rpartition(":")[2],
            "group_addresses": self.group_address,
            "router_addresses": self.router_address,
            "unread_addresses": self._running["unread"],
            "jwt_secret_file": str(self.key_file),
            "drain_window_ms": "0",
            **self._flags,
            **more,
        }
        if "port" in self._flags | more:
            address = f"127.0.0.1:{flags['port']}"
        edge = RunningEdge(self._spawn("edge", flags), address, operations)
        self._wait(edge.ready)
        return edge

    def _spawn(self, verb: str, flags: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "throng.cli.main", verb]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        child = subprocess.Popen(command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, cwd=ROOT, env=ENVIRONMENT)
        self._children.append(child)
        return child

    def _wait(self, condition: object) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():  # type: ignore[operator]
            if time.monotonic() > deadline or any(child.poll() is not None for child in self._children):
                raise RuntimeError(f"Throng did not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def make_group(self, group_id: str, **settings: int | bool) -> None:
        """Makes an open group without limits."""
        wanted = common.GroupSettings(**{"open": True, "send_interval_ms": 0, "budget_per_second": 0, **settings})  # type: ignore[arg-type]
        request = group_pb2.CreateGroupRequest(group_id=group_id, settings=wanted)
        group_pb2_grpc.GroupServiceStub(self._channel).CreateGroup(request, timeout=20)

    def publish(self, group_id: str, text: str) -> int:
        """Stores and sends a message as a program does; returns its seq when it is durable."""
        request = message_pb2.SendMessageRequest(
            group_id=group_id,
            user_id="publisher",
            client_msg_id=str(uuid.uuid4()),
            body=pb.Message(text=pb.Text(text=text)),
            unlimited=True,
        )
        return int(message_pb2_grpc.MessageServiceStub(self._channel).SendMessage(request, timeout=20).position.seq)

    def add_publisher(self, group_id: str) -> None:
        """Lets `publish` speak in a group."""
        request = group_pb2.AddMembersRequest(group_id=group_id, members=[common.Member(user_id="publisher")])
        group_pb2_grpc.GroupServiceStub(self._channel).AddMembers(request, timeout=20)

    def metrics(self) -> dict[str, float]:
        """The measured edge's metrics; see `RunningEdge.metrics`."""
        return self.measured.metrics()

    def log_tail(self, characters: int = 2_000) -> str:
        """The end of what both processes logged."""
        return (self.folder / "log").read_text(errors="replace")[-characters:]

    def stop(self) -> None:
        """Ends both."""
        if self._channel is not None:
            self._channel.close()
        for child in reversed(self._children):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._log.close()


@contextmanager
def running_edge(**flags: str) -> Iterator[EdgeStage]:
    """An edge between a `throng up` and the benchmark, with these settings; everything ends and is forgotten afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        stage = EdgeStage(pathlib.Path(folder), flags)
        try:
            stage.start()
            yield stage
        finally:
            stage.stop()
