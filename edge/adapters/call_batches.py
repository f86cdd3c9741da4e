"""Collects single requests into batched calls: at most 5 ms, at most 1,000, or at once when nothing is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from throng.domain.errors import ThrongError

_Request = TypeVar("_Request")
_Result = TypeVar("_Result")

MAX_BATCH = 1_000
WAIT_SECONDS = 0.005


class CallBatches(Generic[_Request, _Result]):
    """Lives in one loop. Every answer is called exactly once; what waits is bounded by the caller's calls under way.

    A request that comes while nothing is under way goes at once, so that a lone client does not pay for the batching.
    """

    def __init__(
        self,
        send: Callable[[Sequence[_Request]], Awaitable[Sequence[_Result | ThrongError]]],
        spawn: Callable[[Any], None],
    ) -> None:
        self._send = send
        self._spawn = spawn
        self._waiting: list[tuple[_Request, Callable[[_Result | ThrongError], None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = 0

    def add(self, request: _Request, answer: Callable[[_Result | ThrongError], None]) -> None:
        """Takes one request; `answer` gets its result or the error of its batch."""
        self._waiting.append((request, answer))
        if len(self._waiting) >= MAX_BATCH:
            self._flush()
        elif self._timer is None:
            wait_seconds = WAIT_SECONDS if self._under_way else 0.0
            self._timer = asyncio.get_running_loop().call_later(wait_seconds, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        if batch:
            self._under_way += 1
            self._spawn(self._run(batch))

    async def _run(self, batch: Sequence[tuple[_Request, Callable[[_Result | ThrongError], None]]]) -> None:
        try:
            results = await self._send([request for request, _ in batch])
        finally:
            self._under_way -= 1
        for (_, answer), result in zip(batch, results, strict=True):
            answer(result)
