"""POST endpoint of the Python servers, the same for all: the body of a request is published, the answer is 200."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Publishing(asyncio.Protocol):
    def __init__(self, publish: Callable[[bytes], None]) -> None:
        self._publish = publish
        self._held = b""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            head, found, rest = self._held.partition(b"\r\n\r\n")
            lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            length = int(lines[0].split(b":")[1]) if lines else 0
            if not found or len(rest) < length:
                return
            self._held = rest[length:]
            self._publish(rest[:length])
            self._transport.write(_ANSWER)


async def serve_publishing(port: int, publish: Callable[[bytes], None]) -> asyncio.Server:
    """Serves on a port of 127.0.0.1 until the server is closed."""
    return await asyncio.get_running_loop().create_server(lambda: _Publishing(publish), "127.0.0.1", port)
