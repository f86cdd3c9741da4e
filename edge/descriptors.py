"""How the file descriptors of an edge are shared out: clients, HTTP requests under way, and everything else."""

from __future__ import annotations

from dataclasses import dataclass

from throng.domain.errors import ErrorCode, ThrongError

HTTP_DESCRIPTORS = 36
"""Kept for HTTP when all clients are in: handshakes that are refused, the page, probes. Before that HTTP may have what is left."""


@dataclass(frozen=True, slots=True)
class DescriptorPlan:
    """What a limit of open files leaves for clients.

    Attributes:
        limit: descriptors of this process.
        reserved: kept for neither clients nor HTTP: files, links to other services, event loops.
        max_connections: clients that are let in.
    """

    limit: int
    reserved: int
    max_connections: int

    @property
    def sockets(self) -> int:
        """Clients and HTTP connections together; above it nothing more is accepted until one of them ends."""
        return self.limit - self.reserved


def plan_descriptors(limit: int, *, wanted_connections: int, reserved: int) -> DescriptorPlan:
    """Caps the clients by the limit of open files.

    Raises:
        ThrongError: INVALID_ARGUMENT: the limit leaves no room for a single client.
    """
    room = limit - reserved - HTTP_DESCRIPTORS
    if room < 1:
        kept = reserved + HTTP_DESCRIPTORS
        text = f"{limit} open files are too few for an edge, which keeps {kept} for itself; raise the limit (ulimit -n)"
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, text)
    return DescriptorPlan(limit, reserved, min(wanted_connections, room))
