"""Fan-out of shared frames to arrays of sockets, in slices between which the loop gets its turn (hop 7)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import length_hint

import structlog

from edge.core.array_pair import ArrayPair
from edge.core.bulk_send import BulkSend
from edge.core.connection import Connection
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.sender import Sender
from edge.core.socket_array import FrameDone, HeadFrame, PendingFrame, SocketArray

_CHUNK = 64
"""Sockets between two looks at the time: about half a millisecond."""

_log = structlog.get_logger("edge.fan_out")


class FanOut:
    """Serves arrays that have frames, in turn, one slice each.

    What waits for an array when a pass over it begins is joined into one buffer, so each socket costs one call however
    many frames there are. Order within an array is the order of `queue`. Frames of different arrays are not ordered.
    """

    def __init__(
        self,
        *,
        settings: HubSettings,
        counters: HubCounters,
        sender: Sender,
        on_broken: Callable[[Connection], None],
        bulk: BulkSend | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Makes it; with `bulk`, passes are served by it, otherwise by a loop of Python."""
        self._settings = settings
        self._counters = counters
        self._sender = sender
        self._on_broken = on_broken
        self._now = now
        self._serve = self._serve_by_loop if bulk is None else partial(self._serve_in_bulk, bulk)
        self._waiting: deque[SocketArray] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def queue(self, pair: ArrayPair, frame: bytes, *, head_frame: HeadFrame, on_done: FrameDone | None) -> None:
        """Queues a frame, compressed for those who negotiated it, for all connections of a pair."""
        variants = pair.variants(frame)
        if len(variants) > 1 and on_done is not None:
            on_done = _sum_up(len(variants), on_done)
        for array, variant in variants:
            self._queue(array, variant, head_frame, on_done)

    def _queue(self, array: SocketArray, frame: bytes, head_frame: HeadFrame, on_done: FrameDone | None) -> None:
        self._counters.fan_out_frames += 1
        self._counters.pending_frames += 1
        array.head_frame = head_frame
        array.pending.append(PendingFrame(frame, on_done))
        array.pending_bytes += len(frame)
        if array.pending_bytes > self._settings.array_pending_bytes and len(array.pending) > 1:
            self._shrink(array)
        if not array.queued:
            array.queued = True
            self._waiting.append(array)

    def run_slice(self) -> bool:
        """Works for one slice; whether more is left."""
        self._counters.fan_out_slices += 1
        deadline = self._now() + self._settings.slice_seconds
        waiting = self._waiting
        while waiting:
            array = waiting[0]
            if array.pass_frame is None:
                self._begin_pass(array)
            if not self._serve(array, deadline):
                waiting.rotate(-1)
                break
            self._end_pass(array)
            waiting.popleft()
            if array.pending:
                waiting.append(array)
            else:
                array.queued = False
            if self._now() >= deadline:
                break
        return bool(waiting)

    def _begin_pass(self, array: SocketArray) -> None:
        frames: list[bytes] = []
        done: list[FrameDone] = []
        room = self._settings.join_bytes
        while array.pending and (not frames or len(array.pending[0].frame) <= room):
            pending = array.pending.popleft()
            frames.append(pending.frame)
            room -= len(pending.frame)
            if pending.on_done is not None:
                done.append(pending.on_done)
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        array.pending_bytes -= len(joined)
        array.pass_frame = joined
        array.pass_done = done
        array.pass_sent = 0
        array.cursor = len(array.connections)
        self._counters.pending_frames -= len(frames)
        self._counters.fan_out_passes += 1

    def _serve_by_loop(self, array: SocketArray, deadline: float) -> bool:
        """Serves places below the cursor until the deadline; whether all are served."""
        frame = array.pass_frame
        assert frame is not None
        size = len(frame)
        now = self._now
        sends = array.sends
        while array.cursor:
            end = array.cursor
            start = end - _CHUNK if end > _CHUNK else 0
            # The chunk is a copy: a connection that breaks leaves the array at once, but nothing else moves out of the chunk
            # unserved, for a leaver below the cursor is replaced from below the cursor.
            connections = None
            turn = iter(sends[start:end])
            failed = 0
            while True:
                sent = 0
                try:
                    for send in turn:
                        if (sent := send(frame)) != size:
                            break
                    else:
                        break
                    error: OSError | None = None
                except OSError as caught:
                    error, sent = caught, 0
                if connections is None:
                    # Nothing has left the chunk yet: the first trouble comes before any removal.
                    connections = array.connections[start:end]
                connection = connections[len(connections) - length_hint(turn) - 1]
                failed += not self._rescue(connection, array, frame, sent, error)
            array.cursor = start
            array.pass_sent += end - start - failed
            if start and now() >= deadline:
                return False
        return True

    def _serve_in_bulk(self, bulk_send: BulkSend, array: SocketArray, deadline: float) -> bool:
        """As `_serve_by_loop`."""
        frame = array.pass_frame
        assert frame is not None
        while array.cursor:
            end = array.cursor
            start, troubles = bulk_send(array.descriptors, end, frame, max(0.0, deadline - self._now()))
            # All are looked up before anything is done: who breaks leaves at once, and another takes its place.
            troubled = [(array.connections[place], result) for place, result in troubles]
            array.cursor = start
            failed = 0
            for connection, result in troubled:
                if connection.outbox is not None:
                    connection.outbox.push_shared(array, frame)
                elif result < 0:
                    failed += not self._rescue(connection, array, frame, 0, OSError(-result, "send"))
                else:
                    failed += not self._rescue(connection, array, frame, result, None)
            array.pass_sent += end - start - failed
            if array.cursor and self._now() >= deadline:
                return False
        return True

    def _rescue(self, connection: Connection, array: SocketArray, frame: bytes, sent_bytes: int, error: OSError | None) -> bool:
        """Puts a frame that the socket did not take whole into an outbox; False: the connection is dead."""
        if error is not None and not isinstance(error, BlockingIOError):
            self._on_broken(connection)
            return False
        if sent_bytes:
            self._counters.sent_bytes += sent_bytes - len(frame)
        else:
            self._counters.sent_bytes -= len(frame)
        self._sender.queue_rest(connection, array, frame, sent_bytes)
        return True

    def _end_pass(self, array: SocketArray) -> None:
        assert array.pass_frame is not None
        sent = array.pass_sent
        self._counters.fan_out_sends += sent
        self._counters.sends += sent
        self._counters.sent_bytes += sent * len(array.pass_frame)
        array.pass_frame = None
        done, array.pass_done = array.pass_done, []
        for on_done in done:
            try:
                on_done(sent)
            except Exception:
                self._counters.handler_failures += 1
                _log.exception("fan_out_done_failed")

    def _shrink(self, array: SocketArray) -> None:
        """Replaces all frames that wait by one head frame; everyone who waits for them hears of that one."""
        assert array.head_frame is not None
        head = array.head_frame()
        waiting = [pending.on_done for pending in array.pending if pending.on_done is not None]
        self._counters.array_overflows += 1
        self._counters.pending_frames -= len(array.pending) - 1
        array.pending.clear()
        array.pending.append(PendingFrame(head, _tell_all(waiting) if waiting else None))
        array.pending_bytes = len(head)


def _tell_all(listeners: list[FrameDone]) -> FrameDone:
    def tell(sent: int) -> None:
        for listener in listeners:
            listener(sent)

    return tell


def _sum_up(parts: int, listener: FrameDone) -> FrameDone:
    total = 0

    def tell(sent: int) -> None:
        nonlocal total, parts
        total += sent
        parts -= 1
        if not parts:
            listener(total)

    return tell
