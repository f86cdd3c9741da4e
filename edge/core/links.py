"""What sessions need from the hub (hop 7), as they see it; `hub.py` provides it, tests fake it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from throng.domain.close_codes import CloseCode


class ClientLink(Protocol):
    """One connection. `binary`: it speaks protobuf, not JSON; `session` belongs to the sessions."""

    session: Any

    @property
    def binary(self) -> bool:
        """Frames are protobuf, not JSON."""
        ...


class LinkArray(Protocol):
    """Connections that get the same frames."""

    def add(self, connection: Any) -> None:
        """Puts a connection in; it gets what is fanned out from now on (and perhaps frames that wait already)."""
        ...

    def remove(self, connection: Any) -> None:
        """Takes a connection out; it gets nothing more by way of this array."""
        ...

    def __len__(self) -> int:
        """How many connections."""
        ...


class LinkHub(Protocol):
    """Sends frames to connections. Hub thread only; nothing blocks."""

    def send(self, connection: Any, frame: bytes) -> None:
        """Sends a ready frame to one connection; nothing happens when it is closed."""
        ...

    def close(self, connection: Any, code: CloseCode, reason: str = "") -> None:
        """Begins to close; `on_closed` comes later, or now."""
        ...

    def array(self) -> Any:
        """Makes an empty array."""
        ...

    def fan_out(
        self,
        array: Any,
        frame: bytes,
        *,
        head_frame: Callable[[], bytes],
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        """Sends a frame to all connections of an array, in order per array; `head_frame` stands for what a slow one cannot take."""
        ...

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back in the next turn of the loop; nothing is taken after the hub has stopped."""
        ...
