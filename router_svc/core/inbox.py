"""Reads a request stream ahead, bounded, so that what waits can be taken at once and a stream can be ended from inside."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from router_svc.core.task_end import end_tasks

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """One stream's requests. When `bound` wait, reading stops, and the flow control of the stream holds up its sender."""

    def __init__(self, source: AsyncIterator[_T], *, bound: int) -> None:
        self._source = source
        self._bound = bound
        self._items: deque[_T] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._failure: BaseException | None = None
        self._task = asyncio.create_task(self._read(), name="router-inbox")

    async def _read(self) -> None:
        try:
            async for item in self._source:
                self._items.append(item)
                self._changed.set()
                if len(self._items) >= self._bound:
                    self._room.clear()
                    await self._room.wait()
            self._ended = True
        except Exception as error:
            self._failure = error
        finally:
            self._changed.set()

    async def take(self, limit: int) -> list[_T]:
        """Waits for a request and returns up to `limit`; empty: the other side has closed the stream.

        Raises:
            BaseException: what `interrupt` was given, or what reading the stream raised.
        """
        while not self._items and not self._ended and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        self._room.set()
        return taken

    def interrupt(self, error: Exception) -> None:
        """Lets `take` raise, now and later."""
        self._failure = error
        self._changed.set()

    async def close(self) -> None:
        """Stops reading."""
        await end_tasks(self._task)
