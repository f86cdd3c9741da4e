"""Tornado as its documentation does it: `write_message` for each member. WebSockets on PORT, publishing on PORT + 1."""

from __future__ import annotations

import asyncio
import sys

import tornado.web
import tornado.websocket
from publishing import serve_publishing


async def main(port: int) -> None:
    """Serves until the process is ended."""
    members: set[tornado.websocket.WebSocketHandler] = set()

    class Member(tornado.websocket.WebSocketHandler):
        def check_origin(self, origin: str) -> bool:
            return True

        def open(self, *args: str, **kwargs: str) -> None:
            members.add(self)

        def on_close(self) -> None:
            members.discard(self)

    def publish(text: bytes) -> None:
        for member in members:
            member.write_message(text)

    async with await serve_publishing(port + 1, publish):
        application = tornado.web.Application([("/ws", Member)], log_function=lambda handler: None)
        application.listen(port, "127.0.0.1", backlog=4096)
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
