"""What a fan-out needs of a loop outside the interpreter (hop 7); `edge/native/` provides one, a plain install has none."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol


class BulkSend(Protocol):
    """Sends one buffer to many sockets.

    Ordering: from place `count` - 1 of `descriptors` down. Concurrency: the caller's thread waits, others go on. Errors: none is
    raised; each is told by its place. Not promised: that all are served in one call.
    """

    def __call__(
        self, descriptors: array[int], count: int, frame: bytes, limit_seconds: float
    ) -> tuple[int, Sequence[tuple[int, int]]]:
        """Sends until all are served, the time is over, or too many had trouble.

        Args:
            descriptors: array of type `i`; below 0: not to be sent to, a trouble by itself.
            count: places 0 to `count` - 1 are to be served.
            frame: what each gets.
            limit_seconds: how long it may take, looked at now and then; at least a few are served.

        Returns:
            The lowest place that was served, and (place, result) of each that had trouble: the bytes that the socket took, less
            than all, or the negative errno.
        """
        ...
