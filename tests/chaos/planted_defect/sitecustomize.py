"""Plants a defect in an edge: Python imports this at start where the folder stands on PYTHONPATH.

A frame that holds `POISON` raises an exception in the handler of the connection, as a message does that our code did not think of.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

POISON = b"planted defect"
_LOOK_SECONDS = 0.05


def _plant() -> None:
    while (door := getattr(sys.modules.get("edge.door"), "HubDoor", None)) is None:
        time.sleep(_LOOK_SECONDS)
    handle = door.on_message

    def on_message(self: Any, connection: Any, payload: bytes) -> None:
        if POISON in bytes(payload):
            raise RuntimeError("a planted defect")
        handle(self, connection, payload)

    door.on_message = on_message


threading.Thread(target=_plant, name="planted-defect", daemon=True).start()
