"""Collects single requests into batched calls: the more there is to do, the larger they are, never the more of them."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from throng.domain.errors import ThrongError, unavailable

_Request = TypeVar("_Request")
_Result = TypeVar("_Result")
_Waiting = tuple[float, _Request, Callable[[_Result | ThrongError], None]]

MAX_BATCH = 500
"""Requests of one call: as many keys as one statement of the store looks up. Larger ones would answer late, and fail many at once
when they fail."""

MAX_UNDER_WAY = 2
"""Calls at a time: one is on its way while the other is worked on. What comes meanwhile goes together with the next."""

PACE_SECONDS = 0.01
"""Least time between two calls of a kind that are not full: with a service that answers at once each request would be a call of
its own, and a call costs the edge ten times the request in it."""


STORM_REQUESTS = 3
STORM_PACE_SECONDS = 0.1
"""The pace after a call with so many requests: 300 a second begin a storm, 30 a second end it, and in a storm a tenth of a second
costs nobody anything, and the services and their store answer few large calls at a fraction of what many small ones cost."""


class CallBatches(Generic[_Request, _Result]):
    """Lives in one loop. Every answer is called exactly once; what waits is bounded by the caller's calls under way.

    A request that comes when no call was made lately goes at once, so that a lone client does not pay for the batching. Overflow
    policy: what could not be sent within `max_wait_seconds` is answered with UNAVAILABLE and not sent any more, for its caller is
    about to give up, and work for it would delay those behind it.
    """

    def __init__(
        self,
        send: Callable[[Sequence[_Request]], Awaitable[Sequence[_Result | ThrongError]]],
        spawn: Callable[[Any], None],
        *,
        max_wait_seconds: float,
        shed: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`shed` is told how many requests were given up before they were sent."""
        self._send = send
        self._spawn = spawn
        self._max_wait_seconds = max_wait_seconds
        self._shed = shed
        self._waiting: collections.deque[_Waiting[_Request, _Result]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._called_at = float("-inf")
        self._pace_seconds = PACE_SECONDS

    def hurry(self) -> None:
        """The end is near: what waits goes now, and nothing is kept back for company any more."""
        self._pace_seconds = 0.0
        if self._waiting:
            self._flush()

    def add(self, request: _Request, answer: Callable[[_Result | ThrongError], None]) -> None:
        """Takes one request; `answer` gets its result or the error of its batch."""
        self._waiting.append((asyncio.get_running_loop().time(), request, answer))
        self._schedule()

    def _schedule(self) -> None:
        if self._under_way >= MAX_UNDER_WAY:
            return
        if len(self._waiting) >= MAX_BATCH:
            self._flush()
        elif self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._called_at + self._pace_seconds - loop.time()), self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_up()
        if self._waiting and self._under_way < MAX_UNDER_WAY:
            size = min(len(self._waiting), MAX_BATCH)
            batch = [self._waiting.popleft() for _ in range(size)]
            self._under_way += 1
            if self._pace_seconds:
                self._pace_seconds = STORM_PACE_SECONDS if size >= STORM_REQUESTS else PACE_SECONDS
            self._called_at = asyncio.get_running_loop().time()
            self._spawn(self._run(batch))

    def _give_up(self) -> None:
        """Refuses what waited too long."""
        oldest = asyncio.get_running_loop().time() - self._max_wait_seconds
        late: list[_Waiting[_Request, _Result]] = []
        while self._waiting and self._waiting[0][0] < oldest:
            late.append(self._waiting.popleft())
        if late:
            self._shed(len(late))
        for _, _, answer in late:
            answer(unavailable("too many wait for the same"))

    async def _run(self, batch: Sequence[_Waiting[_Request, _Result]]) -> None:
        try:
            results = await self._send([request for _, request, _ in batch])
        finally:
            self._under_way -= 1
            if self._waiting and not self._pace_seconds:
                self._flush()
            else:
                self._schedule()
        for (_, _, answer), result in zip(batch, results, strict=True):
            answer(result)
