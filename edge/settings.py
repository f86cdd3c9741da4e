"""Settings of an edge (`THRONG_EDGE_<FIELD>`), validated as a whole before anything starts."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from throng.domain.ids import is_identifier
from throng.runtime.kafka_settings import KafkaSettings
from throng.runtime.rpc_settings import RpcSettings
from throng.runtime.settings import service_config


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several values, separated by commas."""


class EdgeSettings(KafkaSettings, RpcSettings):
    """What an operator may choose for an edge."""

    service: ClassVar[str] = "edge"
    model_config = service_config("edge")

    host: str = Field("127.0.0.1", description="Address on which clients are served.")
    port: int = Field(8080, ge=0, le=65_535, description="Port on which clients are served; 0: any free one.")
    reuse_port: bool = Field(
        False,
        description="Share the port with other edges of this machine and user (SO_REUSEPORT); the kernel deals clients out.",
    )
    internal_host: str = Field("127.0.0.1", description="Address on which routers are served (gRPC).")
    internal_port: int = Field(0, ge=0, le=65_535, description="Port on which routers are served; 0: any free one.")
    internal_address: str = Field("", description="host:port at which routers reach this edge; empty: internal_host and its port.")
    public_url: str = Field("", description="Base of the address for clients, such as wss://chat.example.org; empty: host, port.")
    edge_id: str = Field("", description="Name of this edge, unique in the installation; empty: made of host name and port.")
    weight: int = Field(0, ge=0, le=1_000, description="Share of new clients, set by hand; 0: derived from load.")

    group_addresses: CommaList = Field(("127.0.0.1:7001",), description="host:port of group_svc, separated by commas.")
    router_addresses: CommaList = Field(("127.0.0.1:7002",), description="host:port of router_svc, separated by commas.")
    unread_addresses: CommaList = Field(("127.0.0.1:7003",), description="host:port of unread_svc, separated by commas.")
    uplink: Literal["memory", "grpc", "kafka"] = Field(
        "grpc",
        description="How submissions reach group_svc: memory (all-in-one only), grpc (a stream to group_svc's log), or kafka.",
    )
    max_calls_under_way: int = Field(
        100_000,
        ge=1,
        description="Requests to other services at one time, three for each client that enters (many share one call);"
        " above it they fail with UNAVAILABLE.",
    )
    call_timeout_ms: int = Field(3_000, ge=100, le=60_000, description="Deadline of each call to another service, milliseconds.")

    jwt_secret_file: pathlib.Path | None = Field(None, description="File with the secret for HS256 tokens, at least 32 bytes.")
    jwt_public_key_file: pathlib.Path | None = Field(None, description="File with the public key (PEM) for EdDSA tokens.")
    resume_secret_file: pathlib.Path | None = Field(
        None,
        description="File with the secret for resume tokens, at least 32 bytes, the same on all edges; empty: jwt_secret_file's;"
        " without either, returning clients are looked up.",
    )
    audience: str = Field("throng", min_length=1, description="Audience that tokens must name.")
    allowed_origins: CommaList = Field(
        (), description="Origins of pages that may connect, separated by commas; empty: the edge's own host; *: any."
    )
    allow_access_token_query: bool = Field(False, description="Accept the token in the URL as access_token= (URLs end up in logs).")
    dev_login: bool = Field(False, description="Give a token to anyone who says a name (POST /v1/login). Never in production.")
    dev_login_ttl_seconds: int = Field(7 * 86_400, ge=60, description="Life of a token that development login gives, seconds.")
    default_groups: CommaList = Field(("lobby",), description="Groups that the page enters for a new user, separated by commas.")

    max_connections: int = Field(
        100_000,
        ge=1,
        description="Connections on this edge, or what the limit of open files allows; above it upgrades get 503 with Retry-After.",
    )
    reserved_descriptors: int = Field(
        64, ge=32, le=65_536, description="Open files kept for everything but HTTP and clients, such as links to other services."
    )
    max_connections_per_user: int = Field(20, ge=0, description="Connections of one user on this edge; 0: no limit.")
    max_groups_in_url: int = Field(100, ge=1, le=500, description="Groups that a client may name in the URL.")
    handshakes_per_second: int = Field(
        2_000,
        ge=0,
        description="Upgrades per second that are admitted, fewer while the hub is late; above it 503, Retry-After; 0: no limit.",
    )
    min_send_interval_ms: int = Field(
        1_000,
        ge=0,
        le=3_600_000,
        description="Told to clients as the usual interval, milliseconds. Above 0 the door keeps each group's own interval, also "
        "that of slow mode; 0: only the group service does.",
    )
    heartbeat_interval_ms: int = Field(30_000, ge=1_000, le=600_000, description="Pace of protocol pings, milliseconds.")
    idle_timeout_ms: int = Field(
        60_000, ge=0, description="A connection that entered no group for so long is closed, milliseconds; 0: never."
    )
    max_frame_bytes: int = Field(65_536, ge=1_024, le=4_194_304, description="Largest frame of a client, bytes.")
    native_fan_out: Literal["auto", "off", "on", "ring"] = Field(
        "auto",
        description="Send to groups by the loop that edge.native.build compiles: auto: where it was built; on: always;"
        " ring: always, with io_uring; off: never.",
    )
    permessage_deflate: bool = Field(
        True,
        description="Compress frames for clients that offer permessage-deflate, once for all of a group.",
    )
    reconnect_base_ms: int = Field(500, ge=1, le=600_000, description="First bound for reconnecting, milliseconds.")
    reconnect_max_ms: int = Field(30_000, ge=1, le=600_000, description="Largest bound for reconnecting, milliseconds.")
    drain_window_ms: int = Field(5_000, ge=0, le=600_000, description="Time over which clients leave at stop, milliseconds.")
    public_metrics: bool = Field(True, description="Serve /metrics on the clients' port as well; false: on metrics_port alone.")
    static_dir: pathlib.Path | None = Field(None, description="Folder of the built page; empty: the one in the package.")

    @field_validator("group_addresses", "router_addresses", "unread_addresses")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one host:port is needed")
        for address in value:
            if not _is_address(address):
                raise ValueError(f"{address!r} is not host:port")
        return value

    @field_validator("internal_address")
    @classmethod
    def _check_internal_address(cls, value: str) -> str:
        if value and not _is_address(value):
            raise ValueError(f"{value!r} is not host:port")
        return value

    @field_validator("edge_id")
    @classmethod
    def _check_edge_id(cls, value: str) -> str:
        if value and not is_identifier(value):
            raise ValueError("it must be 1 to 64 of A-Z a-z 0-9 _ - . :")
        if value.startswith("internal:"):
            raise ValueError("it must not begin with internal:, which names group services")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("ws", "wss") or not urlsplit(value).netloc):
            raise ValueError("it must begin with ws:// or wss:// and name a host")
        return value.rstrip("/")

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.scheme or not parts.netloc or parts.path or parts.query):
                raise ValueError(f"{origin!r} is not an origin such as https://chat.example.org")
        return tuple(origin.lower() for origin in value)

    @field_validator("default_groups")
    @classmethod
    def _check_groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for group_id in value:
            if not is_identifier(group_id):
                raise ValueError(f"{group_id!r} is not a group_id")
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> EdgeSettings:
        if (self.jwt_secret_file is None) == (self.jwt_public_key_file is None):
            raise ValueError("exactly one of jwt_secret_file and jwt_public_key_file must be set")
        if self.dev_login and self.jwt_secret_file is None:
            raise ValueError("dev_login needs jwt_secret_file, for a public key cannot issue tokens")
        if self.reconnect_base_ms > self.reconnect_max_ms:
            raise ValueError("reconnect_base_ms must not be above reconnect_max_ms")
        if self.internal_host in ("0.0.0.0", "::") and not self.internal_address:
            raise ValueError("internal_address must be set when internal_host is a wildcard, for routers have to dial it")
        return self


def _is_address(address: str) -> bool:
    if "://" in address:
        return True
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65_536
