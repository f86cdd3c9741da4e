"""Python's `websockets` with its own `broadcast`. WebSockets on PORT, publishing on PORT + 1."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from publishing import serve_publishing
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def main(port: int) -> None:
    """Serves until the process is ended."""
    members: set[ServerConnection] = set()

    async def hold(member: ServerConnection) -> None:
        members.add(member)
        try:
            await member.wait_closed()
        finally:
            members.discard(member)

    async with (
        await serve_publishing(port + 1, lambda text: broadcast(members, text.decode())),
        serve(hold, "127.0.0.1", port, compression=None, backlog=4096, open_timeout=60),
    ):
        await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
