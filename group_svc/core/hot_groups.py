"""Which groups are hot: submissions per second of each, over the last seconds (hop 4)."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable

from throng.domain.ids import GroupId
from throng.ports.clock import Clock

WINDOW_SECONDS = 5.0
"""Rates are means over one to two windows; a group that falls silent is forgotten after two."""


class HotGroups:
    """Counts what the writer takes, refused ones too: they cost a look-up each. One thread notes, any reads.

    A group without a message costs nothing here, neither memory nor time.
    """

    def __init__(self, clock: Clock, *, hot_per_second: float = 20.0) -> None:
        """Groups with `hot_per_second` or more submissions a second are hot."""
        self._clock = clock
        self._hot_per_second = hot_per_second
        self._lock = threading.Lock()
        self._began_at = clock.monotonic()
        self._counts: collections.Counter[GroupId] = collections.Counter()
        self._rates: dict[GroupId, float] = {}

    def note(self, group_ids: Iterable[GroupId]) -> list[GroupId]:
        """Notes one submission per group named; returns groups that have become hot by what came before."""
        with self._lock:
            became_hot = self._turn_over()
            self._counts.update(group_ids)
        return became_hot

    def _turn_over(self) -> list[GroupId]:
        """Begins another window when this one is over."""
        elapsed_seconds = self._clock.monotonic() - self._began_at
        if elapsed_seconds < WINDOW_SECONDS:
            return []
        self._began_at += elapsed_seconds
        before, self._rates = self._rates, {}
        if elapsed_seconds < 2 * WINDOW_SECONDS:
            self._rates = {
                group_id: count / elapsed_seconds
                for group_id, count in self._counts.items()
                if count >= self._hot_per_second * elapsed_seconds
            }
        self._counts.clear()
        return [group_id for group_id in self._rates if group_id not in before]

    def rates(self) -> list[tuple[GroupId, float]]:
        """Groups that were hot in the last whole window, the hottest first, with submissions per second."""
        with self._lock:
            self._turn_over()
            return sorted(self._rates.items(), key=lambda entry: -entry[1])
