"""Many WebSocket clients in one process, for the connection benchmarks: plain sockets, one epoll, frames by hand."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.client.v1 import client_pb2
from throng.bench.websocket import client_frame, split_frames

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
READ_BYTES = 262_144
SOURCE_PORTS = 20_000
"""Connections from one source address; more come from the next one of 127.0.0.0/8, for the system has only some 28,000 ports."""


class Member:
    """One client. `deaf`: it reads nothing, not even answers to pings."""

    __slots__ = ("born", "close_code", "deaf", "edge_id", "entered", "fd", "head", "refused", "rest", "sock", "token", "upgraded")

    def __init__(self, sock: socket.socket, token: str) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.token = token
        self.rest = b""
        self.upgraded = False
        self.refused = False
        self.entered = False
        self.deaf = False
        self.head = 0
        self.edge_id = ""
        self.close_code = 0
        self.born = time.monotonic()


class Crowd:
    """Clients of one edge that enter one group each. Single thread: `pump` turns it.

    Attributes:
        on_frame: hears of every frame of a member that has entered, parsed; None: frames are only counted.
        refused: status lines of upgrades, and texts of failures, of those who were not let in.
    """

    def __init__(self, address: str, issuer: TokenIssuer) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._issuer = issuer
        self._epoll = select.epoll()
        self._tokens: deque[str] = deque()
        self._made = 0
        self.members: dict[int, Member] = {}
        self.on_frame: Callable[[Member, client_pb2.ServerFrame], None] | None = None
        self.on_gone: Callable[[Member], None] | None = None
        self.refused: list[str] = []
        self.frames = 0
        self.entered = 0

    def prepare(self, users: Iterable[str]) -> None:
        """Signs tokens beforehand, so that it costs nothing while clients come."""
        self._tokens.extend(self._issuer.issue(user, ttl_seconds=86_400, name=user) for user in users)

    def come(self, group_id: str, *, delivery: str = "inline", receive_bytes: int = 0) -> Member:
        """One more client begins to connect. `receive_bytes`: size of its receive buffer; 0: the system's."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if self._made >= SOURCE_PORTS:
            sock.bind((f"127.0.0.{1 + self._made // SOURCE_PORTS % 200}", 0))
        self._made += 1
        sock.connect(self._target)
        sock.setblocking(False)
        token = self._tokens.popleft()
        sock.send(
            f"GET /ws?groups={group_id}&delivery={delivery} HTTP/1.1\r\nHost: {self._target[0]}:{self._target[1]}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
            f"Sec-WebSocket-Protocol: throng.v1.protobuf\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        member = Member(sock, token)
        self.members[member.fd] = member
        self._epoll.register(member.fd, select.EPOLLIN)
        return member

    def come_all(
        self, count: int, group_id: str, *, under_way: int = 64, seconds: float = 300.0, **more: int | str
    ) -> list[Member]:
        """Brings so many clients in, some at a time; returns them when all have entered.

        Raises:
            TimeoutError: not all of them got in.
        """
        deadline = time.monotonic() + seconds
        came: list[Member] = []
        wanted = self.entered + count
        while self.entered < wanted:
            while len(came) < count and len(came) - (self.entered - wanted + count) < under_way:
                came.append(self.come(group_id, **more))  # type: ignore[arg-type]
            self.pump(0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{wanted - self.entered} of {count} did not get in; refused: {self.refused[:3]}")
        return came

    def go(self, member: Member, *, politely: bool = True) -> None:
        """A client leaves, with or without a close frame."""
        if self.members.pop(member.fd, None) is None:
            return
        if politely:
            with contextlib.suppress(OSError):
                member.sock.send(client_frame(struct.pack("!H", 1000), 8))
        self._forget(member)

    def go_deaf(self, member: Member) -> None:
        """A client reads nothing from now on."""
        member.deaf = True
        self._epoll.unregister(member.fd)

    def hear_again(self, member: Member) -> None:
        """A deaf client goes on reading."""
        member.deaf = False
        self._epoll.register(member.fd, select.EPOLLIN)

    def say(self, member: Member, frame: client_pb2.ClientFrame) -> None:
        """A client sends."""
        member.sock.send(client_frame(frame.SerializeToString()))

    def pump(self, seconds: float) -> None:
        """Reads whatever comes for so long, at least once."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            for fd, _ in self._epoll.poll(max(left, 0), 512):
                member = self.members.get(fd)
                if member is not None:
                    self._read(member)
            if left <= 0:
                return

    def fileno(self) -> int:
        """Readable when something came; `pump` reads it."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Everybody leaves at once."""
        for member in list(self.members.values()):
            self.go(member, politely=False)
        self._epoll.close()

    def _forget(self, member: Member) -> None:
        if not member.deaf:
            self._epoll.unregister(member.fd)
        member.sock.close()
        self.entered -= member.entered

    def _read(self, member: Member) -> None:
        try:
            data = member.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            del self.members[member.fd]
            self._forget(member)
            if self.on_gone is not None:
                self.on_gone(member)
            return
        if member.rest:
            data = member.rest + data
        if not member.upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found or not head.startswith(b"HTTP/1.1 101"):
                member.rest = head + found + data
                if found and not member.refused:
                    member.refused = True
                    self.refused.append(head.split(b"\r\n", 1)[0].decode())
                return
            member.upgraded = True
        member.rest = self._frames(member, data)

    def _frames(self, member: Member, data: bytes) -> bytes:
        frames, rest = split_frames(data)
        for frame in frames:
            self._frame(member, frame.opcode, frame.payload)
        return rest

    def _frame(self, member: Member, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            member.sock.send(client_frame(payload, 10))
        elif opcode == 8:
            member.close_code = int.from_bytes(payload[:2], "big")
        elif opcode == 2:
            self.frames += 1
            if member.entered and self.on_frame is None:
                return
            frame = client_pb2.ServerFrame.FromString(payload)
            if not member.entered and frame.HasField("entered"):
                member.entered = True
                member.head = frame.entered.group.head_seq
                self.entered += 1
            elif frame.HasField("welcome"):
                member.edge_id = frame.welcome.edge_id
            elif not member.entered and frame.HasField("failure"):
                member.refused = True
                self.refused.append(frame.failure.text)
            elif self.on_frame is not None:
                self.on_frame(member, frame)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kb(pid: int) -> dict[str, int]:
    """Resident (`Rss`), proportional (`Pss`) and private (`Private`) memory of a process, KB."""
    read: dict[str, int] = {}
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss", "Private_Clean", "Private_Dirty"):
                read[name] = int(rest.split()[0])
    read["Private"] = read.pop("Private_Clean") + read.pop("Private_Dirty")
    return read


def kernel_kb() -> dict[str, int]:
    """What the kernel of the whole machine holds: slab objects and socket buffers, KB; TCP sockets there are, and those that
    ended within the last minute."""
    read: dict[str, int] = {}
    with open("/proc/meminfo") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name == "Slab":
                read["slab"] = int(rest.split()[0])
    with open("/proc/net/sockstat") as file:
        for line in file:
            if line.startswith("TCP:"):
                fields = line.split()
                read["sockets"] = int(fields[fields.index("inuse") + 1])
                read["time_wait"] = int(fields[fields.index("tw") + 1])
                read["buffers"] = int(fields[fields.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return read
