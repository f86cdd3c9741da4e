"""The sockets of one group and frame variant, those apart that negotiated compression (hop 7)."""

from __future__ import annotations

from edge.core.connection import Connection
from edge.core.socket_array import SocketArray
from edge.protocol.deflate import deflated

MIN_RECEIVERS = 8
"""Fewer than so many do not pay for a compression; they get the frame as it is."""


class ArrayPair:
    """What `Hub.array` gives out: to the layer above one array, whoever negotiated what."""

    __slots__ = ("_deflated", "_plain")

    def __init__(self) -> None:
        self._plain = SocketArray()
        self._deflated: SocketArray | None = None

    def __len__(self) -> int:
        return len(self._plain) + (len(self._deflated) if self._deflated is not None else 0)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._plain or (self._deflated is not None and connection in self._deflated)

    def add(self, connection: Connection) -> None:
        """Adds a connection; it gets every frame queued from now on. One that closes, or is in already, is not added."""
        if not connection.deflate:
            self._plain.add(connection)
            return
        if self._deflated is None:
            self._deflated = SocketArray()
        self._deflated.add(connection)

    def remove(self, connection: Connection) -> None:
        """Takes a connection out; nothing happens when it is not in."""
        if not connection.deflate:
            self._plain.remove(connection)
        elif self._deflated is not None:
            self._deflated.remove(connection)

    def variants(self, frame: bytes) -> list[tuple[SocketArray, bytes]]:
        """Who gets a frame in which form, compressed once if at all: one or two arrays, empty ones left out unless both are."""
        compressing = self._deflated
        if not compressing:
            return [(self._plain, frame)]
        shrunk = (compressing, deflated(frame) if len(compressing) >= MIN_RECEIVERS else frame)
        return [(self._plain, frame), shrunk] if self._plain else [shrunk]
