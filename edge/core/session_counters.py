"""Plain counters of the sessions; `edge/metrics.py` exports them. Hub thread only."""

from __future__ import annotations

from collections.abc import Callable

from edge.core.latency_counts import LatencyCounts

SIZE_CLASSES = (1, 10, 100, 1_000, 10_000)
"""Upper bounds of the size classes of rooms, in connections; above the last: one more class."""

DOOR_REASONS = ("interval", "budget", "high_budget", "sample")
"""Within the user's interval; over this edge's share of the group's budget; of HIGH and over its reserve too; not chosen."""

ACK_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the times to an ACK, seconds."""


class SessionCounters:
    """Slotted numbers, only ever growing but for `sessions`, `rooms` and `cache_bytes`.

    Attributes:
        ack_seconds: from taking a submission in to its ACK.
        submissions: by outcome: `submitted`, `acked`, or the name of an error code.
        door_refusals: submissions refused at the door for their pace, by DOOR_REASONS.
        failures: refused requests other than submissions, by the name of the error code.
        closed: connections that sessions closed, by the name of the close code.
        parked_overflows: blocks behind a gap that were given up because too many waited; they are fetched instead.
        cursor_overflows: read cursors that were dropped because too many waited.
        on_fan_out_done: called with a block's `published_at_ms` when its last socket was served; the app sets it.
    """

    __slots__ = (
        "ack_seconds",
        "blocks",
        "cache_bytes",
        "cache_hits",
        "cache_misses",
        "closed",
        "count_sends",
        "cursor_overflows",
        "cursors_reported",
        "door_refusals",
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
        "resumes",
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
        self.count_sends = 0
        self.duplicate_blocks = 0
        self.gaps = 0
        self.heals = 0
        self.heal_failures = 0
        self.resets = 0
        self.resumes = 0
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
        self.ack_seconds = LatencyCounts(ACK_BOUNDS)
        self.submissions: dict[str, int] = {}
        self.door_refusals: dict[str, int] = dict.fromkeys(DOOR_REASONS, 0)
        self.failures: dict[str, int] = {}
        self.closed: dict[str, int] = {}
        self.on_fan_out_done: Callable[[int], None] | None = None

    def count(self, table: dict[str, int], key: str) -> None:
        """Adds one to a row of one of the tables."""
        table[key] = table.get(key, 0) + 1
