"""The `edge_id` of submissions by internal callers: it names the process in which the caller waits (hops 2 and 5)."""

from __future__ import annotations

from throng.domain.ids import EdgeId, is_identifier

PREFIX = "internal:"
_LIFE_CHARACTERS = 8
MAX_HOST_CHARACTERS = 64 - len(PREFIX) - len(":65535:") - _LIFE_CHARACTERS


def internal_edge_id(address: str, life: str) -> EdgeId:
    """Makes `internal:HOST:PORT:LIFE` of a host:port (IPv6 in brackets) and 8 characters that no other life of the process has.

    Raises:
        ValueError: the host does not fit into an identifier.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    edge_id = f"{PREFIX}{host}:{port}:{life[:_LIFE_CHARACTERS]}"
    if not host or not port.isdigit() or len(host) > MAX_HOST_CHARACTERS or not is_identifier(edge_id):
        raise ValueError(f"{address} is not host:port with a host of at most {MAX_HOST_CHARACTERS} of A-Z a-z 0-9 _ - . :")
    return EdgeId(edge_id)


def is_internal(edge_id: str) -> bool:
    """The origin is a group service, not an edge."""
    return edge_id.startswith(PREFIX)


def address_of(edge_id: str) -> str | None:
    """host:port of the group service in which the caller waits; None: an edge, or nothing that we made."""
    if not is_internal(edge_id):
        return None
    host, _, port = edge_id.removeprefix(PREFIX).rpartition(":")[0].rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
