"""`GET /ws` (hop 1) as Tornado reads it: checks, and the socket leaves Tornado for the hub."""

from __future__ import annotations

import os
import socket
from typing import Any

import tornado.iostream

from edge.http.admission import Admission, UpgradeRequest
from edge.http.json_handler import JsonHandler
from edge.http.upgrade_gate import UpgradeGate

_READ_BYTES = 65_536


class UpgradeHandler(JsonHandler):
    """Hands admitted sockets to the gate; what is refused gets its status and {code, text}."""

    def get(self) -> None:
        """Upgrades or refuses."""
        gate = UpgradeGate(self.services)
        gate.take_turn()
        self._hand_over(gate, gate.admit(self._read_request()))

    def _read_request(self) -> UpgradeRequest:
        arguments = {
            name: [value.decode("utf-8", "replace") for value in values] for name, values in self.request.query_arguments.items()
        }
        return UpgradeRequest(self.request.headers, arguments)

    def _hand_over(self, gate: UpgradeGate, admission: Admission) -> None:
        """Takes the socket out of Tornado and gives it to the hub, unless the client has gone."""
        stream = self.detach()
        try:
            initial = _read_what_came(stream)
            descriptor = os.dup(stream.socket.fileno())
        except (OSError, tornado.iostream.StreamClosedError):
            stream.close()
            self.services.upgraded("lost")
            return
        stream.close()  # closes its own descriptor only; the connection lives on in the duplicate
        gate.hand_over(socket.socket(fileno=descriptor), admission, initial=initial)


def _read_what_came(stream: tornado.iostream.IOStream) -> bytes:
    """What the client sent behind its request without waiting for the answer."""
    parts: list[bytes] = []
    while True:
        reading: Any = stream.read_bytes(_READ_BYTES, partial=True)
        if not reading.done():
            return b"".join(parts)  # closing the stream ends this read; a late byte waits in the kernel for the hub
        parts.append(reading.result())
