"""Limits and intervals of the hub, as plain values: the part of the edge's settings that hop 7 obeys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What a hub allows and when it loses patience. Bytes are payload bytes unless said otherwise."""

    max_frame_bytes: int = 65_536
    """Largest message of a client, over all its fragments."""
    heartbeat_interval_seconds: float = 30.0
    """Between protocol pings; a client that gave no sign of life from one to the next is gone."""
    heartbeat_tick_seconds: float = 0.25
    """How often the wheel turns; pings of one interval are spread over so many turns."""
    close_timeout_seconds: float = 5.0
    """How long a client may take to answer a close frame."""
    blocked_timeout_seconds: float = 20.0
    """A client that takes nothing for so long is closed with TOO_SLOW."""
    unsent_bytes: int = 131_072
    """What the kernel may hold for one connection beyond what is on its way; by itself it takes megabytes for a client that reads
    nothing, and the connection is not seen to be blocked before."""
    outbox_shared_bytes: int = 262_144
    """Fan-out frames that may wait for one connection; above, those of a group shrink to one head frame."""
    outbox_shared_frames: int = 64
    """As `outbox_shared_bytes`, counted: so much is soon dropped for a thousand clients that stall at once."""
    outbox_hard_bytes: int = 1_048_576
    """Everything that may wait for one connection; above, it is closed with TOO_SLOW."""
    array_pending_bytes: int = 1_048_576
    """Frames that may wait for a pass over one array; above, they shrink to one head frame."""
    join_bytes: int = 65_536
    """At most so much is joined into one buffer for one pass (one frame may be larger)."""
    slice_seconds: float = 0.002
    """A fan-out gives way to the loop after so long."""
    rest_seconds: float = 0.003
    """While clients send all the time, so much passes between two looks at their sockets: one wake-up for many. 0: none."""
    long_rest_seconds: float = 0.010
    """The same while each look finds several messages: then a wake-up costs as much as all of them."""
    input_bytes_per_second: int = 262_144
    """A connection that sends more is not read until the next second."""
    input_frames_per_second: int = 500
    """A connection that sends more is closed with ABUSIVE; control frames count."""
