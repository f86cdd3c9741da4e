"""Sets poison records aside in the dead-letter topic: bounded, best effort, never in the way of the records behind them (hop 3)."""

from __future__ import annotations

import functools

import structlog

from throng.adapters.kafka_options import KafkaAccess, SenderLimits, TopicSettings
from throng.adapters.kafka_sender import KafkaSender
from throng.adapters.kafka_topic import ensure_topics
from throng.domain.errors import ThrongError

_LIMITS = SenderLimits(max_records=1_000, max_bytes=16 * 1024 * 1024, max_record_bytes=1_000_000)
_log = structlog.get_logger("throng.kafka")


class DeadLetters:
    """Counts what was set aside and what could not be; overflow policy: the record is only logged, with its place in the log."""

    def __init__(self, access: KafkaAccess, topic: TopicSettings) -> None:
        """Opens nothing before the first poison record."""
        self._topic = access.topic
        self._sender = KafkaSender(
            access,
            access.dead_letter_topic,
            _LIMITS,
            prepare=lambda opening: ensure_topics(access, topic, opening),
            name="throng-dead-letters",
        )
        self._started = False
        self.set_aside = 0
        self.lost = 0

    def put(self, partition: int, offset: int, key: bytes | None, value: bytes | None, reason: str) -> None:
        """Sets one record aside; returns at once. One thread."""
        if not self._started:
            self._started = True
            self._sender.start()
        headers = [
            ("topic", self._topic.encode()),
            ("partition", str(partition).encode()),
            ("offset", str(offset).encode()),
            ("reason", reason.encode()),
        ]
        done = functools.partial(self._done, partition, offset, reason)
        self._sender.append(key or b"", value or b"", done, headers)

    def _done(self, partition: int, offset: int, reason: str, error: ThrongError | None) -> None:
        if error is None:
            self.set_aside += 1
            _log.warning("record_set_aside", topic=self._topic, partition=partition, offset=offset, reason=reason)
            return
        self.lost += 1
        _log.error(
            "record_not_set_aside", topic=self._topic, partition=partition, offset=offset, reason=reason, code=error.code.name
        )

    def close(self, deadline_seconds: float) -> None:
        """Waits for what is under way, at most so long. Idempotent."""
        if self._started:
            self._sender.close(deadline_seconds)
