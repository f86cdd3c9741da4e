"""Sessions that the edge ends: tokens that expire, pages that enter nothing, and the drain (design 7)."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from edge.core.links import LinkHub
from edge.core.replies import Replies
from edge.core.responses import Drain
from edge.core.resume_tokens import LIFE_SECONDS
from edge.core.session import Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import SessionSettings
from throng.domain.close_codes import REASONS, CloseCode
from throng.ports.clock import Clock

SWEEP_SECONDS = 5.0
SWEEP_STEPS = 50
REFRESH_SWEEPS = round(LIFE_SECONDS / 3 / SWEEP_SECONDS)
"""Each session's turn comes once in so many sweeps; its number tells which, so that nothing is kept for it."""

DRAIN_GRACE_SECONDS = 0.5
"""Time that a client has to leave by itself before it is closed."""

SLICE_SESSIONS = 64
"""Told to leave, or closed, in one turn of the loop: about a millisecond. Twenty thousand at once would hold up every client."""


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
        refresh: Callable[[Session], None] = lambda _: None,
    ) -> None:
        """`refresh` is called with each session that stays, once in REFRESH_SWEEPS sweeps."""
        self._hub = hub
        self._replies = replies
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._random = random_source
        self._refresh = refresh
        self._sweeps = 0
        self._sweep: list[Session] = []
        self._step = 0
        self._next_sweep = 0.0
        self._to_tell: list[Session] = []
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
            self._sweeps += 1
        if not self._sweep:
            return
        now_ms = self._clock.now_ms()
        idle_seconds = self._settings.idle_timeout_ms / 1000
        for session in self._sweep[-self._step :]:
            if 0 < session.expires_at_ms <= now_ms:
                self.close(session, CloseCode.TOKEN_EXPIRED)
            elif idle_seconds and not session.parts and not session.entering and now - session.idle_since >= idle_seconds:
                self.close(session, CloseCode.IDLE_TIMEOUT)
            elif int(session.conn_id, 16) % REFRESH_SWEEPS == self._sweeps % REFRESH_SWEEPS:
                self._refresh(session)
        del self._sweep[-self._step :]

    # Drain ----------------------------------------------------------------------------------------------------------

    def drain(self, sessions: Iterable[Session], window_ms: int) -> None:
        """Begins to send everybody away, each after a random time within the window; `depart` does it."""
        self.draining = True
        self._drain_until = self._clock.monotonic() + window_ms / 1000
        self._to_tell = list(sessions)
        self._leaving.clear()  # who was told before is told anew

    def undrain(self) -> None:
        """Sends nobody away any more."""
        self.draining = False
        self._to_tell.clear()
        self._leaving.clear()

    def depart(self) -> bool:
        """Tells some when to leave and closes some whose time has come; True: there are more."""
        for session in self._to_tell[-SLICE_SESSIONS:]:
            if not session.closed and not session.closing:
                self.send_away(session)
        del self._to_tell[-SLICE_SESSIONS:]
        now = self._clock.monotonic()
        for _ in range(SLICE_SESSIONS):
            if not self._leaving or self._leaving[0][0] > now:
                return bool(self._to_tell)
            self.close(heapq.heappop(self._leaving)[2], CloseCode.DRAINING)
        return True

    def send_away(self, session: Session) -> None:
        """Tells a client when to leave, and closes its connection a moment later."""
        now = self._clock.monotonic()
        delay = self._random.uniform(0.0, max(0.0, self._drain_until - now))
        self._replies.send(session, Drain(round(delay * 1000)))
        heapq.heappush(self._leaving, (now + delay + DRAIN_GRACE_SECONDS, id(session), session))
