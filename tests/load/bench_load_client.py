"""Measures what a delivery costs the load client of `throng bench`, so that its own limit is known beside the server's.

A plain server in a process of its own upgrades every socket, lets it enter and sends the same block to all at a given pace; one worker's
fleet receives and judges. Figures are CPU seconds of the client's process. Ends by itself.

    python tests/load/bench_load_client.py [--sockets 10000] [--rates 1 5 10] [--messages 1 10] [--seconds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import pathlib
import platform
import random
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time

import uvloop

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2, message_pb2
from throng.bench.fleet import Fleet
from throng.bench.pages import make_text
from throng.bench.shares import ClientShare, Share

GROUP, RUN = "bench-load", "load"


def frame(server_frame: client_pb2.ServerFrame) -> bytes:
    """One unmasked binary frame below 64 KB."""
    payload = server_frame.SerializeToString()
    size = len(payload)
    return (bytes((0x82, size)) if size < 126 else bytes((0x82, 126, size >> 8, size & 0xFF))) + payload


def block(seq: int, messages: int, text_bytes: int) -> bytes:
    """A block behind `seq`, written now."""
    now_ns = time.monotonic_ns()
    rows = [
        message_pb2.Message(
            seq=seq + place,
            sender_id="s",
            client_msg_id=f"00000000-0000-4000-8000-{seq + place:012d}",
            sent_at_ms=1_790_000_000_000,
            text=message_pb2.Text(text=make_text(RUN, GROUP, seq + place, now_ns, text_bytes)),
        )
        for place in range(1, messages + 1)
    ]
    return frame(client_pb2.ServerFrame(block=message_pb2.Block(group_id=GROUP, epoch=1, prev_seq=seq, messages=rows)))


class Server:
    """Upgrades sockets and lets them enter; every `RATE MESSAGES` line on standard input sets the pace, an empty one ends it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self.members: dict[int, socket.socket] = {}
        self.seq = 0
        self.rate, self.messages = 0.0, 1

    def serve(self) -> None:
        """Serves until standard input ends."""
        from edge.protocol.handshake import accept_key

        print(self.listener.getsockname()[1], flush=True)
        due = time.monotonic()
        while True:
            wait = max(0.0, due - time.monotonic()) if self.rate else 0.05
            for descriptor, _ in self.epoll.poll(wait, 256):
                if descriptor == sys.stdin.fileno():
                    line = sys.stdin.readline()
                    if not line.strip():
                        return
                    self.rate, self.messages = float(line.split()[0]), int(line.split()[1])
                    due = time.monotonic()
                elif descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.answer(descriptor, accept_key)
            if self.rate and time.monotonic() >= due:
                self.publish()
                due += 1 / self.rate

    def accept(self) -> None:
        try:
            while True:
                member, _ = self.listener.accept()
                member.setblocking(False)
                self.members[member.fileno()] = member
                self.epoll.register(member.fileno(), select.EPOLLIN)
        except BlockingIOError:
            return

    def answer(self, descriptor: int, accept_key) -> None:
        member = self.members[descriptor]
        try:
            data = member.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self.epoll.unregister(descriptor)
            self.members.pop(descriptor).close()
        elif data.startswith(b"GET"):
            key = next(line.split(b": ")[1] for line in data.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            welcome = client_pb2.ServerFrame(welcome=client_pb2.Welcome(edge_id="load", heartbeat_interval_ms=600_000))
            member.send(f"{head}Sec-WebSocket-Accept: {accept_key(key.decode())}\r\n\r\n".encode() + frame(welcome))
        elif data[0] == 0x82:
            group = group_pb2.Group(group_id=GROUP, epoch=1, head_seq=self.seq)
            member.send(frame(client_pb2.ServerFrame(request_id=1, entered=client_pb2.Entered(group=group))))

    def publish(self) -> None:
        data = block(self.seq, self.messages, 200)
        self.seq += self.messages
        for member in self.members.values():
            try:
                if member.send(data) == len(data):
                    continue
            except (BlockingIOError, ConnectionError):
                pass
            member.shutdown(socket.SHUT_RDWR)  # half a frame would be a fault of this server, not of what is measured


async def measure(options: argparse.Namespace, server: subprocess.Popen[str], port: int, secret: pathlib.Path) -> list[dict]:
    """Connects a fleet and measures each pace."""
    receivers = tuple(ClientShare(f"r{number}", GROUP, 0) for number in range(options.sockets))
    share = Share(
        run_id=RUN,
        urls=(f"ws://127.0.0.1:{port}",),
        jwt_secret_file=secret,
        origin_ns=time.monotonic_ns(),
        receivers=receivers,
        senders=(),
        rate=0.0,
        ramp=2_000.0,
        text_bytes=200,
        notify=False,
        max_attempts=1,
        seed=1,
    )
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fleet = Fleet(share, random.random)
    fleet.open_all(asyncio.get_running_loop())
    deadline = time.monotonic() + 60 + options.sockets / 1_000
    while fleet.tick().online < options.sockets:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {fleet.tick().online} sockets could enter: {fleet.problems} {fleet.own_limits}")
        await asyncio.sleep(0.2)
    print(
        f"{options.sockets} sockets, {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / options.sockets:.1f} KB each"
    )
    gc.freeze()
    rows = []
    for messages in options.messages:
        for rate in options.rates:
            rows.append(await measure_pace(fleet, server, rate, messages, options.seconds))
            print(rows[-1], flush=True)
    await fleet.close()
    return rows


async def measure_pace(fleet: Fleet, server: subprocess.Popen[str], rate: float, messages: int, seconds: float) -> dict:
    """One pace: blocks per second to everyone, messages per block."""
    assert server.stdin is not None
    fleet.begin(time.monotonic_ns(), time.monotonic_ns())
    frames = sum(client.receiver.held_seq for client in fleet.receivers) / messages
    cpu, started = time.process_time(), time.monotonic()
    server.stdin.write(f"{rate} {messages}\n")
    server.stdin.flush()
    await asyncio.sleep(seconds)
    cpu, elapsed = time.process_time() - cpu, time.monotonic() - started
    done = sum(client.receiver.held_seq for client in fleet.receivers) / messages - frames
    server.stdin.write(f"0 {messages}\n")
    server.stdin.flush()
    deadline = time.monotonic() + 30
    while fleet.tick().behind and time.monotonic() < deadline:  # noqa: ASYNC110 - a fleet is asked, it tells nobody
        await asyncio.sleep(0.1)
    assert not fleet.findings.counts, fleet.findings.examples
    return {
        "messages_per_block": messages,
        "blocks_per_second_asked": rate,
        "frames_per_second": round(done / elapsed),
        "cpu_share": round(cpu / elapsed, 3),
        "us_per_frame": round(cpu / done * 1e6, 2) if done else None,
        "us_per_message": round(cpu / done / messages * 1e6, 2) if done else None,
        "most_frames_per_cpu_second": round(done / cpu) if cpu else None,
    }


def main() -> int:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--rates", type=float, nargs="*", default=[1.0, 5.0, 10.0], help="blocks per second to everyone")
    parser.add_argument("--messages", type=int, nargs="*", default=[1, 10], help="messages per block")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        Server().serve()
        return 0
    if options.sockets + 200 > hard:
        print(f"this machine allows {hard} open files per process; take fewer sockets", file=sys.stderr)
        return 2
    command = [sys.executable, __file__, "--serve"]
    with tempfile.NamedTemporaryFile("w", suffix=".key") as secret:
        secret.write("0" * 64)
        secret.flush()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdin is not None
            port = int(server.stdout.readline())
            try:
                rows = uvloop.run(measure(options, server, port, pathlib.Path(secret.name)))
            finally:
                server.stdin.close()
    print(f"{platform.platform()}, Python {platform.python_version()}")
    if options.json:
        options.json.write_text(json.dumps({"sockets": options.sockets, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
