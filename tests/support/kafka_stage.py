"""Topics, producers and consumers on a real broker, fresh for each test and all closed at its end."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid

from throng.adapters.kafka_options import ConsumerSettings, KafkaAccess, SenderLimits, TopicSettings
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.kafka_uplink_consumer import KafkaUplinkConsumer
from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer

TOPIC = TopicSettings(partitions=3, replication_factor=1, min_insync_replicas=1)
CLOSE_SECONDS = 5.0


class KafkaStage(contextlib.AbstractContextManager["KafkaStage"]):
    """One fresh topic and one fresh consumer group on a broker."""

    def __init__(self, *bootstrap: str, topic: TopicSettings = TOPIC, create: bool = True) -> None:
        name = uuid.uuid4().hex[:12]
        self.access = KafkaAccess(servers=bootstrap, topic=f"test-{name}")
        self.topic = topic
        self.settings = ConsumerSettings(group=f"test-{name}", session_timeout_seconds=3.0)
        self._open = contextlib.ExitStack()
        if create:
            ensure_topics(self.access, topic)

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def producer(self, **limits: float) -> KafkaUplinkProducer:
        """A further producer; `limits` are fields of `SenderLimits`."""
        chosen = dataclasses.replace(SenderLimits(linger_ms=2), **limits)
        producer = KafkaUplinkProducer(self.access, self.topic, chosen)
        producer.start()
        self._open.callback(producer.close, CLOSE_SECONDS)
        return producer

    def consumer(self, **settings: float) -> KafkaUplinkConsumer:
        """A further member of the group; `settings` are fields of `ConsumerSettings`."""
        consumer = KafkaUplinkConsumer(self.access, self.topic, dataclasses.replace(self.settings, **settings))
        self._open.callback(consumer.close, CLOSE_SECONDS)
        return consumer
