"""Sets the wall clock of one process: Python imports this at start where the folder stands on PYTHONPATH.

The offset in seconds is read from the file in CHAOS_CLOCK_FILE, five times a second at the most. The monotonic clock stays as it is, as it
does when an operator or NTP sets a machine's clock. (libfaketime makes clock_nanosleep fail now and then, so it is of no use here.)
"""

from __future__ import annotations

import os
import time

_PACE_SECONDS = 0.2
_path = os.environ.get("CHAOS_CLOCK_FILE", "")
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic
_offset_seconds, _looked_at = 0, -1.0


def _offset() -> int:
    global _offset_seconds, _looked_at
    now = _monotonic()
    if now - _looked_at >= _PACE_SECONDS:
        _looked_at = now
        try:
            with open(_path, encoding="ascii") as file:
                _offset_seconds = int(file.read() or 0)
        except (OSError, ValueError):
            pass  # it is being written; the next look finds it
    return _offset_seconds


if _path:
    time.time = lambda: _time() + _offset()
    time.time_ns = lambda: _time_ns() + _offset() * 1_000_000_000
