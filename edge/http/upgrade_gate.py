"""Lets upgrades in or refuses them (hop 1), the same on both ways on which a request is read: budget, checks, room, the door."""

from __future__ import annotations

import socket

from edge.http.admission import Admission, Refusal, UpgradeRequest, admit
from edge.http.services import HttpServices
from edge.protocol.handshake import upgrade_response
from throng.domain.errors import ErrorCode


class UpgradeGate:
    """Counts each upgrade by its outcome. Hub thread only."""

    def __init__(self, services: HttpServices) -> None:
        self._services = services

    def take_turn(self) -> None:
        """Comes before everything else, for what is refused here must cost next to nothing.

        Raises:
            Refusal: 503: too many come at once.
        """
        budget = self._services.budget
        if not budget.take():
            retry = {"Retry-After": str(budget.retry_after_seconds())}
            self._services.upgraded("too_many_handshakes")
            raise Refusal(503, "too_many_handshakes", ErrorCode.UNAVAILABLE, "too many clients come at once", retry)

    def admit(self, request: UpgradeRequest) -> Admission:
        """Checks the request and whether there is room.

        Raises:
            Refusal: it is refused.
        """
        services = self._services
        try:
            admission = admit(request, services.rules, services.verifier)
            self._check_room()
        except Refusal as refusal:
            services.upgraded(refusal.outcome)
            raise
        return admission

    def hand_over(self, sock: socket.socket, admission: Admission, *, initial: bytes = b"") -> None:
        """Gives a socket on which nothing was sent yet to the door, with the 101 answer for it."""
        answer = upgrade_response(admission.upgrade)
        taken = self._services.door.adopt(sock, admission, initial=initial, answer=answer)
        self._services.upgraded("accepted" if taken else "lost")

    def _check_room(self) -> None:
        services = self._services
        retry = {"Retry-After": str(services.limits.retry_after_seconds)}
        if not services.readiness.admits:
            text = "this edge drains" if services.readiness.draining else "this edge is not ready yet"
            raise Refusal(503, "not_ready", ErrorCode.UNAVAILABLE, text, retry)
        if services.door.connections >= services.limits.max_connections:
            raise Refusal(503, "full", ErrorCode.UNAVAILABLE, "this edge is full", retry)
