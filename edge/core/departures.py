"""Sessions that the edge ends: tokens that expire, pages that enter nothing, and the drain (design 7)."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from edge.core.links import LinkHub
from edge.core.replies import Replies
from edge.core.responses import Drain
from edge.core.session import Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import SessionSettings
from throng.domain.close_codes import REASONS, CloseCode
from throng.ports.clock import Clock

SWEEP_SECONDS = 5.0
SWEEP_STEPS = 50
DRAIN_GRACE_SECONDS = 0.5
"""Time that a client has to leave by itself before it is closed."""


class Departures:
    """Ends sessions. A sweep looks at all of them every 5 s, some in each tick."""

    def __init__(
        self,
        hub: LinkHub,
        replies: Replies,
        clock: Clock,
        settings: SessionSettings,
        counters: SessionCounters,
        random_source: random.Random,
    ) -> None:
        self._hub = hub
        self._replies = replies
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._random = random_source
        self._sweep: list[Session] = []
        self._step = 0
        self._next_sweep = 0.0
        self._leaving: list[tuple[float, int, Session]] = []
        self.draining = False
        self._drain_until = 0.0

    def close(self, session: Session, code: CloseCode) -> None:
        """Closes a session's connection."""
        if not session.closing and not session.closed:
            session.closing = True
            self._counters.count(self._counters.closed, code.name)
            self._hub.close(session.connection, code, REASONS[code])

    # Sweep ----------------------------------------------------------------------------------------------------------

    def sweep(self, sessions: Callable[[], Iterable[Session]]) -> None:
        """Looks at some more sessions."""
        now = self._clock.monotonic()
        if not self._sweep and now >= self._next_sweep:
            self._sweep = list(sessions())
            self._step = max(1, -(-len(self._sweep) // SWEEP_STEPS))
            self._next_sweep = now + SWEEP_SECONDS
        if not self._sweep:
            return
        now_ms = self._clock.now_ms()
        idle_seconds = self._settings.idle_timeout_ms / 1000
        for session in self._sweep[-self._step :]:
            if 0 < session.expires_at_ms <= now_ms:
                self.close(session, CloseCode.TOKEN_EXPIRED)
            elif idle_seconds and not session.parts and not session.entering and now - session.idle_since >= idle_seconds:
                self.close(session, CloseCode.IDLE_TIMEOUT)
        del self._sweep[-self._step :]

    # Drain ----------------------------------------------------------------------------------------------------------

    def drain(self, sessions: Iterable[Session], window_ms: int) -> None:
        """Sends everybody away, each after a random time within the window."""
        self.draining = True
        now = self._clock.monotonic()
        self._drain_until = now + window_ms / 1000
        for session in sessions:
            self.send_away(session)

    def send_away(self, session: Session) -> None:
        """Tells a client when to leave, and closes its connection a moment later."""
        now = self._clock.monotonic()
        delay = self._random.uniform(0.0, max(0.0, self._drain_until - now))
        self._replies.send(session, Drain(round(delay * 1000)))
        heapq.heappush(self._leaving, (now + delay + DRAIN_GRACE_SECONDS, id(session), session))

    def close_leaving(self) -> None:
        """Closes those whose time has come."""
        now = self._clock.monotonic()
        while self._leaving and self._leaving[0][0] <= now:
            self.close(heapq.heappop(self._leaving)[2], CloseCode.DRAINING)
