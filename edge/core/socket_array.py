"""The sockets of one group and frame variant, side by side for the fan-out (hop 7)."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge.core.connection import NO_ARRAYS, Connection, ConnectionState

HeadFrame = Callable[[], bytes]
FrameDone = Callable[[int], None]
SendFunction = Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame that waits for a pass; `on_done` hears how many sockets it was handed to."""

    frame: bytes
    on_done: FrameDone | None


class SocketArray:
    """Connections in an order that nobody relies on, with O(1) `add` and `remove`, also in the middle of a pass.

    A pass runs from the end down to place 0: places below `cursor` are still to be served. Who joins is put at the end and
    so misses that pass, but none that begins later; who leaves is replaced so that no one is served twice or left out.

    Invariants: `sends[i]` serves `connections[i]`: the socket's own bound `send`, or, while the connection has an outbox,
    a function that queues there, so that the inner loop asks nothing; `descriptors[i]` is its descriptor, or -1 meanwhile.
    """

    __slots__ = (
        "_index",
        "alone",
        "connections",
        "cursor",
        "descriptors",
        "head_frame",
        "pass_done",
        "pass_frame",
        "pass_sent",
        "pending",
        "pending_bytes",
        "queued",
        "sends",
    )

    def __init__(self) -> None:
        self.sends: list[SendFunction] = []
        self.descriptors = array("i")
        self.connections: list[Connection] = []
        self._index: dict[Connection, int] = {}
        self.alone = (self,)
        self.cursor = 0
        self.pending: deque[PendingFrame] = deque()
        self.pending_bytes = 0
        self.queued = False
        self.head_frame: HeadFrame | None = None
        self.pass_frame: bytes | None = None
        self.pass_done: list[FrameDone] = []
        self.pass_sent = 0

    def __len__(self) -> int:
        return len(self.connections)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._index

    def add(self, connection: Connection) -> None:
        """Adds a connection; it gets every frame queued from now on. One that closes, or is in already, is not added."""
        if connection.state is not ConnectionState.OPEN or connection in self._index:
            return
        self._index[connection] = len(self.connections)
        self.connections.append(connection)
        outbox = connection.outbox
        self.sends.append(connection.sock.send if outbox is None else outbox.sender_for(self))
        self.descriptors.append(connection.fd if outbox is None else -1)
        arrays = connection.arrays
        connection.arrays = (*arrays, self) if arrays else self.alone

    def remove(self, connection: Connection) -> None:
        """Takes a connection out; nothing happens when it is not in."""
        place = self._index.pop(connection, None)
        if place is None:
            return
        arrays = connection.arrays
        connection.arrays = NO_ARRAYS if len(arrays) == 1 else tuple(array for array in arrays if array is not self)
        if place < self.cursor:
            self.cursor -= 1
            self._move(self.cursor, place)
            place = self.cursor
        self._move(len(self.connections) - 1, place)
        self.connections.pop()
        self.sends.pop()
        self.descriptors.pop()

    def replace_send(self, connection: Connection, send: SendFunction) -> None:
        """Serves a connection by another function from now on: the socket's own if its outbox is gone."""
        place = self._index[connection]
        self.sends[place] = send
        self.descriptors[place] = connection.fd if connection.outbox is None else -1

    def _move(self, source: int, target: int) -> None:
        if source == target:
            return
        moved = self.connections[source]
        self.connections[target] = moved
        self.sends[target] = self.sends[source]
        self.descriptors[target] = self.descriptors[source]
        self._index[moved] = target
