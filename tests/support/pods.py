"""Plays the kubelet for rendered workloads: each pod is a process here, with an address of 127.0.0.0/8 of its own as its network.

What is replaced is what a cluster would supply: the pod's address, the wildcard (which would reach into other pods' networks), DNS names of
Services, and the folder of mounted files. Commands, settings, ports and probes are those of the chart.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from chart import Object, component_of, of_kind, workloads
from grpc_health.v1 import health_pb2, health_pb2_grpc

from throng.runtime import rpc_sync
from throng.testing.certificates import write_private

BIN = pathlib.Path(sys.executable).parent
_PROBE_SECONDS = 5.0


class Pod:
    """One pod of a workload, or the one of a job."""

    def __init__(self, spec: Object, address: str, folder: pathlib.Path, substitute: Mapping[str, str]) -> None:
        self.spec = spec
        self.container: Object = spec["containers"][0]
        self.name = f"throng-{self.container['name']}-0"
        self.address = address
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._substitute: dict[str, str] = {}
        self.tmp = folder / self.name / "tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        own = {"0.0.0.0": address, "/etc/throng/": f"{folder}/{self.name}/files/", "/tmp/": f"{self.tmp}/"}
        # Our own programs stay what they are, also where the whole checkout lies under /tmp.
        self.substitute({**own, str(BIN): str(BIN), **substitute})

    def substitute(self, more: Mapping[str, str]) -> None:
        """What stands for something else here, in commands and variables; longer ones first, and what was put in is left alone."""
        self._substitute = {**self._substitute, **more}

    def mount(self, secrets: Mapping[tuple[str, str], bytes]) -> None:
        """Writes the files of its volume, from what secrets hold by name and key."""
        for volume in self.spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                ((_, reference),) = source.items()
                for item in reference["items"]:
                    path = self.folder / self.name / "files" / item["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_private(path, secrets[reference["name"], item["key"]])

    def start(self) -> None:
        """Starts the container's command with its environment and nothing of ours but the way to Python."""
        words = self.container.get("command", []) + self.container.get("args", [])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command(words), env=self.variables(), stdout=log, stderr=log)

    def run(self, timeout_seconds: float) -> int:
        """Runs a job to its end; returns its exit code."""
        self.start()
        assert self.process is not None
        return self.process.wait(timeout_seconds)

    def variables(self) -> dict[str, str]:
        """The environment as a kubelet makes it."""
        given = {"POD_NAME": self.name, "POD_IP": self.address, "NODE_NAME": "node-1", "HOST_IP": "127.0.0.1"}
        for one in self.container.get("env", []):
            value = re.sub(r"\$\((\w+)\)", lambda match: given[match[1]], one["value"]) if "value" in one else given[one["name"]]
            given[one["name"]] = self._replaced(value)
        return {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **given}

    def _replaced(self, text: str) -> str:
        pattern = "|".join(re.escape(old) for old in sorted(self._substitute, key=len, reverse=True))
        return re.sub(pattern, lambda match: self._substitute[match[0]], text)

    def _command(self, words: list[str]) -> list[str]:
        return [self._replaced(word) for word in words]

    def port(self, name: str) -> int:
        """The number of a named port."""
        return next(int(port["containerPort"]) for port in self.container["ports"] if port["name"] == name)

    def passes(self, probe: str) -> bool:
        """Runs one of the chart's probes once, as a kubelet would."""
        found = self.container[probe]
        if "httpGet" in found:
            url = f"http://{self.address}:{self.port(found['httpGet']['port'])}{found['httpGet']['path']}"
            try:
                with urllib.request.urlopen(url, timeout=found["timeoutSeconds"]) as response:
                    return bool(response.status == 200)
            except (OSError, urllib.error.URLError):
                return False
        if "tcpSocket" in found:
            with socket.socket() as trying:
                return trying.connect_ex((self.address, self.port(found["tcpSocket"]["port"]))) == 0
        if "grpc" in found:
            return _serves(f"{self.address}:{found['grpc']['port']}")
        done = subprocess.run(
            self._command(found["exec"]["command"]), env=self.variables(), capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def wait_for(self, probe: str, seconds: float) -> None:
        """Waits until a probe passes; a pod that ends meanwhile has failed."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not self.passes(probe):
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended:\n{self.text()}"
            assert time.monotonic() < deadline, f"{self.name}: {probe} does not pass:\n{self.text()}"
            pause.wait(0.2)

    def execute(self, *command: str) -> str:
        """`kubectl exec`: runs a command beside the container's own; returns its output."""
        words = self._command(list(command))
        return subprocess.run(words, env=self.variables(), capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    def text(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8")[-4000:]

    def stop(self) -> float:
        """SIGTERM, and the time until it has ended, seconds; it is killed after its terminationGracePeriodSeconds."""
        process = self.process
        if process is None or process.poll() is not None:
            return 0.0
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self.spec.get("terminationGracePeriodSeconds", 30))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end in its grace period:\n{self.text()}") from None
        return time.monotonic() - started

    def kill(self) -> None:
        """Ends it whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _serves(address: str) -> bool:
    with rpc_sync.channel([address]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except Exception:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def make_pods(objects: tuple[Object, ...], folder: pathlib.Path, network: int, hosts: Mapping[str, str]) -> dict[str, Pod]:
    """One pod per workload and job, by component; `network` is the third byte of their addresses, `hosts` are further names."""
    addresses = {component_of(one): f"127.0.{network}.{number}" for number, (one, _) in enumerate(workloads(objects), 1)}
    names = dict(hosts)
    for service in of_kind(objects, "Service").values():
        if service["spec"].get("clusterIP") == "None":
            full = f"{service['metadata']['name']}.chat.svc.cluster.local"
            names[f"dns:///{full}"] = names[full] = addresses[component_of(service)]
    return {component_of(one): Pod(pod["spec"], addresses[component_of(one)], folder, names) for one, pod in workloads(objects)}
