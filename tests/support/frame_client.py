"""A WebSocket client for tests, written against docs/protocol.md alone: raw sockets, JSON frames, nothing of Throng's code."""

from __future__ import annotations

import base64
import collections
import json
import os
import socket
import struct
import time
import uuid
from collections.abc import Callable
from typing import Any

Frame = dict[str, Any]


class Refused(Exception):
    """The upgrade was refused: HTTP status and the code in the body."""

    def __init__(self, status: int, body: Frame) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.code = body.get("code")


class Closed(Exception):
    """The server closed the connection: close code (1006 when there was no close frame)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class FrameClient:
    """One connection. `wait` gives frames that match; the others stay in order for later waits."""

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        path: str = "/ws",
        headers: dict[str, str] | None = None,
        subprotocol: str | None = "throng.v1.json",
        timeout_seconds: float = 10.0,
    ) -> None:
        host, port = address.removeprefix("http://").rstrip("/").rsplit(":", 1)
        self.timeout_seconds = timeout_seconds
        self.socket = socket.create_connection((host, int(port)), timeout_seconds)
        self._buffer = b""
        self._fragments = b""
        self.frames: collections.deque[Frame] = collections.deque()
        self._next_request = 0
        try:
            self._upgrade(f"{host}:{port}", path, token, subprotocol, headers or {})
        except BaseException:
            self.socket.close()
            raise

    def _upgrade(self, host: str, path: str, token: str | None, subprotocol: str | None, headers: dict[str, str]) -> None:
        lines = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        if subprotocol:
            lines["Sec-WebSocket-Protocol"] = subprotocol
        if token:
            lines["Authorization"] = f"Bearer {token}"
        lines |= headers
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value) + "\r\n"
        self.socket.sendall(head.encode())
        while b"\r\n\r\n" not in self._buffer:
            self._read_more()
        answer, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status = int(answer.split(b" ", 2)[1])
        if status != 101:
            length = next(
                (int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            while len(self._buffer) < length:
                self._read_more()
            try:
                body = json.loads(self._buffer[:length] or b"{}")
            except ValueError:
                body = {}
            raise Refused(status, body)

    def _read_more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise Closed(1006)
        self._buffer += data

    # -- frames up

    def raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def send_payload(self, payload: bytes, *, opcode: int = 1, fin: bool = True, mask: bytes | None = b"\x01\x02\x03\x04") -> None:
        """Sends one WebSocket frame; `mask` None sends it unmasked."""
        head = bytes([(0x80 if fin else 0) | opcode])
        masked = 0x80 if mask else 0
        if len(payload) < 126:
            head += bytes([masked | len(payload)])
        elif len(payload) < 65536:
            head += bytes([masked | 126]) + struct.pack("!H", len(payload))
        else:
            head += bytes([masked | 127]) + struct.pack("!Q", len(payload))
        if mask:
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            head += mask
        self.socket.sendall(head + payload)

    def request(self, **frame: Any) -> str:
        """Sends one ClientFrame with a request id of its own; returns the id."""
        self._next_request += 1
        request_id = str(self._next_request)
        self.send_payload(json.dumps({"requestId": request_id, **frame}).encode())
        return request_id

    # -- frames down

    def _read_frame(self, deadline: float) -> tuple[int, bytes, bool]:
        def need(count: int) -> None:
            while len(self._buffer) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("no frame in time")
                self.socket.settimeout(left)
                self._read_more()

        need(2)
        first, second = self._buffer[0], self._buffer[1]
        assert not second & 0x80, "a server must not mask"
        length, offset = second & 0x7F, 2
        if length == 126:
            need(4)
            length, offset = struct.unpack("!H", self._buffer[2:4])[0], 4
        elif length == 127:
            need(10)
            length, offset = struct.unpack("!Q", self._buffer[2:10])[0], 10
        need(offset + length)
        payload = self._buffer[offset : offset + length]
        self._buffer = self._buffer[offset + length :]
        return first & 0x0F, payload, bool(first & 0x80)

    def next_payload(self, timeout_seconds: float | None = None) -> tuple[int, bytes]:
        """The next text or binary message; answers pings; raises Closed or TimeoutError."""
        deadline = time.monotonic() + (self.timeout_seconds if timeout_seconds is None else timeout_seconds)
        while True:
            opcode, payload, fin = self._read_frame(deadline)
            if opcode == 9:
                self.send_payload(payload, opcode=10)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                self.socket.close()
                raise Closed(code, payload[2:].decode())
            elif opcode in (0, 1, 2):
                self._fragments += payload
                if fin:
                    whole, self._fragments = self._fragments, b""
                    return opcode, whole

    def next(self, timeout_seconds: float | None = None) -> Frame:
        """The next ServerFrame."""
        if self.frames:
            return self.frames.popleft()
        frame: Frame = json.loads(self.next_payload(timeout_seconds)[1])
        return frame

    def wait(self, matches: Callable[[Frame], bool], timeout_seconds: float | None = None) -> Frame:
        """The first frame that matches, among those kept and those to come."""
        deadline = time.monotonic() + (self.timeout_seconds if timeout_seconds is None else timeout_seconds)
        passed: list[Frame] = []
        try:
            while True:
                frame = self.next(max(deadline - time.monotonic(), 0.001))
                if matches(frame):
                    return frame
                passed.append(frame)
        finally:
            self.frames.extendleft(reversed(passed))

    def answer(self, request_id: str, timeout_seconds: float | None = None) -> Frame:
        """The answer to a request."""
        return self.wait(lambda frame: frame.get("requestId") == request_id, timeout_seconds)

    def ask(self, **frame: Any) -> Frame:
        """Sends one request and waits for its answer."""
        return self.answer(self.request(**frame))

    def wait_closed(self, timeout_seconds: float | None = None) -> int:
        """Reads until the server closes; returns the close code."""
        deadline = time.monotonic() + (self.timeout_seconds if timeout_seconds is None else timeout_seconds)
        try:
            while True:
                self.next_payload(max(deadline - time.monotonic(), 0.001))
        except Closed as closed:
            return closed.code

    def close(self) -> None:
        """Drops the connection."""
        self.socket.close()


def login(address: str, name: str) -> tuple[str, str]:
    """Development login: (token, user_id)."""
    import urllib.request

    request = urllib.request.Request(
        f"{address.rstrip('/')}/v1/login", data=json.dumps({"name": name}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.loads(response.read())
    return answer["token"], answer["user_id"]


def new_id() -> str:
    """A new client_msg_id."""
    return str(uuid.uuid4())
