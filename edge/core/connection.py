"""One client connection after its upgrade: what the hub keeps for it, and nothing more while it is idle."""

from __future__ import annotations

import enum
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.core.outbox import Outbox
    from edge.core.socket_array import SocketArray
    from edge.protocol.parser import Partial

NO_ARRAYS: tuple[SocketArray, ...] = ()


class ConnectionState(enum.IntEnum):
    """OPEN serves; CLOSING has a close frame queued or sent and waits for the client's; ANSWERED waits for the end of the
    socket and reads nothing any more; GONE waits to be taken away or is."""

    OPEN = 0
    CLOSING = 1
    ANSWERED = 2
    GONE = 3


class Connection:
    """A socket in the hub. Hub thread only. Made by `Hub.adopt`, never by others.

    Attributes:
        session: free for the layer above; the hub never looks at it.
        binary: whether messages are binary frames (`throng.v1.protobuf`) or text frames (`throng.v1.json`).
        deflate: whether permessage-deflate was negotiated.
    """

    __slots__ = (
        "arrays",
        "binary",
        "close_code",
        "deflate",
        "fd",
        "frames_in_window",
        "missed_pings",
        "outbox",
        "partial",
        "session",
        "sock",
        "state",
        "window",
        "window_bytes",
    )

    def __init__(self, sock: socket.socket, fd: int, *, binary: bool, deflate: bool = False) -> None:
        self.sock = sock
        self.fd = fd
        self.binary = binary
        self.deflate = deflate
        self.session: Any = None
        self.state = ConnectionState.OPEN
        self.close_code = 0
        self.arrays = NO_ARRAYS
        self.outbox: Outbox | None = None
        self.partial: Partial | None = None
        self.missed_pings = 0
        self.window = 0
        self.window_bytes = 0
        self.frames_in_window = 0

    @property
    def open(self) -> bool:
        """Whether messages still come and frames still go."""
        return self.state is ConnectionState.OPEN
