"""Which sockets are served in one turn of the loop, and how long none is looked at afterwards (hops 1 and 8)."""

from __future__ import annotations

import select
from collections.abc import Callable

from edge.core.hub_settings import HubSettings
from throng.ports.clock import Clock

_EVENTS_PER_TURN = 64
_EVENTS_PER_LOOK = 8
_SEVERAL = 4


class ReadyTurns:
    """Serves descriptors that are ready, at most for the time of a slice: many answers out of the cache at once are spread over
    turns. Is more ready soon after the last time, the descriptors are left alone for a moment: messages that come one by one would
    each cost a turn of the loop."""

    def __init__(self, epoll: select.epoll, serve: Callable[[int, int], None], *, settings: HubSettings, clock: Clock) -> None:
        self._epoll = epoll
        self._serve = serve
        self._settings = settings
        self._clock = clock
        self._served_at = float("-inf")

    def run(self) -> float:
        """Serves what is ready, and returns how long to leave the descriptors alone, seconds; 0.0: not at all."""
        served, whole = self._serve_ready()
        if not served:
            return 0.0
        settings, now = self._settings, self._clock.monotonic()
        rest_seconds = settings.long_rest_seconds if served >= _SEVERAL else settings.rest_seconds
        busy = whole and now - self._served_at < 2 * rest_seconds
        self._served_at = now
        return rest_seconds if busy and settings.rest_seconds else 0.0

    def _serve_ready(self) -> tuple[int, bool]:
        """How many were served, and whether those were all."""
        served = 0
        deadline = self._clock.monotonic() + self._settings.slice_seconds
        while served < _EVENTS_PER_TURN and not self._epoll.closed:
            ready = self._epoll.poll(0, _EVENTS_PER_LOOK)
            for fd, events in ready:
                self._serve(fd, events)
            served += len(ready)
            if len(ready) < _EVENTS_PER_LOOK:
                return served, True
            if self._clock.monotonic() >= deadline:
                break
        return served, False
