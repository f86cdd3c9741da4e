"""Reads records from the uplink and appends some of them again: at once, later, out of order."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from throng.adapters.kafka_options import DEFAULT_TOPIC

_KEPT = 2_000
_SHARE = 0.5


class LogRepeater:
    """Every second record comes again, half of them at once and half at the end, shuffled, some of them several times."""

    def __init__(self, bootstrap: str, source: random.Random) -> None:
        self._bootstrap = bootstrap
        self._random = source
        self._kept: deque[Any] = deque(maxlen=_KEPT)
        self._ending = threading.Event()
        self._reading = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-repeater")
        self._error: BaseException | None = None
        self.repeated = 0

    def start(self) -> None:
        """Returns when it reads."""
        self._thread.start()
        assert self._reading.wait(20.0), "the log cannot be read"

    def stop(self) -> int:
        """Appends what was kept back, and tells how many records came again."""
        self._ending.set()
        self._thread.join(30.0)
        if self._error is not None:
            raise self._error
        return self.repeated

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            self._reading.set()

    def _work(self) -> None:
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, group_id=None, auto_offset_reset="latest")
        producer = KafkaProducer(bootstrap_servers=self._bootstrap, linger_ms=5)
        try:
            partitions = [TopicPartition(DEFAULT_TOPIC, one) for one in consumer.partitions_for_topic(DEFAULT_TOPIC)]
            consumer.assign(partitions)
            # Some are older than this fault: they come again much later than the first time.
            for partition, end in consumer.end_offsets(partitions).items():
                consumer.seek(partition, max(end - 50, 0))
            seen: set[tuple[int, int]] = set()
            self._reading.set()
            while not self._ending.is_set():
                self._take(consumer, producer, seen)
                time.sleep(0.02)
            late = list(self._kept) + self._random.choices(list(self._kept), k=len(self._kept) // 4)
            self._random.shuffle(late)
            for record in late:
                self._append(producer, record)
            producer.flush(10.0)
        finally:
            producer.close(5.0)
            consumer.close()

    def _take(self, consumer: Any, producer: Any, seen: set[tuple[int, int]]) -> None:
        for partition, records in consumer.poll(timeout_ms=100).items():
            for record in records:
                # What comes again here is not repeated again, or the log would only grow.
                own = any(name == "repeated" for name, _ in record.headers or ())
                if own or (partition.partition, record.offset) in seen or self._random.random() > _SHARE:
                    continue
                seen.add((partition.partition, record.offset))
                if self._random.random() < 0.5:
                    self._append(producer, record)
                else:
                    self._kept.append(record)

    def _append(self, producer: Any, record: Any) -> None:
        headers = [*(record.headers or ()), ("repeated", b"1")]
        producer.send(record.topic, key=record.key, value=record.value, headers=headers, partition=record.partition)
        self.repeated += 1
