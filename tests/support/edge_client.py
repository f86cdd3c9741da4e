"""A WebSocket client for tests of the edge: a plain socket, and wsproto as the independent judge of frames."""

from __future__ import annotations

import json
import socket
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from throng.api.client.v1 import client_pb2

_DEADLINE_SECONDS = 10.0


class Refused(Exception):
    """The upgrade was refused."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers


class EdgeClient:
    """One connection. `binary` is what the edge agreed on."""

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        path: str = "/ws",
        subprotocols: tuple[str, ...] = ("throng.v1.json",),
        headers: dict[str, str] | None = None,
        early: bytes = b"",
    ) -> None:
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), timeout=_DEADLINE_SECONDS)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._inbox: list[Any] = []
        self._buffer: list[str | bytes] = []
        self.close_code: int | None = None
        self.subprotocol: str | None = None
        extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if token:
            extra.append((b"authorization", f"Bearer {token}".encode()))
        request = Request(host=address, target=path, subprotocols=list(subprotocols), extra_headers=extra)
        self._open(self._connection.send(request) + early)

    def _open(self, request: bytes) -> None:
        try:
            self._sock.sendall(request)
            event = self._event()
            if isinstance(event, RejectConnection):
                body = b""
                while not (isinstance(data := self._event(), RejectData) and data.body_finished):
                    body += data.data
                body += data.data
                headers = {name.decode().lower(): value.decode() for name, value in event.headers}
                raise Refused(event.status_code, json.loads(body), headers)
            assert isinstance(event, AcceptConnection), event
        except BaseException:
            self._sock.close()
            raise
        self.subprotocol = event.subprotocol

    @property
    def binary(self) -> bool:
        """Frames are protobuf."""
        return self.subprotocol == "throng.v1.protobuf"

    def _event(self) -> Any:
        while not self._inbox:
            data = self._sock.recv(65_536)
            self._connection.receive_data(data or None)
            self._inbox.extend(self._connection.events())
        return self._inbox.pop(0)

    def send(self, frame: dict[str, Any] | client_pb2.ClientFrame) -> None:
        """Sends one ClientFrame: a dict in JSON, a message in protobuf."""
        event = TextMessage(data=json.dumps(frame)) if isinstance(frame, dict) else BytesMessage(data=frame.SerializeToString())
        self._sock.sendall(self._connection.send(event))

    def receive(self) -> Any:
        """The next frame: a dict in JSON, a ServerFrame in protobuf. None: the edge has closed."""
        while True:
            event = self._event()
            if isinstance(event, TextMessage | BytesMessage):
                self._buffer.append(event.data)
                if event.message_finished:
                    parts, self._buffer = self._buffer, []
                    if isinstance(parts[0], str):
                        return json.loads("".join(str(part) for part in parts))
                    return client_pb2.ServerFrame.FromString(b"".join(bytes(part) for part in parts))  # type: ignore[arg-type]
            elif isinstance(event, Ping):
                self._sock.sendall(self._connection.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.close_code = event.code
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    self._sock.sendall(self._connection.send(event.response()))
                self._sock.close()
                return None

    def expect(self, kind: str) -> Any:
        """The content of the next frame that is of this kind; others are passed over."""
        while True:
            frame = self.receive()
            assert frame is not None, f"closed with {self.close_code} before {kind}"
            if isinstance(frame, dict):
                if kind in frame:
                    return frame[kind]
            elif frame.WhichOneof("event") == kind:
                return getattr(frame, kind)

    def expect_close(self) -> int:
        """Reads until the edge closes; returns the code."""
        while self.receive() is not None:
            pass
        assert self.close_code is not None
        return self.close_code

    def close(self) -> None:
        """Goes without a word."""
        self._sock.close()
