"""Settings of every service that speaks Kafka, and what adapters are made of them."""

from __future__ import annotations

import pathlib
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from throng.adapters.kafka_options import DEFAULT_TOPIC, ConsumerSettings, KafkaAccess, SenderLimits, TopicSettings
from throng.runtime.secret_files import read_secret_file


class KafkaSettings(BaseModel):
    """Mixed into the settings of a service; it counts only where `uplink` is kafka."""

    kafka_servers: str = Field("127.0.0.1:9092", description="host:port of Kafka brokers to ask first, separated by commas.")
    kafka_topic: str = Field(
        DEFAULT_TOPIC,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="The log of submitted messages; poison records go to the topic of this name and .dead.",
    )
    kafka_partitions: int = Field(
        64, ge=1, le=10_000, description="Partitions of the topic when it is made; upper bound of group_svc processes."
    )
    kafka_replication_factor: int = Field(
        3, ge=1, le=9, description="Copies of each record when the topic is made; 1 where there is one broker."
    )
    kafka_min_insync_replicas: int = Field(
        2, ge=1, le=9, description="Copies that must be written before a record counts as appended; at most the copies there are."
    )
    kafka_retention_hours: int = Field(
        168, ge=1, le=87_600, description="How long the topic keeps records when it is made; longer than any outage of the store."
    )
    kafka_tls: bool = Field(False, description="Speak TLS to Kafka.")
    kafka_ca_file: pathlib.Path | None = Field(None, description="PEM file of authorities for Kafka; empty: those of the system.")
    kafka_cert_file: pathlib.Path | None = Field(None, description="PEM file of our certificate, where Kafka wants one.")
    kafka_key_file: pathlib.Path | None = Field(None, description="PEM file of its key.")
    kafka_user: str = Field("", description="SASL user at Kafka; empty: none.")
    kafka_password_file: pathlib.Path | None = Field(None, description="File with the SASL user's password.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism: PLAIN (only over TLS), SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    kafka_max_records: int = Field(
        20_000, ge=1, le=1_000_000, description="Records on their way to Kafka; above, submissions are refused."
    )
    kafka_max_mebibytes: int = Field(
        64, ge=1, le=4_096, description="Their memory, mebibytes, with about 1 kB for each record; above, submissions are refused."
    )
    kafka_patience_seconds: float = Field(
        10.0, ge=1.0, le=120.0, description="A record that Kafka does not acknowledge in this time is refused, seconds."
    )
    kafka_linger_ms: int = Field(20, ge=0, le=1_000, description="Time in which records for Kafka are gathered, milliseconds.")

    @field_validator("kafka_servers")
    @classmethod
    def _check_servers(cls, value: str) -> str:
        servers = _split(value)
        if not servers:
            raise ValueError("at least one host:port is needed")
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65_536:
                raise ValueError(f"{server} is not host:port")
        return value

    @model_validator(mode="after")
    def _check_kafka_files(self) -> Self:
        if bool(self.kafka_user) != (self.kafka_password_file is not None):
            raise ValueError("kafka_user and kafka_password_file must be set together")
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ValueError("kafka_cert_file and kafka_key_file must be set together")
        return self

    def kafka_access(self) -> KafkaAccess:
        """How to reach Kafka; reads the password.

        Raises:
            ThrongError: INVALID_ARGUMENT, the password file cannot be used.
        """
        password = read_secret_file(self.kafka_password_file) if self.kafka_password_file is not None else ""
        return KafkaAccess(
            servers=_split(self.kafka_servers),
            topic=self.kafka_topic,
            tls=self.kafka_tls or self.kafka_ca_file is not None,
            ca_file=self.kafka_ca_file,
            cert_file=self.kafka_cert_file,
            key_file=self.kafka_key_file,
            user=self.kafka_user,
            password=password,
            mechanism=self.kafka_sasl_mechanism,
        )

    def kafka_topic_settings(self) -> TopicSettings:
        """How the topic is made."""
        return TopicSettings(
            partitions=self.kafka_partitions,
            replication_factor=self.kafka_replication_factor,
            min_insync_replicas=self.kafka_min_insync_replicas,
            retention_hours=self.kafka_retention_hours,
        )

    def kafka_limits(self) -> SenderLimits:
        """Bounds of a producer."""
        return SenderLimits(
            max_records=self.kafka_max_records,
            max_bytes=self.kafka_max_mebibytes * 1024 * 1024,
            patience_seconds=self.kafka_patience_seconds,
            linger_ms=self.kafka_linger_ms,
        )


class KafkaConsumerSettings(BaseModel):
    """Mixed into the settings of group_svc, which reads the log."""

    kafka_group: str = Field("throng-group-svc", min_length=1, description="Name of the consumer group of all group_svc processes.")
    kafka_session_timeout_seconds: float = Field(
        8.0, ge=1.0, le=300.0, description="A group_svc that is silent for so long loses its partitions to others, seconds."
    )

    def kafka_consumer_settings(self) -> ConsumerSettings:
        """How the log is shared."""
        return ConsumerSettings(group=self.kafka_group, session_timeout_seconds=self.kafka_session_timeout_seconds)


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
