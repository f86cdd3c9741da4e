"""`UplinkConsumer` over Kafka (hop 3): a consumer group whose offsets are committed by the caller, after persisting.

kafka-python's rebalance runs on its I/O thread, which also sends heartbeats; the caller's callback therefore runs on a thread of
its own while `poll` waits for it, and the I/O thread goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from throng.adapters.kafka_access import Opening, abandon_consumer, translated
from throng.adapters.kafka_dead_letters import DeadLetters
from throng.adapters.kafka_join import HandOvers, Joins
from throng.adapters.kafka_options import ConsumerSettings, KafkaAccess, TopicSettings
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.submission_codec import Unreadable, decode_all
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.message import Submission
from throng.ports.uplink import UplinkRecord

_SLICE_SECONDS = 0.1
_SHORTEST_SECONDS = 0.05
_COMMIT_SECONDS = 3.0
_CALLBACK_SECONDS = 15.0
_LOOK_SECONDS = 0.01
_LAG_SECONDS, _LAG_MS = 5.0, 1_000
_FETCH_BYTES = 8 * 1024 * 1024
_PARTITION_BYTES = 1024 * 1024
_FETCH_WAIT_MS = 100
"""How long the broker holds a fetch for which there is nothing. A partition of which records still lie here is left out of the next
fetch; are the others quiet, what is appended to it meanwhile waits for that fetch to end: half a second by default."""

_log = structlog.get_logger("throng.kafka")


class KafkaUplinkConsumer:
    """One member of the group. Bounded memory: one fetch of 8 MiB at a time, and 1 MiB of a partition in it."""

    outlives_process = True

    def __init__(
        self, access: KafkaAccess, topic: TopicSettings, settings: ConsumerSettings | None = None, *, name: str = "throng-group"
    ) -> None:
        """Opens nothing yet; Kafka need not be there."""
        self._access = access
        self._topic = topic
        self._settings = settings or ConsumerSettings()
        self._name = name
        self._opening = Opening()
        self._using = threading.RLock()
        self._stopped = threading.Event()
        self._consumer: Any = None
        self._joins: Joins | None = None
        self._hand_overs = HandOvers()
        self._closed = False
        self._on_revoked: Callable[[Sequence[int]], None] = lambda partitions: None
        self._dead_letters = DeadLetters(access, topic)
        self._next: dict[int, int] = {}
        self._floor: dict[int, int] = {}
        self._lags: dict[int, int] = {}
        self._paused = False
        self._lag_due = 0.0
        self._per_record = 1.0
        self.rebalances = 0
        self.assigned_partitions = 0

    # What the port promises -------------------------------------------------------------------------------------------

    def poll(self, timeout_seconds: float, max_records: int) -> Sequence[UplinkRecord]:
        """Waits for records; with `max_records` 0 it only stays in the group. See the port.

        Asks for as many records of the log as hold about `max_records` submissions by what came before; a sudden change from single
        ones to packs may bring up to MAX_PACK times as many, once, within the bound of a fetch.
        """
        deadline = time.monotonic() + timeout_seconds
        self._hand_overs.open()
        try:
            while not self._stopped.is_set():
                with self._using:
                    if self._closed:
                        return []
                    slice_seconds = min(max(deadline - time.monotonic(), _SHORTEST_SECONDS), _SLICE_SECONDS)
                    records = self._poll_slice(slice_seconds, max_records)
                if records or time.monotonic() >= deadline:
                    return records
            return []
        finally:
            self._hand_overs.close(_CALLBACK_SECONDS)

    def _poll_slice(self, timeout_seconds: float, max_records: int) -> list[UplinkRecord]:
        """One short poll, so that `stop` is heard; a consumer that fails is given up, and the next poll makes another."""
        try:
            consumer = self._consumer or self._open()
            self._pause(consumer, paused=max_records == 0)
            fetched = consumer.poll(int(timeout_seconds * 1000), max(int(max_records / self._per_record), 1))
            if time.monotonic() >= self._lag_due:
                self._look_at_lag(consumer)
        except Exception as error:
            if self._stopped.is_set():
                return []
            self._give_up(error)
            raise translated(error) from error
        if max_records == 0:
            # A partition that came in this very poll is not paused yet; what was read of it is read again.
            for partition, fresh in fetched.items():
                consumer.seek(partition, fresh[0].offset)
            return []
        records = [record for batch in fetched.values() for one in batch for record in self._records(one)]
        if records:
            self._per_record = max(self._per_record * 0.75, len(records) / sum(map(len, fetched.values())))
        for partition, batch in fetched.items():
            self._note_read(consumer, partition, batch)
        return records

    def commit(self, offsets: dict[int, int]) -> None:
        """Notes offsets of partitions that are ours and that grew; see the port."""
        consumer = self._consumer  # no lock: the callback of `set_on_revoked` commits while `poll` waits for it
        grown = {partition: offset for partition, offset in offsets.items() if offset > self._floor.get(partition, offset)}
        if consumer is None or not grown:
            return
        entries = {
            TopicPartition(self._access.topic, partition): OffsetAndMetadata(offset, "", -1) for partition, offset in grown.items()
        }
        try:
            consumer.commit(entries, timeout_ms=int(_COMMIT_SECONDS * 1000))
        except Exception as error:
            cause = translated(error)
            text = "the offsets are not committed; what was read comes again"
            raise ThrongError(ErrorCode.UNAVAILABLE, text, retry_after_ms=1_000, fields=cause.fields) from error
        self._floor.update(grown)

    def set_on_revoked(self, callback: Callable[[Sequence[int]], None]) -> None:
        """See the port."""
        self._on_revoked = callback

    def lag(self) -> int:
        """Records in partitions of ours that were not polled yet, as of the last poll. Any thread."""
        return sum(self._lags.copy().values())

    def stop(self) -> None:
        """Ends a waiting `poll`: in 0.1 s, 3 s while Kafka is sought; a callback that runs ends first. Any thread. Idempotent."""
        self._stopped.set()
        self._opening.give_up()

    def close(self, deadline_seconds: float) -> None:
        """Leaves the group, so that the partitions move at once. Idempotent."""
        self.stop()
        deadline = time.monotonic() + deadline_seconds
        if self._using.acquire(timeout=max(deadline_seconds, 0.0)):
            try:
                consumer, self._consumer, self._closed = self._consumer, None, True
            finally:
                self._using.release()
        else:
            consumer, self._consumer, self._closed = self._consumer, None, True
        if self._joins is not None:
            self._joins.end()
        if consumer is not None:
            abandon_consumer(consumer, max(deadline - time.monotonic(), 0.2), leave=True)
        self._dead_letters.close(max(deadline - time.monotonic(), 0.0))

    # For metrics ------------------------------------------------------------------------------------------------------

    @property
    def set_aside(self) -> int:
        """Poison records that lie in the dead-letter topic."""
        return self._dead_letters.set_aside

    @property
    def not_set_aside(self) -> int:
        """Poison records for which it could not be reached; the log names their places."""
        return self._dead_letters.lost

    # Inside -----------------------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        ensure_topics(self._access, self._topic, self._opening)
        settings = self._settings
        session_ms = int(settings.session_timeout_seconds * 1000)
        consumer = self._opening.open(
            KafkaConsumer,
            self._access.client_settings(self._name)
            | {
                "group_id": settings.group,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "partition_assignment_strategy": (CooperativeStickyAssignor,),
                "session_timeout_ms": session_ms,
                "heartbeat_interval_ms": session_ms // 4,
                "max_poll_interval_ms": int(settings.poll_interval_seconds * 1000),
                "request_timeout_ms": 10_000,
                "fetch_max_wait_ms": _FETCH_WAIT_MS,
                "fetch_max_bytes": _FETCH_BYTES,
                "max_partition_fetch_bytes": _PARTITION_BYTES,
                "metadata_max_age_ms": 60_000,
                "allow_auto_create_topics": False,
                "metrics_enabled": False,
            },
        )
        self._joins = Joins(consumer, self._access.topic)
        consumer.subscribe([self._access.topic], listener=_Listener(self, consumer._net.sleep))
        self._consumer, self._paused = consumer, False
        _log.info("kafka_consumer_made", topic=self._access.topic, group=settings.group)
        return consumer

    def _give_up(self, error: BaseException) -> None:
        """Drops a consumer that failed: its partitions are lost, and reading begins again behind what was committed."""
        cause = translated(error)
        _log.warning("kafka_consumer_failed", code=cause.code.name, text=cause.text, **cause.fields)
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if self._joins is not None:
            self._joins.end()
        partitions = sorted(self._next.keys() | self._lags.keys())
        abandon_consumer(consumer, 1.0, leave=False)
        self._forget(partitions)
        if partitions:
            self._call_back(partitions)

    def _pause(self, consumer: Any, *, paused: bool) -> None:
        if paused:
            consumer.pause(*consumer.assignment())
        elif self._paused:
            consumer.resume(*consumer.paused())
        self._paused = paused

    def _note_read(self, consumer: Any, partition: TopicPartition, batch: Sequence[Any]) -> None:
        number = partition.partition
        self._floor.setdefault(number, batch[0].offset)
        self._next[number] = following = batch[-1].offset + 1
        end = consumer.highwater(partition) if partition in consumer.assignment() else None
        self._lags[number] = max((end or following) - following, 0)

    def _look_at_lag(self, consumer: Any) -> None:
        """Asks for the ends of all partitions, also of those that are not read at the moment."""
        self._lag_due = time.monotonic() + _LAG_SECONDS
        assigned = consumer.assignment()
        if not assigned:
            return
        try:
            ends = consumer.end_offsets(list(assigned), timeout_ms=_LAG_MS)
            for partition, end in ends.items():
                position = self._next.get(partition.partition)
                if position is None:
                    position = consumer.position(partition, timeout_ms=_LAG_MS)
                if position is not None:
                    self._lags[partition.partition] = max(end - position, 0)
        except KafkaError as error:
            _log.info("uplink_lag_unknown", error=type(error).__name__)

    def _records(self, one: Any) -> list[UplinkRecord]:
        """The submissions of one record of the log; what is none is set aside."""
        try:
            parts = decode_all(one.value or b"")
            first = parts[0]
            if isinstance(first, Submission) and one.key != first.group_id.encode():
                reason = "the key is not the group"
            elif len(parts) == 1 and isinstance(first, Unreadable):
                reason = first.reason
            else:
                return [self._part(one, number, part) for number, part in enumerate(parts)]
        except ThrongError as error:
            reason = error.text
        except Exception as error:
            reason = type(error).__name__
        self._dead_letters.put(one.partition, one.offset, one.key, one.value, reason)
        return [UplinkRecord(one.partition, one.offset, None)]

    def _part(self, one: Any, number: int, part: Submission | Unreadable) -> UplinkRecord:
        if isinstance(part, Unreadable):
            self._dead_letters.put(one.partition, one.offset, one.key, part.value, part.reason)
            return UplinkRecord(one.partition, one.offset, None, number)
        return UplinkRecord(one.partition, one.offset, part, number)

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            self._floor.pop(partition, None)
            self._lags.pop(partition, None)

    def _call_back(self, partitions: Sequence[int]) -> None:
        if self._stopped.is_set():
            return
        try:
            self._on_revoked(partitions)
        except Exception as error:
            _log.error("revoke_callback_failed", partitions=list(partitions), exc_info=error)


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Called on kafka-python's I/O thread."""

    def __init__(self, owner: KafkaUplinkConsumer, sleep: Callable[[float], Any]) -> None:
        self._owner = owner
        self._sleep = sleep

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Reading of these begins anew."""
        numbers = sorted(partition.partition for partition in assigned)
        self._owner._forget(numbers)
        self._owner._lags.update(dict.fromkeys(numbers, 0))
        self._owner.rebalances += 1
        self._owner.assigned_partitions += len(numbers)
        _log.info("partitions_assigned", partitions=numbers)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Lets the owner's callback finish what is in hand; the group waits for it, within bounds."""
        await self._hand_over(revoked, "partitions_revoked")

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """The same; others may have them already."""
        await self._hand_over(lost, "partitions_lost")

    async def _hand_over(self, gone: Iterable[TopicPartition], event: str) -> None:
        numbers = sorted(partition.partition for partition in gone)
        owner = self._owner
        while not owner._stopped.is_set():
            if owner._hand_overs.begin():
                await self._call_back(numbers)
                break
            await self._sleep(_LOOK_SECONDS)
        owner._forget(numbers)
        owner.assigned_partitions = max(owner.assigned_partitions - len(numbers), 0)
        _log.info(event, partitions=numbers)

    async def _call_back(self, numbers: Sequence[int]) -> None:
        owner = self._owner

        def call() -> None:
            try:
                owner._call_back(numbers)
            finally:
                owner._hand_overs.finish()

        thread = threading.Thread(target=call, name="kafka-revoked", daemon=True)
        thread.start()
        deadline = time.monotonic() + _CALLBACK_SECONDS
        while thread.is_alive() and time.monotonic() < deadline:
            await self._sleep(_LOOK_SECONDS)
