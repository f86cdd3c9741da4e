"""One asyncio loop in a thread of its own, for everything in a process that uses grpc.aio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

_T = TypeVar("_T")


class AioThread:
    """Runs a uvloop loop until `stop`. Other threads hand it coroutines by `run`."""

    def __init__(self, name: str = "aio") -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout_seconds: float) -> _T:
        """Runs a coroutine in the loop and returns its result to the calling thread.

        Raises:
            TimeoutError: it took longer; it is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout_seconds)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Cancels what is left in the loop and ends the thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(timeout_seconds)
