"""The Python servers of bench_fan_out.py: `hub` is the edge's hub, `tornado` a plain loop of `write_message`.

Both print "PORT CONTROL_PORT"; every byte on the one connection to CONTROL_PORT publishes one message, whose first 8 bytes are its
number; both end when that connection ends. See fan_out_floor.c for the third.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import uvloop

from edge.core.connection import Connection
from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.protocol.frames import binary_frame
from edge.protocol.handshake import Upgrade, accept_key, upgrade_response
from throng.adapters.system_clock import SystemClock

_KEY = b"sec-websocket-key:"


def _listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    return listener


async def _obey(control: socket.socket, message_bytes: int, publish: Callable[[bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    number = 0
    accepted, _ = await loop.sock_accept(control)
    with accepted:
        accepted.setblocking(False)
        while wanted := await loop.sock_recv(accepted, 4096):
            for _ in wanted:
                number += 1
                publish(number.to_bytes(8, "big") + bytes(message_bytes - 8))


class _HubServer:
    """Accepts, answers the upgrade and hands sockets to a hub; all are in one array."""

    def __init__(self) -> None:
        settings = HubSettings(heartbeat_interval_seconds=3600.0)
        self.hub = Hub(handler=self, settings=settings, clock=SystemClock(), counters=HubCounters())
        self.hub.attach(asyncio.get_running_loop())
        self.array = self.hub.array()

    def on_message(self, connection: Connection, payload: bytes) -> None:
        """Members of the benchmark only listen."""

    def on_closed(self, connection: Connection, code: int) -> None:
        """The hub takes them out of the array."""

    def accept(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.settimeout(5)
        request = sock.recv(4096)
        key = next(line[len(_KEY) :] for line in request.split(b"\r\n") if line.lower().startswith(_KEY))
        sock.sendall(upgrade_response(Upgrade(accept_key(key.strip().decode()), None, None)))
        self.array.add(self.hub.adopt(sock, binary=True))

    def publish(self, payload: bytes) -> None:
        self.hub.fan_out(self.array, binary_frame(payload), head_frame=lambda: b"")


async def serve_hub(message_bytes: int) -> None:
    """Serves by the hub until the control connection ends."""
    server = _HubServer()
    listener, control = _listen(), _listen()
    asyncio.get_running_loop().add_reader(listener.fileno(), server.accept, listener)
    print(listener.getsockname()[1], control.getsockname()[1], flush=True)
    await _obey(control, message_bytes, server.publish)


async def serve_tornado(message_bytes: int) -> None:
    """Serves as Tornado's own documentation does it."""
    members: set[tornado.websocket.WebSocketHandler] = set()

    class Member(tornado.websocket.WebSocketHandler):
        def open(self, *args: str, **kwargs: str) -> None:
            members.add(self)

        def on_close(self) -> None:
            members.discard(self)

    def publish(payload: bytes) -> None:
        for member in members:
            member.write_message(payload, binary=True)

    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=4096)
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/ws", Member)], log_function=lambda handler: None))
    server.add_sockets(sockets)
    control = _listen()
    print(sockets[0].getsockname()[1], control.getsockname()[1], flush=True)
    # The client leaves with messages in flight: nothing that this bench asks about.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    with contextlib.suppress(tornado.websocket.WebSocketClosedError):
        await _obey(control, message_bytes, publish)


if __name__ == "__main__":
    uvloop.run({"hub": serve_hub, "tornado": serve_tornado}[sys.argv[1]](int(sys.argv[2])))
