"""Measures ways to send one frame to many sockets in the same process, in turn: loops of Python, the compiled loop, io_uring.

Connections over loopback that are drained between two turns, outside the measurement. CPU is that of the whole process, so that threads
of the kernel's rings count. Says nothing of an edge: bench_fan_out.py does. Ends by itself.

    python tests/load/bench_send_loops.py [--sockets 4000] [--bytes 208] [--rounds 40]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from itertools import repeat
from operator import call

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from edge.native.build import build
from edge.native.library import NativeBulkSend
from edge.protocol.frames import binary_frame

HERE = pathlib.Path(__file__).resolve().parent
CHUNK = 64
BATCH = 256


def connect(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Pairs over loopback, near ends and far ends."""
    near, far = [], []
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        for _ in range(count):
            far.append(socket.create_connection(listener.getsockname()))
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.append(accepted)
    return near, far


def python_ways(near: list[socket.socket], frame: bytes) -> dict[str, Callable[[], None]]:
    """Each sends the frame to all, and looks whether it went whole."""
    size, sends, numbers = len(frame), [sock.send for sock in near], [sock.fileno() for sock in near]
    chunks = range(0, len(near), CHUNK)

    def loop() -> None:
        for at in chunks:
            for send in iter(sends[at : at + CHUNK]):
                if send(frame) != size:
                    raise RuntimeError("short")

    def mapped(function: Callable[..., int], objects: list) -> Callable[[], None]:
        def run() -> None:
            for at in chunks:
                sent: list[int] = []
                sent.extend(map(function, objects[at : at + CHUNK], repeat(frame)))
                if sent.count(size) != len(sent):
                    raise RuntimeError("short")

        return run

    return {
        "loop of Python over bound sends (the hub's)": loop,
        "map over bound sends": mapped(call, sends),
        "map of socket.send over sockets": mapped(socket.SocketType.send, near),
        "map of os.write over descriptors": mapped(os.write, numbers),
    }


def other_ways(near: list[socket.socket], frame: bytes, folder: pathlib.Path) -> dict[str, Callable[[], None]]:
    """The compiled loop in slices of 2 ms, and io_uring where it is allowed."""
    descriptors = array("i", [sock.fileno() for sock in near])
    bulk = NativeBulkSend(build(folder))

    def compiled() -> None:
        left = len(descriptors)
        while left:
            left, troubles = bulk(descriptors, left, frame, 0.002)
            if troubles:
                raise RuntimeError("short")

    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "uring.so", HERE / "fan_out_uring.c"], check=True)
    library = ctypes.CDLL(str(folder / "uring.so"))
    library.uring_send.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    ways: dict[str, Callable[[], None]] = {"compiled loop, slices of 2 ms": compiled}
    if library.uring_open(2 * BATCH):
        print("io_uring is refused here")
        return ways

    def ring() -> None:
        if library.uring_send(descriptors.buffer_info()[0], len(descriptors), frame, len(frame), BATCH):
            raise RuntimeError("short")

    return {**ways, f"io_uring, {BATCH} sends per call": ring}


def main() -> int:
    """Runs all in turn; medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sockets", type=int, default=4_000)
    parser.add_argument("--bytes", type=int, default=208)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    near, far = connect(options.sockets)
    frame = binary_frame(b"x" * options.bytes)
    with tempfile.TemporaryDirectory() as folder:
        ways = {**python_ways(near, frame), **other_ways(near, frame, pathlib.Path(folder))}
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                cpu, wall = time.process_time(), time.perf_counter()
                way()
                figures[name].append((time.process_time() - cpu, time.perf_counter() - wall))
                for sock in far:
                    sock.recv(65_536)
    base = statistics.median(cpu for cpu, _ in figures["compiled loop, slices of 2 ms"])
    print("| way | CPU µs per send | wall µs per send | sends per CPU second, of the compiled loop |\n| --- | --- | --- | --- |")
    for name, rounds in figures.items():
        cpu, wall = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {cpu / options.sockets * 1e6:.2f} | {wall / options.sockets * 1e6:.2f} | {base / cpu:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
