"""The wheel that says whose heartbeat is due, without an entry per connection."""

from __future__ import annotations


class TimingWheel:
    """Turns once per interval; its slot `s` holds the connections whose fd is `s` modulo `slots`.

    A connection costs no memory here, a storm of arrivals spreads itself evenly (descriptors are dense), and a visit
    is a stride through the table of connections.
    """

    __slots__ = ("_at", "_next_at", "_tick_seconds", "slots")

    def __init__(self, *, interval_seconds: float, tick_seconds: float, now: float) -> None:
        self.slots = max(1, round(interval_seconds / tick_seconds))
        self._tick_seconds = interval_seconds / self.slots
        self._next_at = now + self._tick_seconds
        self._at = 0

    def due(self, now: float) -> list[int]:
        """Slots whose time has come since the last call, each at most once, however late the call is."""
        due: list[int] = []
        while self._next_at <= now:
            if len(due) == self.slots:
                self._next_at = now + self._tick_seconds
                break
            due.append(self._at)
            self._at = (self._at + 1) % self.slots
            self._next_at += self._tick_seconds
        return due
