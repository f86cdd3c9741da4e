"""Ordered start and stop: what started last stops first, and SIGTERM or SIGINT ends the wait in between."""

from __future__ import annotations

import signal
import socket
from typing import Protocol

import structlog

_log = structlog.get_logger("throng.lifecycle")


class Part(Protocol):
    """Something that starts and stops; `stop` also cleans up after a `start` that failed half-way."""

    name: str

    def start(self) -> None:
        """Returns when it serves; raises when it cannot."""
        ...

    def stop(self) -> None:
        """Not ready, stop accepting, drain with a deadline, flush, close. Idempotent."""
        ...


class Parts:
    """Starts parts in order and stops them in the reverse order."""

    def __init__(self) -> None:
        self._started: list[Part] = []

    def start(self, part: Part) -> None:
        """Starts one part; when that fails, stops it and all before it, then raises."""
        self._started.append(part)
        try:
            part.start()
        except BaseException:
            self.stop()
            raise
        _log.info("part_started", part=part.name)

    def stop(self) -> None:
        """Stops all parts; a part that fails to stop is logged and does not keep the others from stopping."""
        while self._started:
            part = self._started.pop()
            try:
                part.stop()
                _log.info("part_stopped", part=part.name)
            except Exception as error:
                _log.error("part_stop_failed", part=part.name, exc_info=error)


def wait_for_signal() -> int:
    """Blocks the main thread until SIGTERM or SIGINT; returns the signal's number.

    The kernel may hand a signal to any thread, such as after SIGSTOP and SIGCONT; Python's handler then runs only when the main
    thread wakes up. So it waits for the byte that the interpreter writes from whichever thread was hit.
    """
    waking, written = socket.socketpair()
    written.setblocking(False)
    caught: list[int] = []
    previous = {number: signal.signal(number, lambda at, _: caught.append(at)) for number in (signal.SIGTERM, signal.SIGINT)}
    previous_descriptor = signal.set_wakeup_fd(written.fileno())
    try:
        while not caught:
            waking.recv(64)
    finally:
        signal.set_wakeup_fd(previous_descriptor)
        for number, handler in previous.items():
            signal.signal(number, handler)
        waking.close()
        written.close()
    return caught[0]
