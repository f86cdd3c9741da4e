"""Adapter of `SafetyCheck`: a word list whose file may change while the service runs (hop 4)."""

from __future__ import annotations

import pathlib
import threading
import time

import structlog

from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.metrics import GroupMetrics
from throng.domain.errors import ThrongError

_log = structlog.get_logger("group.safety")
_SHORTEST_REST_SECONDS = 0.01
_RESTS_PER_WORK = 4.0
"""Reading a list takes a fifth of one core at most: whoever waits for the interpreter gets it four times as long."""

_Look = tuple[int, int, int] | None


class _Rests:
    """Sleeps in proportion to the time since the last rest."""

    def __init__(self) -> None:
        self._worked_since = time.perf_counter()

    def __call__(self) -> None:
        worked_seconds = time.perf_counter() - self._worked_since
        time.sleep(max(_SHORTEST_REST_SECONDS, worked_seconds * _RESTS_PER_WORK))
        self._worked_since = time.perf_counter()


class WatchedWordList:
    """Looks at the file every `check_seconds`, reads it again when it has changed, and puts the new list in place in one step.

    A file is read once it was the same twice in a row, so that one that is being written is not taken half. What cannot be read
    changes nothing: the old list stays, and `word_list_not_reloaded` says so once for each state of the file. The path is resolved
    anew each time, so a mounted ConfigMap works. A message is checked by the list that is in place when it is looked at.
    """

    def __init__(self, path: pathlib.Path, metrics: GroupMetrics, *, check_seconds: float) -> None:
        """Reads the file; `check_seconds` 0: only now.

        Raises:
            ThrongError: INVALID_ARGUMENT when it cannot be read.
        """
        self._path = path
        self._metrics = metrics
        self._check_seconds = check_seconds
        self._handled = self._seen = self._look()
        self._list = WordListSafety.from_file(path)
        metrics.word_list_words.set(self._list.words)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group-words", daemon=True)

    def blocks(self, text: str) -> bool:
        """True when a word of the list is in the text."""
        return self._list.blocks(text)

    def start(self) -> None:
        """Begins to watch."""
        if self._check_seconds:
            self._thread.start()

    def stop(self) -> None:
        """Ends the watching. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._check_seconds):
            self.check()

    def check(self) -> None:
        """Looks at the file once."""
        look, before = self._look(), self._seen
        self._seen = look
        if look == before and look != self._handled:
            self._handled = look
            self._load()

    def _look(self) -> _Look:
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino

    def _load(self) -> None:
        started = time.monotonic()
        try:
            fresh = WordListSafety.from_file(self._path, rest=_Rests())
        except ThrongError as error:
            self._metrics.word_list_failed.inc()
            _log.warning("word_list_not_reloaded", path=str(self._path), error=error.text)
            return
        self._list = fresh
        self._metrics.word_list_loaded.inc()
        self._metrics.word_list_words.set(fresh.words)
        _log.info("word_list_reloaded", words=fresh.words, seconds=round(time.monotonic() - started, 3))
