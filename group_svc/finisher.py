"""The finisher: what follows a commit, in a thread of its own, while the next transaction runs (end of hop 4, hop 5)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from group_svc.core.completion import Completion
from group_svc.core.history import History
from group_svc.core.pending import Pending
from group_svc.ports import Outcome

_log = structlog.get_logger("group.writer")
_IDLE_SECONDS = 0.25


class Finisher:
    """One thread; batches are finished in the order in which they were committed, and the cache is mended between them.

    Bounded to one batch that waits while another is finished. Policy when there is no room: the writer waits, and the way up to
    the uplink fills.
    """

    def __init__(self, completion: Completion, history: History) -> None:
        self._completion = completion
        self._history = history
        self._changed = threading.Condition()
        self._waiting: tuple[Sequence[Pending], Sequence[Outcome]] | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="group-finisher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def finish(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        """Hands a committed batch over; waits while another one waits already."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None)
            self._waiting = (batch, outcomes)
            self._changed.notify_all()

    def stop(self, deadline_seconds: float) -> None:
        """Finishes what was handed over, at most so long. Idempotent."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(deadline_seconds)

    def _run(self) -> None:
        while True:
            self._history.heal()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ending, _IDLE_SECONDS)
                taken, self._waiting = self._waiting, None
                if taken is None and self._ending:
                    return
                self._changed.notify_all()
            if taken is not None:
                self._finish(*taken)

    def _finish(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        try:
            self._completion.complete(batch, outcomes)
        except Exception as error:
            _log.error("finish_failed", messages=len(batch), exc_info=error)
