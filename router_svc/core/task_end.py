"""Ends tasks for certain: a cancellation can get lost where a library's wait ends in the same moment, so it is repeated."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_SECONDS = 0.2


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks until all have ended, whatever they raise."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # it was asked for: asyncio does not complain that nobody looked
