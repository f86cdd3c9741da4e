"""Numbers that bound what sessions do; the app fills them from the edge's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from throng.domain.ids import EdgeId


@dataclass(frozen=True, slots=True)
class EdgeIdentity:
    """An edge process and one life of it."""

    edge_id: EdgeId
    incarnation: int


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Bounds and paces of sessions.

    Attributes:
        max_connections_per_user: 0: no limit.
        min_send_interval_ms: told to clients; 0: the door leaves each group's interval to the group service.
        heartbeat_interval_ms: told to clients; the hub keeps it.
        max_frame_bytes: told to clients; the hub keeps it.
        reconnect_base_ms, reconnect_max_ms: bounds of a client's backoff.
        idle_timeout_ms: a connection that has entered nothing for so long is closed; 0: never.
        max_in_flight: submissions of one connection without an answer.
        max_in_flight_total: submissions of all connections without an answer; above it new ones are UNAVAILABLE.
        answer_stall_ms: nothing was answered for so long while submissions wait: new ones are UNAVAILABLE, but for probes.
        max_requests: other requests of one connection without an answer.
        max_groups: groups that one connection takes part in.
        answer_timeout_ms: a submission without an answer is then rejected with DEADLINE_EXCEEDED.
        max_malformed: malformed frames of one connection before it is closed.
        cache_messages, cache_bytes: newest messages of a group that are kept here.
        cache_total_bytes: of all groups; above it a group keeps only its newest page.
        page_bytes: message bytes in one answer; a longer page is cut, and the client pulls again.
        head_interval_ms: pace of comparing heads (I6).
        cursor_interval_ms: pace of reporting read cursors.
        route_interval_ms: pace of reporting changed counts.
        negative_ms: how long a failed read is answered without asking again.
        resume_key: signs resume tokens, the same on all edges; empty: there are none.
    """

    max_connections_per_user: int = 20
    min_send_interval_ms: int = 1_000
    heartbeat_interval_ms: int = 30_000
    max_frame_bytes: int = 65_536
    reconnect_base_ms: int = 500
    reconnect_max_ms: int = 30_000
    idle_timeout_ms: int = 60_000
    max_in_flight: int = 256
    max_in_flight_total: int = 20_000
    answer_stall_ms: int = 5_000
    max_requests: int = 64
    max_groups: int = 500
    answer_timeout_ms: int = 15_000
    max_malformed: int = 20
    cache_messages: int = 1_000
    cache_bytes: int = 1_048_576
    cache_total_bytes: int = 268_435_456
    page_bytes: int = 131_072
    head_interval_ms: int = 2_000
    cursor_interval_ms: int = 5_000
    route_interval_ms: int = 1_000
    negative_ms: int = 300
    resume_key: bytes = field(default=b"", repr=False)
