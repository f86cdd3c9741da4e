"""Measures on this machine what a send to one of many sockets costs: the loop that an edge's fan-out is."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from throng.sizing.assumptions import SEND_BYTES, Assumption

SOCKETS = 2_000
_SECONDS = 1.5
_LARGE_BYTES = 8_192
_REST_SECONDS = 0.002


def self_test(*, sockets: int = SOCKETS, seconds: float = _SECONDS) -> list[Assumption]:
    """Takes a few seconds: sends small and large frames round all sockets over loopback, another process reads them.

    CPU time is this process's alone. Over loopback the kernel does the receiver's work, too, so a real network is cheaper.

    Raises:
        OSError: sockets cannot be had.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < sockets + 64:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, sockets + 64), hard))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=sockets))
        command = [sys.executable, "-m", "throng.sizing.drain", str(server.getsockname()[1]), str(sockets)]
        reader = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        stack.callback(reader.terminate)
        server.settimeout(20)
        clients = [stack.enter_context(server.accept()[0]) for _ in range(sockets)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
        small, large = _seconds_per_send(clients, seconds)
    source = f"measured here: {sockets} sockets over loopback"
    per_kb = max(0.0, (large - small) * 1e6 / ((_LARGE_BYTES - SEND_BYTES) / 1_000))
    return [
        Assumption("sends_per_cpu_second", round(1 / small), "", source),
        Assumption("send_us_per_kb", round(per_kb, 3), "", source),
    ]


def _seconds_per_send(clients: Sequence[socket.socket], seconds: float) -> tuple[float, float]:
    """CPU seconds of a send of a small and of a large frame: medians of rounds over all sockets, in turn.

    After each round it rests, so that the reader keeps up; a round in which it did not is left out.
    """
    sends = [client.send for client in clients]
    frames = (bytes(SEND_BYTES), bytes(_LARGE_BYTES))
    rounds: tuple[list[float], list[float]] = ([], [])
    deadline = time.monotonic() + 2 * seconds
    while time.monotonic() < deadline or not all(rounds):
        for frame, found in zip(frames, rounds, strict=True):
            began = time.thread_time()
            try:
                for send in sends:
                    send(frame)
            except BlockingIOError:
                time.sleep(10 * _REST_SECONDS)
                continue
            found.append((time.thread_time() - began) / len(sends))
            time.sleep(_REST_SECONDS)
    return median(rounds[0]), median(rounds[1])
