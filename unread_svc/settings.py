"""What an operator can set of unread_svc: flags, `THRONG_UNREAD_<FIELD>`, or the table `[unread]` of the file."""

from __future__ import annotations

import pathlib
from typing import Annotated, ClassVar, Self

import pydantic
from pydantic import Field
from pydantic_settings import NoDecode, SettingsConfigDict

from throng.runtime.mysql_settings import MySQLSettings
from throng.runtime.redis_settings import RedisSettings
from throng.runtime.rpc_settings import RpcSettings
from throng.runtime.settings import service_config


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class UnreadSettings(MySQLSettings, RedisSettings, RpcSettings):
    """Settings of one unread_svc process."""

    service: ClassVar[str] = "unread"
    model_config: ClassVar[SettingsConfigDict] = service_config("unread")

    host: str = Field("127.0.0.1", min_length=1, description="Address that the gRPC server listens on.")
    port: int = Field(7003, ge=0, le=65_535, description="Port of the gRPC server; 0: any free one.")
    data_dir: pathlib.Path = Field(
        pathlib.Path("throng-data"), description="Folder of the SQLite file `unread.sqlite` with the read cursors."
    )
    group_addresses: Annotated[tuple[str, ...], NoDecode, pydantic.BeforeValidator(_split)] = Field(
        ("127.0.0.1:7001",),
        min_length=1,
        description="host:port of every group_svc, separated by commas, or one dns:///name:port; dialled when needed.",
    )
    threads: int = Field(24, ge=2, le=512, description="Threads of the gRPC server: calls that are worked on at a time.")
    max_observe_streams: int = Field(
        8, ge=1, le=256, description="Observation streams of group_svc that may be open; each holds a thread."
    )
    group_timeout_seconds: float = Field(2.0, gt=0, le=60, description="Deadline of one call to group_svc, seconds.")
    max_group_calls: int = Field(32, ge=1, le=1_024, description="Calls to group_svc that may be under way at a time.")
    window_lifetime_seconds: int = Field(
        604_800, ge=60, description="A window goes from Redis when its group was silent for so long, seconds."
    )
    stop_grace_seconds: float = Field(5.0, ge=0, le=300, description="How long calls under way may take at a stop, seconds.")

    @pydantic.model_validator(mode="after")
    def _leaves_threads_for_calls(self) -> Self:
        if self.max_observe_streams >= self.threads:
            raise ValueError("max_observe_streams must be below threads, or observations would keep out all other calls")
        return self

    @pydantic.field_validator("group_addresses")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"{address!r} is not host:port")
        return addresses
