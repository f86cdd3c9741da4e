"""Rebuilds windows from group_svc, one flight per group however many wait for it (hop 8)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import GroupId
from throng.domain.message import Position
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.core.counting import view_of
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import CountableQuery, GroupDirectory, WindowView


class _Flight:
    """One rebuild under way; `result` is set before `landed`."""

    __slots__ = ("landed", "result")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.result: WindowView | ThrongError = unavailable("the rebuild was given up")


class WindowRebuilder:
    """Asks group_svc for whole windows and installs them.

    Thread-safe. A caller leads the flights of groups that nobody rebuilds and joins the others; it lands all that it leads
    before it waits for any that it joined, so that callers cannot wait for each other in a circle.
    """

    def __init__(self, directory: GroupDirectory, window: BestEffortWindow, metrics: UnreadMetrics, *, wait_seconds: float) -> None:
        """`wait_seconds`: how long a joined flight is waited for."""
        self._directory = directory
        self._window = window
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._flights: dict[GroupId, _Flight] = {}

    def rebuild(self, heads: Mapping[GroupId, Position]) -> dict[GroupId, WindowView]:
        """The window of each group, at least as new as `heads`; a group that is gone is left out.

        Raises:
            ThrongError: what group_svc answered for any of the groups, or UNAVAILABLE after `wait_seconds`.
        """
        views = self._fly(heads)
        # A flight that was joined may have left before the head that is wanted; one that leaves from here on cannot.
        late = [group_id for group_id, view in views.items() if _is_behind(view, heads[group_id])]
        if late:
            views |= self._fly(late)
        return views

    def _fly(self, group_ids: Iterable[GroupId]) -> dict[GroupId, WindowView]:
        led: dict[GroupId, _Flight] = {}
        joined: dict[GroupId, _Flight] = {}
        with self._lock:
            for group_id in group_ids:
                flight = self._flights.get(group_id)
                if flight is None:
                    self._flights[group_id] = led[group_id] = _Flight()
                else:
                    joined[group_id] = flight
        try:
            if led:
                self._lead(led)
        finally:
            with self._lock:
                for group_id in led:
                    del self._flights[group_id]
            for flight in led.values():
                flight.landed.set()
        for flight in joined.values():
            self._metrics.flight_joined()
            if not flight.landed.wait(self._wait_seconds):
                raise unavailable("a rebuild of unread counts takes too long")
        return _results(led | joined)

    def _lead(self, led: Mapping[GroupId, _Flight]) -> None:
        pages = self._directory.countable([CountableQuery(group_id) for group_id in led])
        for (group_id, flight), page in zip(led.items(), pages, strict=True):
            flight.result = page if isinstance(page, ThrongError) else view_of(page)
            if isinstance(flight.result, WindowView):
                self._window.install(group_id, flight.result)


def _is_behind(view: WindowView, head: Position) -> bool:
    return view.epoch == head.epoch and view.head_seq < head.seq


def _results(flights: Mapping[GroupId, _Flight]) -> dict[GroupId, WindowView]:
    views: dict[GroupId, WindowView] = {}
    for group_id, flight in flights.items():
        result = flight.result
        if isinstance(result, WindowView):
            views[group_id] = result
        elif result.code is not ErrorCode.GROUP_NOT_FOUND:
            # A copy: one exception raised by several threads would mix up their tracebacks.
            raise ThrongError(result.code, result.text, retry_after_ms=result.retry_after_ms, fields=result.fields)
    return views
