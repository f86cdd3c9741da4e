"""What the Kafka adapters are told: where Kafka is, how the topic is made, bounds. Imports no Kafka: settings are read first."""

from __future__ import annotations

import pathlib
import ssl
from dataclasses import dataclass, field
from typing import Any

from throng.domain.errors import ErrorCode, ThrongError

DEFAULT_TOPIC = "throng.messages.submitted.v1"
DEAD_LETTER_SUFFIX = ".dead"
BOOTSTRAP_SECONDS = 3.0
"""Longest wait for a first broker to answer."""

_RECONNECT_MAX_MS = 1_000


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Where Kafka is and who we are to it.

    Attributes:
        servers: host:port of brokers to ask first.
        topic: the log of submitted messages; poison records go to the topic of this name and `.dead`.
        tls: speak TLS; `ca_file` then names the authorities, otherwise those of the system count.
        cert_file, key_file: PEM files of our own certificate, where brokers want one.
        user: SASL user; empty: none. The password never appears in a repr.
        mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    """

    servers: tuple[str, ...]
    topic: str = DEFAULT_TOPIC
    tls: bool = False
    ca_file: pathlib.Path | None = None
    cert_file: pathlib.Path | None = None
    key_file: pathlib.Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = "SCRAM-SHA-512"

    @property
    def dead_letter_topic(self) -> str:
        """Where poison records are set aside."""
        return self.topic + DEAD_LETTER_SUFFIX

    def client_settings(self, client_id: str) -> dict[str, Any]:
        """What every kind of client is told.

        Raises:
            ThrongError: INVALID_ARGUMENT when a TLS file cannot be used.
        """
        settings: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": client_id,
            "bootstrap_timeout_ms": int(BOOTSTRAP_SECONDS * 1000),
            "reconnect_backoff_max_ms": _RECONNECT_MAX_MS,
            "security_protocol": ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT"),
        }
        if self.tls:
            settings["ssl_context"] = self._tls_context()
        if self.user:
            settings |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return settings

    def _tls_context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer; the broker must prove its name."""
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(str(self.cert_file), None if self.key_file is None else str(self.key_file))
        except OSError as error:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the TLS files for Kafka cannot be used") from error
        context.sslsocket_class = _ClosedWhenRefused
        return context


class _ClosedWhenRefused(ssl.SSLSocket):
    """kafka-python forgets a socket whose handshake failed, at every attempt, without closing it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except BaseException:
            self.close()
            raise


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """How the topic is made when it is absent; a topic that exists is never changed.

    Attributes:
        partitions: upper bound of group_svc processes that share the work; a group lies in one.
        replication_factor: copies of every record.
        min_insync_replicas: copies that must be written before a record counts as appended.
        retention_hours: how long records are kept; it must outlast the longest outage of the store.
        max_message_bytes: largest batch of records, after compression.
    """

    partitions: int = 64
    replication_factor: int = 3
    min_insync_replicas: int = 2
    retention_hours: int = 168
    max_message_bytes: int = 1_048_576

    def configs(self) -> dict[str, str]:
        """The topic's own settings, as Kafka calls them."""
        return {
            "cleanup.policy": "delete",
            "min.insync.replicas": str(min(self.min_insync_replicas, self.replication_factor)),
            "retention.ms": str(self.retention_hours * 3_600_000),
            "max.message.bytes": str(self.max_message_bytes),
            "unclean.leader.election.enable": "false",
        }


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Bounds of one sender.

    Attributes:
        max_records: records that wait or have no acknowledgement.
        max_bytes: their bytes, with what they cost in memory beside them.
        max_record_bytes: largest key and value together.
        patience_seconds: after so long without an acknowledgement a record fails.
        away_after_seconds: after so long without any, new records are refused at once; a single one goes on as a probe.
        linger_ms: how long records are gathered before they are handed over; kafka-python itself lingers for nothing.
    """

    max_records: int = 20_000
    max_bytes: int = 64 * 1024 * 1024
    max_record_bytes: int = 262_144
    patience_seconds: float = 10.0
    away_after_seconds: float = 2.0
    linger_ms: int = 20


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How this process shares the log with others of its kind.

    Attributes:
        group: name of the consumer group.
        session_timeout_seconds: a member that is silent for so long is taken for dead, and its partitions move.
        poll_interval_seconds: longest pause between two polls, and longest wait of a rebalance for one member.
    """

    group: str = "throng-group-svc"
    session_timeout_seconds: float = 8.0
    poll_interval_seconds: float = 30.0
