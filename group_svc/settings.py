"""Settings of group_svc: `THRONG_GROUP_<FIELD>`, a table `[group]` in the file, flags of `throng group`."""

from __future__ import annotations

import pathlib
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from group_svc.core.internal_origin import internal_edge_id
from throng.domain.ids import is_identifier
from throng.runtime.kafka_settings import KafkaConsumerSettings, KafkaSettings
from throng.runtime.mysql_settings import MySQLSettings
from throng.runtime.redis_settings import RedisSettings
from throng.runtime.rpc_settings import RpcSettings
from throng.runtime.settings import service_config


class GroupServiceSettings(KafkaConsumerSettings, KafkaSettings, MySQLSettings, RedisSettings, RpcSettings):
    """What one group_svc process is told at start."""

    service: ClassVar[str] = "group"
    model_config = service_config("group")

    host: str = Field("127.0.0.1", min_length=1, description="Address on which the gRPC server listens.")
    port: int = Field(7001, ge=0, le=65_535, description="Port of the gRPC server; 0: any free one.")
    internal_address: str = Field(
        "",
        description="host:port at which other group services reach this one with answers for its callers; empty: host and port,"
        " or with a wildcard host the address of this machine's name.",
    )
    data_dir: pathlib.Path = Field(pathlib.Path("data"), description="Folder of the SQLite file with groups and messages.")
    router_addresses: str = Field("127.0.0.1:7002", description="host:port of router_svc replicas, separated by commas.")
    unread_addresses: str = Field("127.0.0.1:7003", description="host:port of unread_svc replicas, separated by commas.")
    uplink: Literal["memory", "kafka"] = Field(
        "memory",
        description="The log of submitted messages: kafka, or memory: inside this process, edges elsewhere reach it by gRPC.",
    )
    uplink_max_records: int = Field(
        100_000, ge=1, le=10_000_000, description="Records that the memory uplink holds; above, submissions are refused."
    )
    lanes: int = Field(
        0,
        ge=0,
        le=64,
        description="Threads that check messages; one user is always in the same lane. 0: they are checked in the thread that"
        " reads, which is cheaper as long as no check waits for anything.",
    )
    lane_capacity: int = Field(1_000, ge=1, le=100_000, description="Records that wait in one lane before reading pauses.")
    grpc_threads: int = Field(
        64,
        ge=8,
        le=1_000,
        description="Threads of the gRPC server: a quarter for uplink streams, half for SendMessage.",
    )
    word_list_file: pathlib.Path | None = Field(
        None, description="UTF-8 file of forbidden words, one a line; messages that hold one are refused."
    )
    word_list_check_seconds: float = Field(
        5.0,
        ge=0.0,
        le=3_600.0,
        description="How often the word list's file is looked at for changes, seconds; 0: read once.",
    )
    safety_hook_address: str = Field(
        "", description="host:port of a throng.safety.v1.SafetyHookService that is asked about every message; empty: none. No TLS."
    )
    safety_hook_timeout_seconds: float = Field(
        0.5,
        gt=0.0,
        le=5.0,
        description="Time for one answer of the safety hook, seconds; it holds up that user's messages alone.",
    )
    safety_hook_policy: Literal["open", "closed"] = Field(
        "open",
        description="What the hook did not decide in time is let through (open) or refused with UNAVAILABLE (closed).",
    )
    safety_hook_max_calls: int = Field(64, ge=1, le=1_000, description="Calls to the safety hook at a time.")
    membership_ttl_seconds: float = Field(
        3.0, ge=0.0, le=60.0, description="Time after which a change of a member by another process is seen, seconds."
    )
    hot_group_per_second: float = Field(
        20.0, gt=0.0, le=1_000_000.0, description="Submissions a second from which on a group counts as hot in metrics and log."
    )
    default_group: str = Field("", description="Open group that is made at first start when it is absent; empty: none.")
    drain_seconds: float = Field(5.0, ge=0.0, le=300.0, description="Time for finishing what was submitted when stopping, seconds.")

    @field_validator("default_group")
    @classmethod
    def _check_group(cls, value: str) -> str:
        if value and not is_identifier(value):
            raise ValueError("it must be 1 to 64 of A-Z a-z 0-9 _ - . :")
        return value

    @field_validator("internal_address")
    @classmethod
    def _check_internal_address(cls, value: str) -> str:
        if value:
            internal_edge_id(value, "00000000")
        return value

    @field_validator("router_addresses", "unread_addresses")
    @classmethod
    def _check_addresses(cls, value: str) -> str:
        for address in split_addresses(value):
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65_536:
                raise ValueError(f"{address} is not host:port")
        return value

    @field_validator("safety_hook_address")
    @classmethod
    def _check_hook(cls, value: str) -> str:
        if value:
            internal_edge_id(value, "00000000")
        return value

    @model_validator(mode="after")
    def _check_word_list(self) -> Self:
        if self.word_list_file is not None and not self.word_list_file.is_file():
            raise ValueError(f"word_list_file: there is no file {self.word_list_file}")
        return self


def split_addresses(text: str) -> list[str]:
    """The addresses of a list separated by commas."""
    return [address.strip() for address in text.split(",") if address.strip()]
