"""Frames that wait for one connection whose socket takes no more; made on demand, freed when empty (hop 7, I8)."""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from edge.core.hub_counters import HubCounters

if TYPE_CHECKING:
    from edge.core.socket_array import SendFunction, SocketArray

_BUFFERS_PER_CALL = 64


class _Waiting:
    """A frame, or the place of a head frame (`data` None) that is made when its turn comes, so that it is the newest."""

    __slots__ = ("array", "data", "offset")

    def __init__(self, data: bytes | None, array: SocketArray | None, offset: int) -> None:
        self.data = data
        self.array = array
        self.offset = offset


class Outbox:
    """What one connection still has to get, in order.

    Bounds: fan-out frames up to `shared_limit_bytes` and `shared_limit_frames`, then those of the array that overflows become one
    head frame, and later frames of that array are left out until it is sent; a frame of which a part is sent already stays. Frames
    of `push` are never left out: the owner compares `total_bytes` with its hard bound.
    """

    __slots__ = (
        "_counters",
        "_heads",
        "_items",
        "_shared_bytes",
        "_shared_limit_bytes",
        "_shared_limit_frames",
        "progress_at",
        "total_bytes",
    )

    def __init__(self, *, shared_limit_bytes: int, shared_limit_frames: int, counters: HubCounters, now: float) -> None:
        self._items: deque[_Waiting] = deque()
        self._heads: set[SocketArray] = set()
        self._shared_bytes = 0
        self._shared_limit_bytes = shared_limit_bytes
        self._shared_limit_frames = shared_limit_frames
        self._counters = counters
        self.total_bytes = 0
        self.progress_at = now

    def __len__(self) -> int:
        return len(self._items)

    def push(self, frame: bytes, *, sent_bytes: int = 0) -> None:
        """Queues a frame for this connection alone, less what is sent already."""
        self._append(_Waiting(frame, None, sent_bytes))

    def push_shared(self, array: SocketArray, frame: bytes, *, sent_bytes: int = 0) -> None:
        """Queues a frame of a fan-out, or makes room by a head frame."""
        if array in self._heads:
            return
        crowded = len(self._items) >= self._shared_limit_frames or self._shared_bytes + len(frame) > self._shared_limit_bytes
        if crowded and sent_bytes == 0:
            self._shrink(array)
            return
        self._append(_Waiting(frame, array, sent_bytes))

    def sender_for(self, array: SocketArray) -> SendFunction:
        """What stands in an array in place of the socket's `send` while this outbox lives."""

        def queue(frame: bytes) -> int:
            self.push_shared(array, frame)
            return len(frame)

        return queue

    def flush(self, sock: socket.socket, *, now: float) -> bool:
        """Sends what the socket takes; whether nothing is left.

        Raises:
            OSError: the connection is broken.
        """
        while self._items:
            batch = [self._view(item) for item in islice(self._items, _BUFFERS_PER_CALL)]
            offered = sum(map(len, batch))
            try:
                sent = sock.sendmsg(batch)
            except BlockingIOError:
                return False
            if sent:
                self.progress_at = now
            self._counters.sends += 1
            self._counters.sent_bytes += sent
            self._drop_sent(sent)
            if sent < offered:
                return False
        return True

    def clear(self, *, keep_started: bool) -> None:
        """Forgets what waits; `keep_started`: but not the rest of a frame of which a part is sent."""
        first = self._items[0] if self._items else None
        self._items.clear()
        self._heads.clear()
        self._counters.outbox_bytes -= self.total_bytes
        self.total_bytes = self._shared_bytes = 0
        if keep_started and first is not None and first.offset:
            self._append(first)

    def _append(self, item: _Waiting) -> None:
        self._items.append(item)
        assert item.data is not None
        self._account(item, len(item.data) - item.offset)

    def _account(self, item: _Waiting, added_bytes: int) -> None:
        self.total_bytes += added_bytes
        self._counters.outbox_bytes += added_bytes
        if item.array is not None:
            self._shared_bytes += added_bytes

    def _shrink(self, array: SocketArray) -> None:
        kept: deque[_Waiting] = deque()
        for item in self._items:
            if item.array is array and item.offset == 0 and item.data is not None:
                self._account(item, -len(item.data))
            else:
                kept.append(item)
        kept.append(_Waiting(None, array, 0))
        self._items = kept
        self._heads.add(array)
        self._counters.outbox_overflows += 1

    def _view(self, item: _Waiting) -> memoryview:
        if item.data is None:
            assert item.array is not None
            assert item.array.head_frame is not None
            item.data = item.array.head_frame()
            self._heads.discard(item.array)
            self._account(item, len(item.data))
        return memoryview(item.data)[item.offset :]

    def _drop_sent(self, sent_bytes: int) -> None:
        items = self._items
        while items:
            item = items[0]
            assert item.data is not None
            left = len(item.data) - item.offset
            if sent_bytes < left:
                if sent_bytes:
                    item.offset += sent_bytes
                    self._account(item, -sent_bytes)
                return
            items.popleft()
            self._account(item, -left)
            sent_bytes -= left
            if not sent_bytes:
                return
