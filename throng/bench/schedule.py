"""When each message of a worker is due: at one rate, or at one that grows in steps of equal length."""

from __future__ import annotations

from collections.abc import Sequence


class Schedule:
    """Fixed beforehand, however slow the answers are."""

    def __init__(self, start_ns: int, stop_ns: int, rate: float, steps: Sequence[float] = ()) -> None:
        """`rate` messages per second, times each of `steps` in turn; without steps the rate stays.

        Messages are due from `start_ns` until before `stop_ns`, on the clock of the caller.
        """
        factors = tuple(steps) or (1.0,)
        length_ns = (stop_ns - start_ns) / len(factors)
        self._parts: list[tuple[int, float, float]] = []  # first number, begins at, nanoseconds per message
        number = 0
        for place, factor in enumerate(factors):
            per_second = rate * factor
            if per_second > 0:
                self._parts.append((number, start_ns + place * length_ns, 1e9 / per_second))
                number += round(length_ns / 1e9 * per_second)
        self.stop_ns = stop_ns
        self._count = number

    def due_ns(self, number: int) -> int | None:
        """When message `number` (0, 1, 2 …) is due; None: not any more."""
        if number >= self._count:
            return None
        first, begins_ns, apart_ns = next(part for part in reversed(self._parts) if part[0] <= number)
        due_ns = int(begins_ns + (number - first) * apart_ns)
        return due_ns if due_ns < self.stop_ns else None
