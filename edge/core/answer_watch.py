"""Whether answers come: when none does for seconds while submissions wait, new ones are refused at the door (hops 1 and 2)."""

from __future__ import annotations

from throng.domain.errors import unavailable
from throng.ports.clock import Clock

_RETRY_MS = 2_000
_PROBE_SECONDS = 1.0


class AnswerWatch:
    """Counts submissions without an answer; bounded, overflow policy: refuse with UNAVAILABLE and a retry time (I8).

    The log takes submissions for as long as it has disk, also while the store behind group_svc is away. Whoever sends then would
    wait for the whole deadline and send again, and the log would fill with repeats. So when nothing was answered for
    `stall_seconds`, one submission a second goes on as a probe, the others are refused, until something is answered or everything
    that waited has reached its deadline. An answer that was merely lost so costs nobody more than a moment.
    """

    def __init__(self, clock: Clock, *, max_waiting: int, stall_seconds: float) -> None:
        self._clock = clock
        self._max_waiting = max_waiting
        self._stall_seconds = stall_seconds
        self._quiet_since = 0.0
        self._probed_at = float("-inf")
        self.waiting = 0

    @property
    def stalled(self) -> bool:
        """Nothing was answered for too long although something waits."""
        return self.waiting > 0 and self._clock.monotonic() - self._quiet_since >= self._stall_seconds

    def check(self) -> None:
        """Lets one more submission through.

        Raises:
            ThrongError: UNAVAILABLE with a retry time.
        """
        if self.waiting >= self._max_waiting:
            raise unavailable("too many messages wait for their answer; try again in a moment", retry_after_ms=_RETRY_MS)
        if self.stalled and not self._may_probe():
            raise unavailable("messages cannot be stored at the moment; try again soon", retry_after_ms=_RETRY_MS)

    def _may_probe(self) -> bool:
        now = self._clock.monotonic()
        if now - self._probed_at < _PROBE_SECONDS:
            return False
        self._probed_at = now
        return True

    def submitted(self) -> None:
        """One more waits."""
        if not self.waiting:
            self._quiet_since = self._clock.monotonic()
        self.waiting += 1

    def answered(self) -> None:
        """One was answered, by whoever and however."""
        self.waiting -= 1
        self._quiet_since = self._clock.monotonic()

    def expired(self) -> None:
        """One reached its deadline without an answer."""
        self.waiting -= 1
