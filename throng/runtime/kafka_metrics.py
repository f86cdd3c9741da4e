"""The Kafka uplink of one service, as operators see it; the adapters count, and are read when metrics are collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_REASONS = ("full", "away", "closed", "too_large", "overdue", "failed")


class CountedSender(Protocol):
    """What a producer counts."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused records by reason."""
        ...

    @property
    def records_in_flight(self) -> int:
        """Records that have no outcome yet."""
        ...

    @property
    def bytes_in_flight(self) -> int:
        """Their memory, bytes."""
        ...

    @property
    def rebuilds(self) -> int:
        """Clients given up and made anew."""
        ...

    @property
    def reachable(self) -> bool:
        """Kafka takes records."""
        ...


class CountedConsumer(Protocol):
    """What a consumer counts."""

    rebalances: int
    assigned_partitions: int

    @property
    def set_aside(self) -> int:
        """Poison records in the dead-letter topic."""
        ...

    @property
    def not_set_aside(self) -> int:
        """Poison records that did not get there."""
        ...


class KafkaMetrics(Collector):
    """`throng_<service>_kafka_…`; zeros where the service does not use Kafka. `consumes`: it also reads the log."""

    def __init__(self, service: str, registry: CollectorRegistry, *, consumes: bool) -> None:
        self._prefix = f"throng_{service}_kafka"
        self._consumes = consumes
        self._sender: CountedSender | None = None
        self._consumer: CountedConsumer | None = None
        registry.register(self)

    def watch_producer(self, sender: CountedSender) -> None:
        """Reads this one from now on."""
        self._sender = sender

    def watch_consumer(self, consumer: CountedConsumer) -> None:
        """Reads this one from now on."""
        self._consumer = consumer

    def collect(self) -> Iterator[Metric]:
        """Reads everything."""
        sender = self._sender
        yield self._gauge(
            "producer_records",
            "Records on their way to Kafka; bounded, new ones are refused (hop 2, I8).",
            sender.records_in_flight if sender else 0,
        )
        yield self._gauge("producer_bytes", "Their memory, bytes; bounded too (I8).", sender.bytes_in_flight if sender else 0)
        yield self._gauge(
            "producer_reachable", "1: Kafka takes records; 0: it is away, or not used.", int(sender.reachable) if sender else 0
        )
        yield self._counter(
            "producer_rebuilds", "Times that a client of Kafka was given up and made anew.", sender.rebuilds if sender else 0
        )
        refused = CounterMetricFamily(
            f"{self._prefix}_producer_refused",
            "Records refused at once (full, away, closed, too_large) or after a while (overdue, failed).",
            labels=["reason"],
        )
        for reason in _REASONS:
            refused.add_metric([reason], sender.refused[reason] if sender else 0)
        yield refused
        if self._consumes:
            yield from self._consuming()

    def _consuming(self) -> Iterator[Metric]:
        consumer = self._consumer
        yield self._gauge(
            "consumer_partitions",
            "Partitions of the log that are read here (hop 3).",
            consumer.assigned_partitions if consumer else 0,
        )
        yield self._counter(
            "consumer_rebalances", "Times that partitions came here (hop 3).", consumer.rebalances if consumer else 0
        )
        dead = CounterMetricFamily(
            f"{self._prefix}_dead_letters",
            "Poison records: set_aside in the dead-letter topic, or lost to it and named in the log only (hop 3).",
            labels=["outcome"],
        )
        dead.add_metric(["set_aside"], consumer.set_aside if consumer else 0)
        dead.add_metric(["lost"], consumer.not_set_aside if consumer else 0)
        yield dead

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, value=value)

    def _counter(self, name: str, text: str, value: float) -> Metric:
        return CounterMetricFamily(f"{self._prefix}_{name}", text, value=value)
