"""Settings of router_svc: `THRONG_ROUTER_…`, `[router]` in the file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from throng.runtime.redis_settings import RedisSettings
from throng.runtime.rpc_settings import RpcSettings
from throng.runtime.settings import service_config


class RouterSettings(RedisSettings, RpcSettings):
    """All settings, each with its default."""

    service: ClassVar[str] = "router"
    model_config = service_config("router")

    host: str = Field(default="127.0.0.1", description="Address to listen on for gRPC.")
    port: int = Field(default=7002, ge=0, le=65_535, description="Port to listen on for gRPC; 0: any free one.")
    heartbeat_seconds: float = Field(
        default=3.0, gt=0, le=60, description="Interval of the edges' heartbeats; three missed ones drop an edge."
    )
    channel_tick_seconds: float = Field(
        default=1.0, gt=0, le=10, description="Proof of life on the change channel; three missing ones count as a break."
    )
    stale_grace_seconds: float = Field(
        default=5.0, ge=0, le=60, description="How long publications still go by the last known routes while Redis is away."
    )
    table_groups: int = Field(default=1_000_000, ge=1, description="Groups in the local route table.")
    queue_events: int = Field(default=20_000, ge=10, description="Events that wait for one edge before blocks shrink to heads.")
    queue_bytes: int = Field(default=32 << 20, ge=4096, description="Bytes that wait for one edge before blocks shrink to heads.")
    batch_events: int = Field(default=500, ge=1, le=10_000, description="Events in one message to an edge.")
    batch_bytes: int = Field(default=1 << 20, ge=4096, le=3 << 20, description="Bytes of events in one message to an edge.")
    window_bytes: int = Field(
        default=2 << 20, ge=4096, description="Bytes written to an edge and not taken over by it yet, before events wait here."
    )
    write_seconds: float = Field(
        default=20.0, gt=0, description="How long an edge may take nothing before its stream is dialled anew."
    )
    drain_seconds: float = Field(default=2.0, ge=0, le=60, description="At stop: how long queues may take to run empty.")

    @model_validator(mode="after")
    def _fit_together(self) -> RouterSettings:
        if self.channel_tick_seconds > self.heartbeat_seconds:
            raise ValueError("channel_tick_seconds must not be above heartbeat_seconds")
        return self

    @property
    def ttl_seconds(self) -> float:
        """How long an edge lives without a report."""
        return 3 * self.heartbeat_seconds
