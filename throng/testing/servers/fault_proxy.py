"""A TCP proxy between any two parts that can cut, stall, delay and slow what passes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any

from throng.runtime.aio_thread import AioThread
from throng.testing.servers.process import free_port

_CHUNK = 65_536
_CALL_SECONDS = 10.0


class FaultProxy:
    """Listens on a port of 127.0.0.1 and forwards to `target`. All methods may be called from any thread.

    Attributes:
        port: where it listens; the same for its whole life.
        address: host:port of it.
    """

    def __init__(self, target: tuple[str, int], *, port: int | None = None) -> None:
        self._target = target
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._aio = AioThread("fault-proxy")
        self._server: asyncio.Server | None = None
        self._flows: asyncio.Event | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay_seconds = 0.0
        self._bytes_per_second = 0.0

    def start(self) -> FaultProxy:
        """Listens."""
        self._aio.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        """Closes everything. Idempotent."""
        if self._aio.loop.is_running():
            self._run(self._close())
            self._aio.stop()

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cut(self) -> None:
        """Resets all connections and refuses new ones until `restore`."""
        self._run(self._cut(refuse=True))

    def reset(self) -> None:
        """Resets all connections; new ones are welcome."""
        self._run(self._cut(refuse=False))

    def stall(self) -> None:
        """Half-open: connections stay and are accepted, and not a byte passes until `restore`."""
        self._run(self._stall())

    def delay(self, seconds: float) -> None:
        """Every chunk waits for so long before it goes on."""
        self._delay_seconds = seconds

    def limit(self, bytes_per_second: float) -> None:
        """No direction of a connection is faster than that; 0: no limit."""
        self._bytes_per_second = bytes_per_second

    def restore(self) -> None:
        """Ends every fault; what was stalled goes on."""
        self._delay_seconds = 0.0
        self._bytes_per_second = 0.0
        self._run(self._listen())

    @property
    def connections(self) -> int:
        """Connections that are open through it."""
        return len(self._writers) // 2

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._aio.run(coroutine, _CALL_SECONDS)

    async def _listen(self) -> None:
        if self._flows is None:
            self._flows = asyncio.Event()
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1_024)

    async def _stall(self) -> None:
        assert self._flows is not None
        self._flows.clear()

    async def _cut(self, *, refuse: bool) -> None:
        server = self._server
        if refuse and server is not None:
            self._server = None
            server.close()
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            # A transport that ended by itself has no socket any more.
            with contextlib.suppress(OSError, AttributeError):
                # Linger 0: the other end sees a reset, not an orderly end.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        self._writers.clear()

    async def _close(self) -> None:
        await self._cut(refuse=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            assert self._flows is not None
            await self._flows.wait()
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                self._writers.add(far_writer)
                try:
                    await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
                finally:
                    self._writers.discard(far_writer)
                    far_writer.close()
        finally:
            self._writers.discard(writer)
            writer.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._flows is not None
        # RuntimeError: uvloop says so of a write to a connection that was reset a moment before.
        with contextlib.suppress(OSError, RuntimeError):
            while chunk := await reader.read(_CHUNK):
                await self._flows.wait()
                pause = self._delay_seconds
                if self._bytes_per_second:
                    pause += len(chunk) / self._bytes_per_second
                if pause:
                    await asyncio.sleep(pause)
                writer.write(chunk)
                await writer.drain()
        # One direction has ended: the other ends too, as it does for these protocols.
        writer.close()
        with contextlib.suppress(OSError, RuntimeError):
            await writer.wait_closed()
