"""Uses the window as long as Redis answers, and goes on without it when it does not (hops 5b and 8, I10)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import structlog

from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import Observation, UnreadWindow, WindowView

_log = structlog.get_logger("throng.unread")


class BestEffortWindow:
    """An `UnreadWindow` whose failures are counted, and logged once when they begin and once when they end. Thread-safe."""

    def __init__(self, window: UnreadWindow, metrics: UnreadMetrics) -> None:
        self._window = window
        self._metrics = metrics
        self._lock = threading.Lock()
        self._away = False

    def read(self, after_seqs: Mapping[GroupId, int]) -> dict[GroupId, WindowView]:
        """The windows that there are, each above its seq; without Redis there are none."""
        try:
            views = self._window.read(list(after_seqs.items()))
        except ThrongError as error:
            self._failed(error)
            return {}
        self._answered()
        return {group_id: view for group_id, view in zip(after_seqs, views, strict=True) if view is not None}

    def install(self, group_id: GroupId, view: WindowView) -> None:
        """Installs a rebuilt window if Redis takes it; it serves its caller either way."""
        try:
            self._window.install(group_id, view)
        except ThrongError as error:
            self._failed(error)
        else:
            self._answered()

    def observe(self, observations: Sequence[Observation]) -> int:
        """Applies observations; returns how many were taken. What is lost shows as a gap and is repaired by reading."""
        try:
            outcomes = self._window.observe(observations)
        except ThrongError as error:
            self._failed(error)
            self._metrics.observations_lost(len(observations))
            return 0
        self._answered()
        self._metrics.observed(outcomes)
        return len(observations)

    def _failed(self, error: ThrongError) -> None:
        self._metrics.window_failed()
        with self._lock:
            first, self._away = not self._away, True
        if first:
            _log.warning("unread_windows_away", code=error.code.name, exc_info=error)

    def _answered(self) -> None:
        if self._away:
            with self._lock:
                first, self._away = self._away, False
            if first:
                _log.info("unread_windows_back")
