"""Bounds of every gRPC connection, message and call, for both ends; docs/security.md says which call comes near which."""

from __future__ import annotations

from typing import Any

MAX_REQUEST_BYTES = 4 << 20
"""Largest message to a server. What our own programs send stays below: logs, publications and deliveries are cut at 1 to 3 MB."""

MAX_RESPONSE_BYTES = 10 << 20
"""Largest message from a server: BatchEnter of 1,000 groups, each with the longest announcement, is 9.3 MB."""

MAX_METADATA_BYTES = 8_192
"""Headers of one call, the token among them. From here on calls are refused at random, at twice as much always."""

MAX_CALLS_PER_CONNECTION = 1_000
"""Calls of one connection at a time (HTTP/2 streams); further ones wait at the caller, up to its deadline."""

MAX_WAITING_CALLS = 1_000
"""Calls that wait for a thread of a server; further ones are refused at once with RESOURCE_EXHAUSTED, which callers take as
UNAVAILABLE."""

MAX_AIO_CALLS = 10_000
"""Calls and streams of a server on asyncio at a time; refused above in the same way."""

MAX_STREAMS_PER_PEER = 4
"""Streams of one kind on one connection. A well-behaved peer holds one; an old one may still be ending."""

MAX_CALL_SECONDS = 60.0
"""Deadline of a handler on asyncio whose caller gave none. Handlers in threads wait for nothing longer than 30 s."""

FIRST_MESSAGE_SECONDS = 10.0
"""A stream that begins with an identity must have told it by then."""

HANDSHAKE_SECONDS = 10
IDLE_CONNECTION_SECONDS = 900
CONNECTION_AGE_SECONDS = 600
"""So old a connection takes no new calls (gRPC spreads it by a tenth): its client asks for the addresses again and goes round over
all that are there by then. Calls and streams that are under way stay where they are, for as long as they like."""
ADDRESS_SECONDS = 5
"""Least time between two questions for the addresses of a name."""
_FOR_EVER_MS = 2**31 - 1

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
"""One set for both ends: the client's keepalive stays above the server's minimum ping interval (else GOAWAY)."""

SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    *OPTIONS,
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_concurrent_streams", MAX_CALLS_PER_CONNECTION),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
    ("grpc.max_connection_idle_ms", IDLE_CONNECTION_SECONDS * 1000),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", _FOR_EVER_MS),
)

CLIENT_OPTIONS: tuple[tuple[str, Any], ...] = (
    *OPTIONS,
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
    ("grpc.enable_retries", 0),
    ("grpc.dns_min_time_between_resolutions_ms", ADDRESS_SECONDS * 1000),
)
