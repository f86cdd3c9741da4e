"""uWebSockets (C++), as PyPI's `socketify` brings it: its own publish to a topic. What a member says is published to the room."""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions, OpCode


def main(port: int) -> None:
    """Serves until the process is ended."""
    app = App()

    def publish(member: Any, text: str, opcode: int) -> None:
        app.publish("room", text, OpCode.TEXT)

    behaviour = {
        "compression": 0,
        "max_payload_length": 65_536,
        "idle_timeout": 120,
        "max_backpressure": 64 << 20,
        "open": lambda member: member.subscribe("room"),
        "message": publish,
    }
    app.ws("/ws", behaviour)
    app.listen(AppListenOptions(port=port, host="127.0.0.1"), lambda config: None)
    app.run()


main(int(sys.argv[1]))
