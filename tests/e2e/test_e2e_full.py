"""An edge with few open files: who is one too many is refused in words, and when nothing can be accepted it neither spins nor dies."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import resource
import socket
import time

import pytest
from frame_client import FrameClient, login
from throng_process import ThrongProcess

from throng.cli.data_folder import DataFolder
from throng.cluster.metrics import read_metric

pytestmark = pytest.mark.e2e
OPEN_FILES = 150
CLIENTS = 30


@pytest.fixture
def throng(data_dir: pathlib.Path) -> ThrongProcess:
    """Started with a low hard limit, which children inherit."""
    environment = {"THRONG_EDGE_RESERVED_DESCRIPTORS": "32", "THRONG_EDGE_MAX_CONNECTIONS": str(CLIENTS)}
    return ThrongProcess(data_dir, environment=environment, open_files=OPEN_FILES)


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_full_edge_refuses_and_survives_the_end_of_its_descriptors(throng: ThrongProcess) -> None:
    throng.start()
    pid = throng.process.pid if throng.process else 0
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (OPEN_FILES, OPEN_FILES)
    token, _ = login(throng.address, "Ann")
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(CLIENTS):
            client = FrameClient(throng.address, login(throng.address, f"member {number}")[0])
            stack.callback(client.close)
            clients.append(client)
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Authorization": f"Bearer {token}",
        }
        host, port = throng.address.removeprefix("http://").rsplit(":", 1)
        door = http.client.HTTPConnection(host, int(port), timeout=5)
        door.request("GET", "/ws", headers=upgrade)
        refused = door.getresponse()
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        assert json.loads(refused.read()) == {"code": "UNAVAILABLE", "text": "this edge is full"}
        door.close()

        crowd = [stack.enter_context(socket.create_connection((host, int(port)), 5)) for _ in range(OPEN_FILES)]
        for one in crowd:
            one.sendall(b"GET /healthz HTTP/1.0\r\n")  # who says nothing is not even accepted
        crowd[-1].sendall(b"\r\n")
        before, began = cpu_seconds(pid), time.monotonic()
        crowd[-1].settimeout(1.0)
        with pytest.raises(TimeoutError):
            crowd[-1].recv(1)
        spent = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        assert spent < 0.5, f"{spent:.2f} of a core while nothing can be accepted"
        clients[0].ask(ping={})  # those who are in notice nothing

        for one in crowd[:-1]:
            one.close()
        crowd[-1].settimeout(10.0)
        assert crowd[-1].recv(100).startswith(b"HTTP/1.1 200")  # who waited has its turn
        (operations,) = DataFolder(throng.data_dir).read_running().operations  # type: ignore[union-attr]
        assert read_metric(operations, "throng_edge_accept_pauses_total") >= 1
        assert read_metric(operations, "throng_edge_handshakes_total", outcome="full") == 1
    assert throng.stop() == 0
    assert "accepting_paused" in throng.log.read_text()
    assert "Too many open files" in throng.log.read_text()
