"""Plain counters of the sessions; `edge/metrics.py` exports them. Hub thread only."""

from __future__ import annotations

from collections.abc import Callable

SIZE_CLASSES = (1, 10, 100, 1_000, 10_000)
"""Upper bounds of the size classes of rooms, in connections; above the last: one more class."""


class SessionCounters:
    """Slotted numbers, only ever growing but for `sessions`, `rooms` and `cache_bytes`.

    Attributes:
        submissions: by outcome: `submitted`, `acked`, or the name of an error code.
        failures: refused requests other than submissions, by the name of the error code.
        closed: connections that sessions closed, by the name of the close code.
        parked_overflows: blocks behind a gap that were given up because too many waited; they are fetched instead.
        cursor_overflows: read cursors that were dropped because too many waited.
        on_fan_out_done: called with a block's `published_at_ms` when its last socket was served; the app sets it.
    """

    __slots__ = (
        "blocks",
        "cache_bytes",
        "cache_hits",
        "cache_misses",
        "closed",
        "cursor_overflows",
        "cursors_reported",
        "duplicate_blocks",
        "enters",
        "events_failed",
        "failures",
        "gaps",
        "heal_failures",
        "heals",
        "histories",
        "malformed",
        "member_checks",
        "on_fan_out_done",
        "parked_overflows",
        "pulls",
        "resets",
        "rooms",
        "sessions",
        "single_flight_waits",
        "submissions",
    )

    def __init__(self) -> None:
        self.sessions = 0
        self.rooms = 0
        self.cache_bytes = 0
        self.blocks = 0
        self.duplicate_blocks = 0
        self.gaps = 0
        self.heals = 0
        self.heal_failures = 0
        self.resets = 0
        self.enters = 0
        self.pulls = 0
        self.histories = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.single_flight_waits = 0
        self.malformed = 0
        self.member_checks = 0
        self.parked_overflows = 0
        self.cursor_overflows = 0
        self.cursors_reported = 0
        self.events_failed = 0
        self.submissions: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.closed: dict[str, int] = {}
        self.on_fan_out_done: Callable[[int], None] | None = None

    def count(self, table: dict[str, int], key: str) -> None:
        """Adds one to a row of one of the tables."""
        table[key] = table.get(key, 0) + 1
