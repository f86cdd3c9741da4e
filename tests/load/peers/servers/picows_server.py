"""picows (Cython): a loop of `send`. WebSockets on PORT, publishing on PORT + 1."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from publishing import serve_publishing


async def main(port: int) -> None:
    """Serves until the process is ended."""
    members: set[WSTransport] = set()

    class Member(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            members.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            members.discard(transport)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

    def join(request: WSUpgradeRequest) -> WSListener:
        return Member()

    def publish(text: bytes) -> None:
        for member in members:
            member.send(WSMsgType.TEXT, text)

    server = await ws_create_server(join, "127.0.0.1", port, backlog=4096)
    async with await serve_publishing(port + 1, publish), server:
        await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
