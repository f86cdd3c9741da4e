"""Appends records to a Kafka topic from any thread without ever waiting: bounded, with an honest end for every record (hop 2).

    append() --> waiting (bounded) --> sender thread --> KafkaProducer --> its I/O thread --> done(None | error)
                      ^                                       ^
                      '---- watch: overdue records, a stuck KafkaProducer is given up and a new one made

kafka-python has no bound of its own, may block in `send` and in its constructor, and may hang; see docs/kafka.md and ADR 0008.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka import errors as kafka_errors

from throng.adapters.kafka_access import Opening, abandon_producer, translated
from throng.adapters.kafka_options import KafkaAccess, SenderLimits
from throng.adapters.kafka_packs import Packing, Partitioner, packs_of
from throng.adapters.kafka_wakeups import one_wakeup
from throng.domain.errors import ErrorCode, ThrongError, unavailable

REFUSALS = ("full", "away", "closed", "too_large", "overdue", "failed")
"""Why a record was refused; `away`, `full`, `too_large` and `closed` at once, the others later."""

Done = Callable[[ThrongError | None], None]
_RECORD_OVERHEAD_BYTES = 1_000
"""What a record in flight costs beside its bytes: our objects and kafka-python's, measured (docs/kafka.md)."""

_LOOK_SECONDS = 0.2
_HAND_OVER = 200
_METADATA_MS = 2_000
_METADATA_FAILURES = 3
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 1.0
_HUNG_AFTER_SECONDS = 3.0
_JOIN_SECONDS = 1.0
_log = structlog.get_logger("throng.kafka")


class _Record:
    """A record that is not settled yet."""

    __slots__ = ("appended_at", "done", "headers", "key", "number", "settled", "size", "value")

    def __init__(self, key: bytes, value: bytes, done: Done, headers: list[tuple[str, bytes]] | None) -> None:
        self.headers = headers
        self.key = key
        self.value = value
        self.done = done
        self.size = len(key) + len(value) + _RECORD_OVERHEAD_BYTES
        self.number = 0
        self.appended_at = 0.0
        self.settled = False


class _Pack:
    """What went to kafka-python as one record."""

    __slots__ = ("records", "sender")

    def __init__(self, sender: KafkaSender, records: Sequence[_Record]) -> None:
        self.sender = sender
        self.records = records

    def acknowledged(self, _metadata: Any) -> None:
        self.sender._settle(self.records, None)

    def failed(self, error: BaseException) -> None:
        self.sender._settle(self.records, translated(error))


class KafkaSender:
    """One topic. `append` from any thread; the order of appends is kept per key, for what is not refused."""

    def __init__(
        self,
        access: KafkaAccess,
        topic: str,
        limits: SenderLimits,
        *,
        prepare: Callable[[Opening], None],
        name: str,
        packing: Packing | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            access: how Kafka is reached.
            topic: where records go.
            limits: bounds and patience.
            prepare: runs in the sender's thread before each new `KafkaProducer`; it may raise ThrongError.
            name: of the threads and the client.
            packing: has records of one partition that wait together go as one, under the first key; None: each goes alone.
        """
        self._packing = packing
        self._partitioner = Partitioner()
        self._access = access
        self._topic = topic
        self._limits = limits
        self._prepare = prepare
        self._name = name
        self._opening = Opening()
        self._changed = threading.Condition(threading.Lock())
        self._waiting: collections.deque[_Record] = collections.deque()
        self._sent: dict[int, _Record] = {}
        self._numbers = itertools.count(1)
        self._records = 0
        self._bytes = 0
        self._away = False
        self._last_success_at = time.monotonic()
        self._closed = False
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._producer: Any = None
        self._abandoned: list[threading.Thread] = []
        self._built = 0
        self.refused = dict.fromkeys(REFUSALS, 0)
        self._threads = [
            threading.Thread(target=self._send_loop, name=f"{name}-send", daemon=True),
            threading.Thread(target=self._watch_loop, name=f"{name}-watch", daemon=True),
        ]

    @property
    def records_in_flight(self) -> int:
        """Records appended and not settled."""
        return self._records

    @property
    def bytes_in_flight(self) -> int:
        """Their bytes, with their overhead."""
        return self._bytes

    @property
    def rebuilds(self) -> int:
        """How often a `KafkaProducer` was given up and another made."""
        return max(self._built - 1, 0)

    @property
    def reachable(self) -> bool:
        """A `KafkaProducer` is there and records do not stand still."""
        return self._producer is not None and not self._away

    def start(self) -> None:
        """Starts the threads. Kafka need not be there yet."""
        for thread in self._threads:
            thread.start()

    def append(self, key: bytes, value: bytes, done: Done, headers: list[tuple[str, bytes]] | None = None) -> None:
        """Takes one record or refuses it. `done` is called exactly once, on any thread, possibly before this returns."""
        record = _Record(key, value, done, headers)
        wake = False
        with self._changed:
            refusal = self._refusal(record)
            if refusal:
                self.refused[refusal] += 1
            else:
                self._records += 1
                self._bytes += record.size
                record.number = next(self._numbers)
                record.appended_at = time.monotonic()
                wake = not self._waiting
                self._waiting.append(record)
        if wake:
            self._wake.set()
        if refusal:
            _call(done, _refused(refusal))

    def _refusal(self, record: _Record) -> str:
        limits = self._limits
        if record.size - _RECORD_OVERHEAD_BYTES > limits.max_record_bytes:
            return "too_large"
        if self._closed:
            return "closed"
        if self._records >= limits.max_records or self._bytes + record.size > limits.max_bytes:
            return "full"
        return "away" if self._away and self._records else ""

    def close(self, deadline_seconds: float) -> None:
        """Refuses further records, waits for acknowledgements at most so long, then fails the rest. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._records, deadline_seconds)
        self._stopped.set()
        self._wake.set()
        self._opening.give_up()
        self._give_up("closed")
        with self._changed:
            rest = list(self._waiting)
            self._waiting.clear()
        for record in rest:
            self._settle([record], _refused("closed"), "closed")
        for thread in [*self._threads, *self._abandoned]:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

    # Sending ----------------------------------------------------------------------------------------------------------

    def _send_loop(self) -> None:
        pause_seconds, failures = _PAUSE_SECONDS, 0
        while not self._stopped.is_set():
            producer = self._producer
            if producer is None:
                if self._build():
                    pause_seconds, failures = _PAUSE_SECONDS, 0
                else:
                    self._stopped.wait(pause_seconds)
                    pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                continue
            if not self._waiting:
                self._wake.wait(_LOOK_SECONDS)
                self._wake.clear()
                continue
            try:
                self._hand_over(producer)
                failures = 0
                if not self._waiting:
                    self._gather()
            except Exception as error:
                failures += 1
                if failures >= _METADATA_FAILURES or not isinstance(error, kafka_errors.KafkaTimeoutError):
                    _log.warning("kafka_producer_failed", sender=self._name, error=type(error).__name__)
                    self._give_up("failed", of=producer)
                self._stopped.wait(_PAUSE_SECONDS)

    def _gather(self) -> None:
        """The linger time passes here: one wake-up of both threads for many records, and fuller packs."""
        self._stopped.wait(self._limits.linger_ms / 1000)

    def _build(self) -> bool:
        """Makes a `KafkaProducer` that knows the topic; False when that is not possible now."""
        producer: Any = None
        try:
            self._prepare(self._opening)
            producer = self._opening.open(KafkaProducer, self._producer_settings())
            producer.partitions_for(self._topic)
        except Exception as error:
            cause = error if isinstance(error, ThrongError) else translated(error)
            _log.warning("kafka_away", sender=self._name, code=cause.code.name, text=cause.text, **cause.fields)
            if producer is not None:
                self._abandoned.append(abandon_producer(producer))
            return False
        with self._changed:
            self._producer = producer
            self._built += 1
            closed = self._stopped.is_set()
        if closed:
            self._give_up("closed")
        _log.info("kafka_producer_made", sender=self._name, topic=self._topic, times=self._built)
        return True

    def _producer_settings(self) -> dict[str, Any]:
        limits = self._limits
        patience_ms = int(limits.patience_seconds * 1000)
        return self._access.client_settings(self._name) | {
            "acks": "all",
            # Not idempotent, because that one hangs for good after a long outage; one request in flight keeps order (ADR 0008).
            "enable_idempotence": False,
            "max_in_flight_requests_per_connection": 1,
            "linger_ms": 0,
            "batch_size": 262_144,
            "compression_type": "lz4",
            "max_request_size": max(1_048_576, limits.max_record_bytes + _RECORD_OVERHEAD_BYTES),
            "max_block_ms": _METADATA_MS,
            "request_timeout_ms": max(min(patience_ms // 2, 4_000), 100),
            "delivery_timeout_ms": patience_ms,
            "metadata_max_age_ms": 60_000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            "partitioner": self._partitioner,
        }

    def _hand_over(self, producer: Any) -> None:
        """Gives waiting records to kafka-python in order; what it does not take stays in front."""
        with self._changed:
            count = min(len(self._waiting), _HAND_OVER)
            records = [self._waiting.popleft() for _ in range(count)]
            for record in records:
                self._sent[record.number] = record
        unsent = {record.number: record for record in records if not record.settled}
        try:
            with one_wakeup(producer):
                for partition, pack in self._packs(producer, list(unsent.values())):
                    self._hand_over_pack(producer, pack, partition)
                    for record in pack:
                        del unsent[record.number]
        except BaseException:
            self._take_back(list(unsent.values()))
            raise

    def _hand_over_pack(self, producer: Any, pack: list[_Record], partition: int | None) -> None:
        try:
            future = self._send(producer, pack, partition)
        except kafka_errors.MessageSizeTooLargeError as error:
            self._settle(pack, translated(error), "too_large")
            return
        sent = _Pack(self, pack)
        future.add_callback(sent.acknowledged)
        future.add_errback(sent.failed)

    def _packs(self, producer: Any, records: list[_Record]) -> Iterable[tuple[int | None, list[_Record]]]:
        packing = self._packing
        partitions = producer.partitions_for(self._topic) if packing is not None and len(records) > 1 else None
        if packing is None or not partitions:
            return ((None, [record]) for record in records)
        keys, sizes = [record.key for record in records], [record.size for record in records]
        packs = packs_of(keys, sizes, partitions, self._partitioner, max_bytes=packing.max_bytes)
        return ((partition, [records[index] for index in indexes]) for partition, indexes in packs)

    def _send(self, producer: Any, pack: list[_Record], partition: int | None) -> Any:
        first = pack[0]
        if self._packing is None or len(pack) == 1:
            return producer.send(self._topic, first.value, first.key, first.headers)
        value = self._packing.join([record.value for record in pack])
        return producer.send(self._topic, value, first.key, partition=partition)

    def _take_back(self, records: list[_Record]) -> None:
        with self._changed:
            left = [record for record in records if not record.settled]
            for record in left:
                self._sent.pop(record.number, None)
            self._waiting.extendleft(reversed(left))

    def _settle(self, records: Sequence[_Record], error: ThrongError | None, refusal: str = "failed") -> None:
        with self._changed:
            ended = [record for record in records if not record.settled]
            for record in ended:
                record.settled = True
                self._sent.pop(record.number, None)
                self._bytes -= record.size
            self._records -= len(ended)
            if error is None:
                self._last_success_at = time.monotonic()
                self._away = False
            else:
                if error.code is ErrorCode.TOO_LARGE:
                    refusal = "too_large"
                self.refused[refusal] += len(ended)
            if not self._records:
                self._changed.notify_all()
        for record in ended:
            _call(record.done, error)

    # Watching ---------------------------------------------------------------------------------------------------------

    def _watch_loop(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        """Fails what waited too long, notices an outage, and gives up a `KafkaProducer` whose records stand still."""
        patience = self._limits.patience_seconds
        overdue: list[_Record] = []
        with self._changed:
            while self._waiting and now - self._waiting[0].appended_at > patience:
                overdue.append(self._waiting.popleft())
            oldest_sent = next(iter(self._sent.values()), None)
            first = oldest_sent or (self._waiting[0] if self._waiting else None)
            idle_since = max(self._last_success_at, first.appended_at if first is not None else now)
            if overdue or now - idle_since > self._limits.away_after_seconds:
                if not self._away:
                    _log.warning("kafka_away", sender=self._name, waiting=self._records)
                self._away = True
            hung = oldest_sent is not None and now - oldest_sent.appended_at > patience + _HUNG_AFTER_SECONDS
        for record in overdue:
            self._settle([record], _refused("overdue"), "overdue")
        if hung:
            _log.error("kafka_producer_hangs", sender=self._name, records=len(self._sent))
            self._give_up("overdue")

    def _give_up(self, refusal: str, *, of: Any = None) -> None:
        """Drops the `KafkaProducer`, or that one if it is still ours, and fails what it had; the sender's thread makes another."""
        with self._changed:
            producer = self._producer
            if producer is None or (of is not None and producer is not of):
                return
            self._producer = None
            lost = list(self._sent.values())
        with contextlib.suppress(Exception):
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
            self._abandoned.append(abandon_producer(producer))
        for record in lost:
            self._settle([record], _refused(refusal), refusal)
        self._wake.set()


def _refused(refusal: str) -> ThrongError:
    if refusal == "too_large":
        return ThrongError(ErrorCode.TOO_LARGE, "the message is too large for the log")
    if refusal == "full":
        return unavailable("the way to the log is full")
    if refusal == "closed":
        return unavailable("the way to the log is closed")
    return unavailable("the log cannot be reached", retry_after_ms=2_000)


def _call(done: Done, error: ThrongError | None) -> None:
    try:
        done(error)
    except Exception as failure:
        _log.error("append_callback_failed", exc_info=failure)
