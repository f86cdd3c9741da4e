"""The Python servers of bench_fan_out.py: `edge` is the hub with the sessions above it, as an edge process has them, where services
answer at once; `hub` is the hub alone; `tornado` a plain loop of `write_message`.

Arguments: SERVER MESSAGE_BYTES [BLOCK [LIBRARY [ring]]]: with BLOCK above 1 the edge publishes blocks of so many messages; with
LIBRARY its hub sends by that compiled loop, with `ring` by its io_uring.

All print "PORT CONTROL_PORT"; every byte on the one connection to CONTROL_PORT publishes one message, whose last 8 bytes are its
number in digits; all end when that connection ends. See fan_out_floor.c for the fourth.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import uvloop

from edge.adapters.client_codec import make_codecs
from edge.core.connection import Connection
from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity, SessionSettings
from edge.core.sessions import EdgeSessions
from edge.door import HubDoor
from edge.native.library import NativeBulkSend
from edge.ports import BlockEvent, EnteredGroup, GroupHead, UnreadCount
from edge.protocol.frames import binary_frame
from edge.protocol.handshake import Upgrade, accept_key, upgrade_response
from throng.adapters.system_clock import SystemClock
from throng.api.common.v1 import message_pb2
from throng.domain.group import Group, Member
from throng.domain.ids import EdgeId, GroupId, UserId

if TYPE_CHECKING:
    from edge.ports import Upstream

_KEY = b"sec-websocket-key:"
_GROUP = GroupId("group")
_ENVELOPE_BYTES = 46
"""What the edge puts around the text of a message here, so that frames are of the same size everywhere."""


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
                publish(b"x" * (message_bytes - 8) + b"%08d" % (number % 10**8))


def _upgraded(listener: socket.socket) -> socket.socket:
    """Accepts one connection and answers its upgrade."""
    sock, _ = listener.accept()
    sock.settimeout(5)
    request = sock.recv(4096)
    key = next(line[len(_KEY) :] for line in request.split(b"\r\n") if line.lower().startswith(_KEY))
    sock.sendall(upgrade_response(Upgrade(accept_key(key.strip().decode()), None, None)))
    return sock


class _HubServer:
    """Hands sockets to a hub; all are in one array."""

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
        self.array.add(self.hub.adopt(_upgraded(listener), binary=True))

    def publish(self, payload: bytes) -> None:
        self.hub.fan_out(self.array, binary_frame(payload), head_frame=lambda: b"")


class _EverybodyIn:
    """`Upstream` that lets everyone into one group and stores nothing; what the benchmark does not ask is not there."""

    head_seq = 0

    def enter(self, user_id: UserId, group_id: GroupId, display_name: str, done: Callable[[EnteredGroup], None]) -> None:
        done(EnteredGroup(Group(group_id, "One group", head_seq=self.head_seq), Member(user_id)))

    def fetch_unread(self, user_id: UserId, group_ids: Sequence[GroupId], done: Callable[[Sequence[UnreadCount]], None]) -> None:
        done([UnreadCount(group_id, 0, False, 0) for group_id in group_ids])

    def fetch_deleted(self, user_id: UserId, group_id: GroupId, from_seq: int, done: Callable[[Sequence[int]], None]) -> None:
        done([])

    def fetch_heads(self, group_ids: Sequence[GroupId], done: Callable[[Sequence[GroupHead]], None]) -> None:
        done([GroupHead(group_id, 1, self.head_seq) for group_id in group_ids])

    def report_routes(self, changes: Sequence[tuple[GroupId, int]]) -> None:
        """Nobody routes."""


class EdgeServer:
    """Hub and sessions as `edge/app.py` puts them together; every socket is a user of its own who has entered the group."""

    def __init__(self, hub_settings: HubSettings, *, block: int = 1, library: str = "", way: str = "") -> None:
        self._block = block
        bulk = NativeBulkSend(pathlib.Path(library), ring=way == "ring") if library else None
        clock = SystemClock()
        self.counters = HubCounters()
        self._services = _EverybodyIn()
        settings = SessionSettings(max_connections_per_user=0)
        self._door = HubDoor(
            lambda door: Hub(handler=door, settings=hub_settings, clock=clock, counters=self.counters, bulk=bulk),
            lambda hub: EdgeSessions(
                hub,
                cast("Upstream", self._services),
                make_codecs(),
                clock,
                settings,
                SessionCounters(),
                EdgeIdentity(EdgeId("e"), 1),
            ),
        )
        self._door.start(asyncio.get_running_loop())
        self._users = 0

    def accept(self, listener: socket.socket) -> None:
        self._users += 1
        connection = self._door.hub.adopt(_upgraded(listener), binary=True)
        user_id = UserId(f"user-{self._users}")
        self._door.sessions.open(connection, user_id=user_id, display_name="", expires_at_ms=0, groups=[_GROUP])

    def publish(self, payload: bytes) -> None:
        before = self._services.head_seq
        last = self._services.head_seq = before + self._block
        text = message_pb2.Text(text=payload[_ENVELOPE_BYTES:].decode())
        messages = [
            message_pb2.Message(seq=seq, sender_id="sender", sent_at_ms=1_790_000_000_000, text=text)
            for seq in range(before + 1, last + 1)
        ]
        block = message_pb2.Block(group_id=_GROUP, epoch=1, prev_seq=before, messages=messages).SerializeToString()
        serialized = [(message.seq, message.SerializeToString()) for message in messages]
        self._door.sessions.on_events([BlockEvent(_GROUP, 1, before, last, block, serialized, [], None, 0)])


async def serve_edge(message_bytes: int, block: int, library: str, way: str) -> None:
    """Serves by hub and sessions until the control connection ends."""
    settings = HubSettings(heartbeat_interval_seconds=3600.0)
    await _serve(EdgeServer(settings, block=block, library=library, way=way), message_bytes)


async def serve_hub(message_bytes: int) -> None:
    """Serves by the hub until the control connection ends."""
    await _serve(_HubServer(), message_bytes)


async def _serve(server: EdgeServer | _HubServer, message_bytes: int) -> None:
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


def _main(server: str, message_bytes: int, block: int = 1, library: str = "", way: str = "") -> None:
    if server == "edge":
        uvloop.run(serve_edge(message_bytes, block, library, way))
    else:
        uvloop.run({"hub": serve_hub, "tornado": serve_tornado}[server](message_bytes))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:4]), *sys.argv[4:6])
