"""`GET /ws` (hop 1): checks, the 101 answer, and the socket leaves Tornado for the hub."""

from __future__ import annotations

import os
import socket
from typing import Any

import structlog
import tornado.iostream

from edge.http.admission import Admission, Refusal, UpgradeRequest, admit
from edge.http.json_handler import JsonHandler
from edge.protocol.handshake import upgrade_response
from throng.domain.errors import ErrorCode

_READ_BYTES = 65_536
_log = structlog.get_logger("throng.edge.http")


class UpgradeHandler(JsonHandler):
    """Hands admitted sockets to the door; what is refused gets its status and {code, text}."""

    def get(self) -> None:
        """Upgrades or refuses."""
        services = self.services
        try:
            admission = admit(self._read_request(), services.rules, services.verifier)
            self._check_room()
        except Refusal as refusal:
            services.upgraded(refusal.outcome)
            raise
        services.upgraded("accepted" if self._hand_over(admission) else "lost")

    def _read_request(self) -> UpgradeRequest:
        arguments = {
            name: [value.decode("utf-8", "replace") for value in values] for name, values in self.request.query_arguments.items()
        }
        return UpgradeRequest(self.request.headers, arguments)

    def _check_room(self) -> None:
        services = self.services
        retry = {"Retry-After": str(services.limits.retry_after_seconds)}
        if not services.readiness.admits:
            text = "this edge drains" if services.readiness.draining else "this edge is not ready yet"
            raise Refusal(503, "not_ready", ErrorCode.UNAVAILABLE, text, retry)
        if services.door.connections >= services.limits.max_connections:
            raise Refusal(503, "full", ErrorCode.UNAVAILABLE, "this edge is full", retry)
        if not services.budget.take():
            raise Refusal(503, "too_many_handshakes", ErrorCode.UNAVAILABLE, "too many clients come at once", retry)

    def _hand_over(self, admission: Admission) -> bool:
        """Takes the socket out of Tornado, answers 101 on it and gives it to the hub; False: the client has gone."""
        stream = self.detach()
        try:
            initial = _read_what_came(stream)
            descriptor = os.dup(stream.socket.fileno())
        except (OSError, tornado.iostream.StreamClosedError):
            stream.close()
            return False
        stream.close()  # closes its own descriptor only; the connection lives on in the duplicate
        sock = socket.socket(fileno=descriptor)
        answer = upgrade_response(admission.upgrade)
        try:
            sent = sock.send(answer)  # nothing was ever queued on this socket, so it has room for these few bytes
        except OSError:
            sent = 0
        if sent != len(answer):
            sock.close()
            return False
        self.services.door.adopt(sock, admission, initial=initial)
        return True


def _read_what_came(stream: tornado.iostream.IOStream) -> bytes:
    """What the client sent behind its request without waiting for the answer."""
    parts: list[bytes] = []
    while True:
        reading: Any = stream.read_bytes(_READ_BYTES, partial=True)
        if not reading.done():
            return b"".join(parts)  # closing the stream ends this read; a late byte waits in the kernel for the hub
        parts.append(reading.result())
