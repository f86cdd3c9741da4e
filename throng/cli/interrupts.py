"""Ctrl-C and SIGTERM as a count that a loop reads, instead of an exception that may come anywhere.

A `KeyboardInterrupt` is raised wherever the main thread happens to be; in a callback or a finalizer it is printed and lost, and
the command runs on as if nobody had asked. A handler that only counts loses nothing, takes no lock and may be interrupted itself.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts the wishes to end while the context lasts, and gives the handlers back afterwards. For the main thread only.

    Attributes:
        count: how many came so far; whoever loops looks at it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
