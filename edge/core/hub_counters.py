"""What a hub counts: plain integers that metrics.py reads when it is scraped, so that hot loops never touch a metric object."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class HubCounters:
    """Totals since start, except the first group, which are levels. Written by the hub thread, read by any."""

    connections: int = 0
    blocked_connections: int = 0
    outbox_bytes: int = 0
    pending_frames: int = 0

    accepted: int = 0
    accept_pauses: int = 0
    """Times that no connection was accepted for a moment because no descriptor was left."""
    closed: dict[int, int] = field(default_factory=dict)
    """By close code, as `HubHandler.on_closed` gives it."""
    received_bytes: int = 0
    received_messages: int = 0
    read_pauses: int = 0
    """A connection was not read for the rest of a second because it sent too much."""
    sends: int = 0
    """Frames or joined buffers handed to one connection, straight or by an outbox."""
    sent_bytes: int = 0
    """Bytes that the kernel took."""
    would_block: int = 0
    """Sends that the kernel did not take whole."""
    outboxes_made: int = 0
    outbox_overflows: int = 0
    """Times that fan-out frames in an outbox were replaced by a head frame."""
    array_overflows: int = 0
    """Times that frames waiting for a pass were replaced by a head frame."""
    fan_out_frames: int = 0
    fan_out_passes: int = 0
    fan_out_slices: int = 0
    fan_out_sends: int = 0
    pings: int = 0
    handler_failures: int = 0
