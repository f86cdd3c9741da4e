"""Traffic over the Kafka uplink: who appends notes what became of it, who reads does so as an idempotent reader would."""

from __future__ import annotations

import collections
import itertools
import threading
import time
import uuid
from collections.abc import Callable

from kafka_stage import KafkaStage

from throng.api.common.v1 import message_pb2
from throng.domain.errors import ThrongError
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission
from throng.ports.uplink import UplinkConsumer, UplinkProducer

DEADLINE_SECONDS = 40.0
GROUPS = 5
_ORIGIN = Origin(EdgeId("edge-1"), 1, ConnId("conn-1"), 1)


def message(group: str, text: str = "hello") -> Submission:
    """A new submission."""
    body = message_pb2.Message(text=message_pb2.Text(text=text)).SerializeToString(deterministic=True)
    return Submission(GroupId(group), UserId("ann"), str(uuid.uuid4()), MessageKind.TEXT, body, _ORIGIN, received_at_ms=1)


def wait_until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits for a condition; fails when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


class Outcomes:
    """Appends and remembers, per record, every call of `done`, and when the first came."""

    def __init__(self, producer: UplinkProducer) -> None:
        self._producer = producer
        self._lock = threading.Lock()
        self.sent: list[Submission] = []
        self.calls: dict[str, list[ThrongError | None]] = collections.defaultdict(list)

    def append(self, one: Submission) -> Submission:
        """Appends one record."""
        self.sent.append(one)

        def done(error: ThrongError | None) -> None:
            with self._lock:
                self.calls[one.client_msg_id].append(error)

        self._producer.append(one, done)
        return one

    def settled(self) -> bool:
        """Every record has its outcome."""
        return len(self.calls) == len(self.sent)

    def of(self, one: Submission) -> ThrongError | None:
        """The outcome of one record, once it is there."""
        wait_until(lambda: self.calls.get(one.client_msg_id), "the outcome of a record")
        return self.calls[one.client_msg_id][0]

    def acknowledged(self, group: str) -> list[str]:
        """Ids of a group's records that are in the log, in the order of their appends."""
        return [one.client_msg_id for one in self.sent if one.group_id == group and self.calls[one.client_msg_id] == [None]]

    def assert_each_once(self) -> None:
        """No record was left without an outcome, none had two."""
        wait_until(self.settled, "an outcome for every record")
        assert {len(calls) for calls in self.calls.values()} <= {1}


class Traffic(threading.Thread):
    """Appends to some groups in turn until it is stopped; a refused record is not repeated."""

    def __init__(self, outcomes: Outcomes, groups: int, *, per_second: int) -> None:
        super().__init__(name="traffic", daemon=True)
        self._outcomes = outcomes
        self._groups = groups
        self._pause_seconds = 1 / per_second
        self._ended = threading.Event()

    def run(self) -> None:
        for number in itertools.count():
            self._outcomes.append(message(f"g{number % self._groups}", str(number)))
            if self._ended.wait(self._pause_seconds):
                return

    def end(self) -> None:
        """Appends nothing more."""
        self._ended.set()
        self.join()


class Log:
    """What readers have handled: the first occurrence of each record, per group, whoever of them read it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.groups: dict[str, list[str]] = collections.defaultdict(list)
        self._known: set[str] = set()
        self.repeated = 0

    def add(self, one: Submission) -> None:
        """Takes a record once."""
        with self.lock:
            if one.client_msg_id in self._known:
                self.repeated += 1
                return
            self._known.add(one.client_msg_id)
            self.groups[one.group_id].append(one.client_msg_id)

    def __contains__(self, one: Submission) -> bool:
        return one.client_msg_id in self._known

    def assert_holds(self, outcomes: Outcomes) -> None:
        """Every acknowledged record was read, and acknowledged ones of a group in the order of their appends."""
        for group in {one.group_id for one in outcomes.sent}:
            acknowledged = outcomes.acknowledged(group)
            wait_until(lambda wanted=acknowledged, g=group: set(wanted) <= set(self.groups[g]), f"all of {group}")
            with self.lock:
                wanted = set(acknowledged)
                assert [one for one in self.groups[group] if one in wanted] == acknowledged


class Reader(threading.Thread):
    """Polls, handles, commits, and when partitions go elsewhere commits what it handled of them."""

    def __init__(self, consumer: UplinkConsumer, log: Log, *, max_records: int = 50) -> None:
        super().__init__(name="reader", daemon=True)
        self._consumer = consumer
        self._log = log
        self._max_records = max_records
        self._ended = threading.Event()
        self.offsets: dict[int, int] = {}
        self.read = 0
        self.partitions: set[int] = set()
        self.revoked: list[int] = []
        self.hand_over_errors: list[ThrongError] = []
        consumer.set_on_revoked(self._revoked)

    def _revoked(self, partitions) -> None:
        self._commit(last=True)
        self.revoked += partitions
        for partition in partitions:
            self.offsets.pop(partition, None)
            self.partitions.discard(partition)

    def _commit(self, *, last: bool = False) -> None:
        try:
            self._consumer.commit(self.offsets.copy())
        except ThrongError as error:
            if last:
                self.hand_over_errors.append(error)

    def run(self) -> None:
        committed_at = time.monotonic()
        while not self._ended.is_set():
            try:
                records = self._consumer.poll(0.2, self._max_records)
            except ThrongError:
                self._ended.wait(0.1)
                continue
            for record in records:
                if record.submission is not None:
                    self._log.add(record.submission)
                self.partitions.add(record.partition)
                self.offsets[record.partition] = record.offset + 1
            self.read += len(records)
            if time.monotonic() - committed_at > 0.3:
                committed_at = time.monotonic()
                self._commit()
        self._commit(last=True)
        self._consumer.close(3.0)

    def end(self) -> None:
        """Commits, leaves the group, ends the thread."""
        self._ended.set()
        self.join()


def run_through(
    stage: KafkaStage, fault: Callable[[], None], *, patience_seconds: float, per_second: int = 100, **limits: float
) -> tuple[Outcomes, Log]:
    """Appends and reads all the time while `fault` runs, and until records pass again; then checks what must hold."""
    producer, log = stage.producer(patience_seconds=patience_seconds, **limits), Log()
    outcomes, reader = Outcomes(producer), Reader(stage.consumer(), log)
    traffic = Traffic(outcomes, GROUPS, per_second=per_second)
    traffic.start()
    reader.start()
    try:
        wait_until(lambda: reader.read > 20, "records before the fault")
        fault()
        after = len(outcomes.sent)
        wait_until(lambda: any(outcomes.calls.get(one.client_msg_id) == [None] for one in outcomes.sent[after:]), "an ACK after it")
    finally:
        traffic.end()
    outcomes.assert_each_once()
    log.assert_holds(outcomes)
    assert producer.records_in_flight == 0
    assert producer.sender.bytes_in_flight == 0
    assert producer.sender.rebuilds == 0, "kafka-python stood still after an outage"
    reader.end()
    return outcomes, log
