"""What is asked: who is online, how much is said, and how the installation is to be loaded."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.limits import MAX_BLOCK_INTERVAL_MS, MAX_BLOCK_MESSAGES, MAX_TEXT_CHARACTERS

MAX_MEMBERS = 10_000_000


class Delivery(enum.StrEnum):
    """How members are told."""

    INLINE = "inline"
    NOTIFY = "notify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """One group and all who are online in it.

    Attributes:
        members: online at once.
        rate: messages per second that the group takes, all senders together.
        offered_rate: messages per second that are submitted, those refused included; 0: as many as are taken.
        block_max, block_interval_ms: a block is pushed at so many messages, or when it is so old.
        text_bytes: mean size of a text, UTF-8.
        delivery: how members are told.
        reading_share: part of the members who look at the page, and so report how far they have read.
        slow_share: part of the members for whom frames wait at any moment.
        utilisation: part of each core and of each network card that may be used.
        spare_edges: edges that may be lost while the others stay within `utilisation`.
        connections_per_edge: most clients of an edge process.
        handshakes_per_second: budget of an edge (its setting of that name).
        cores_per_machine, gigabits_per_machine: what a machine has.
        history_days: how long messages are kept in MySQL.
        kafka_hours, kafka_replicas: how long the log is kept, and how often.
    """

    members: int
    rate: float
    offered_rate: float = 0.0
    block_max: int = 10
    block_interval_ms: int = 1_000
    text_bytes: int = 60
    delivery: Delivery = Delivery.INLINE
    reading_share: float = 0.2
    slow_share: float = 0.01
    utilisation: float = 0.6
    spare_edges: int = 1
    connections_per_edge: int = 50_000
    handshakes_per_second: int = 2_000
    cores_per_machine: int = 8
    gigabits_per_machine: float = 10.0
    history_days: int = 365
    kafka_hours: int = 168
    kafka_replicas: int = 3

    def check(self) -> None:
        """Looks whether it can be reckoned.

        Raises:
            ThrongError: INVALID_ARGUMENT, with one sentence.
        """
        bounds: dict[str, tuple[float, float, float]] = {
            "members": (self.members, 1, MAX_MEMBERS),
            "rate": (self.rate, 0.001, 100_000),
            "offered rate": (self.offered_rate, 0, 10_000_000),
            "block max": (self.block_max, 1, MAX_BLOCK_MESSAGES),
            "block interval": (self.block_interval_ms, 0, MAX_BLOCK_INTERVAL_MS),
            "text bytes": (self.text_bytes, 1, 4 * MAX_TEXT_CHARACTERS),
            "reading share": (self.reading_share, 0, 1),
            "slow share": (self.slow_share, 0, 1),
            "utilisation": (self.utilisation, 0.05, 0.95),
            "spare edges": (self.spare_edges, 0, 1_000),
            "connections per edge": (self.connections_per_edge, 100, 1_000_000),
            "handshakes per second": (self.handshakes_per_second, 1, 100_000),
            "cores per machine": (self.cores_per_machine, 1, 1_024),
            "gigabits per machine": (self.gigabits_per_machine, 0.1, 800),
            "history days": (self.history_days, 1, 36_500),
            "Kafka hours": (self.kafka_hours, 1, 87_600),
            "Kafka replicas": (self.kafka_replicas, 1, 10),
        }
        for name, (value, least, most) in bounds.items():
            if not least <= value <= most:
                raise _wrong(f"{name} must be {least:,} to {most:,}, not {value:,}")
        if self.offered_rate and self.offered_rate < self.rate:
            raise _wrong(f"less is offered ({self.offered_rate:g}/s) than is taken ({self.rate:g}/s)")
        if self.rate > self.members * 1_000:
            raise _wrong(f"{self.members:,} members cannot send {self.rate:,g} messages a second")

    @property
    def offered(self) -> float:
        """Messages submitted per second."""
        return self.offered_rate or self.rate

    @property
    def messages_per_block(self) -> float:
        """Mean; at least 1, for a message after a quiet time goes at once."""
        return min(float(self.block_max), max(1.0, self.rate * self.block_interval_ms / 1_000))

    @property
    def blocks_per_second(self) -> float:
        """Blocks that are pushed to every member."""
        return self.rate / self.messages_per_block


def _wrong(text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text)
