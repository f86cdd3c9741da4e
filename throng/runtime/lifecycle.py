"""Ordered start and stop: what started last stops first, and SIGTERM or SIGINT ends the wait in between."""

from __future__ import annotations

import signal
import threading
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
    """Blocks the main thread until SIGTERM or SIGINT; returns the signal's number."""
    caught: list[int] = []
    arrived = threading.Event()

    def handle(number: int, _frame: object) -> None:
        caught.append(number)
        arrived.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    while not arrived.wait(3600):
        pass
    for number, handler in previous.items():
        signal.signal(number, handler)
    return caught[0]
