"""The sender around a `KafkaProducer` that misbehaves: it hangs, it refuses, it answers late; every record ends once (I8)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar

import pytest
from kafka import errors as kafka_errors
from kafka.future import Future

from throng.adapters import kafka_sender
from throng.adapters.kafka_access import translated
from throng.adapters.kafka_options import KafkaAccess, SenderLimits
from throng.adapters.kafka_packs import Packing
from throng.adapters.kafka_sender import KafkaSender
from throng.domain.errors import ErrorCode, ThrongError


class ScriptedProducer:
    """Takes the place of `KafkaProducer`: its futures end when the test says so."""

    made: ClassVar[list[ScriptedProducer]] = []

    def __init__(self, **settings) -> None:
        self.settings = settings
        self.sent: list[tuple[bytes, bytes, Future]] = []
        self.abandoned = threading.Event()
        self.raises: BaseException | None = None
        ScriptedProducer.made.append(self)

    def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def send(self, _topic: str, value: bytes, key: bytes, _headers=None, partition: int | None = None) -> Future:
        if self.raises is not None:
            raise self.raises
        future = Future()
        self.sent.append((key, value, future))
        return future

    # What `abandon_producer` touches.
    def _unregister_cleanup(self) -> None: ...

    @property
    def _sender(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: None)
        thread.force_close = self.abandoned.set
        return thread


@pytest.fixture
def make_sender(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka_sender, "KafkaProducer", ScriptedProducer)
    monkeypatch.setattr(kafka_sender, "_HUNG_AFTER_SECONDS", 0.2)
    ScriptedProducer.made = []
    senders: list[KafkaSender] = []

    def make(packing=None, **limits) -> KafkaSender:
        access = KafkaAccess(servers=("127.0.0.1:1",))
        sender = KafkaSender(access, "t", SenderLimits(**limits), prepare=lambda opening: None, name="test", packing=packing)
        sender.start()
        senders.append(sender)
        return sender

    yield make
    for sender in senders:
        sender.close(0.0)


class Answers:
    def __init__(self) -> None:
        self.calls: list[tuple[str, ThrongError | None]] = []

    def to(self, name: str) -> Callable[[ThrongError | None], None]:
        return lambda error: self.calls.append((name, error))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def producer(number: int = 0) -> ScriptedProducer:
    wait_until(lambda: len(ScriptedProducer.made) > number)
    return ScriptedProducer.made[number]


def test_a_producer_that_hangs_is_given_up_and_its_records_fail_once(make_sender):
    sender, answers = make_sender(patience_seconds=0.3, away_after_seconds=60.0), Answers()
    for name in ("a", "b"):
        sender.append(b"g", name.encode(), answers.to(name))
    wait_until(lambda: len(answers.calls) == 2)
    assert [error.code for _, error in answers.calls] == [ErrorCode.UNAVAILABLE] * 2
    assert producer().abandoned.is_set()
    sender.append(b"g", b"c", answers.to("c"))
    wait_until(lambda: producer(1).sent)
    producer(1).sent[0][2].success(None)
    producer(0).sent[0][2].success(None)  # late, from the one that was given up
    producer(0).sent[1][2].failure(kafka_errors.KafkaTimeoutError())
    assert [name for name, _ in answers.calls] == ["a", "b", "c"]
    assert answers.calls[2][1] is None
    assert (sender.rebuilds, sender.records_in_flight, sender.bytes_in_flight) == (1, 0, 0)


def test_order_survives_a_producer_that_cannot_take_records_at_once(make_sender):
    sender, answers = make_sender(), Answers()
    first = producer()
    first.raises = kafka_errors.KafkaTimeoutError()
    for number in range(300):
        sender.append(b"g", str(number).encode(), answers.to(str(number)))
    time.sleep(0.05)
    first.raises = None
    wait_until(lambda: sum(len(made.sent) for made in ScriptedProducer.made) == 300)
    values = [value for made in ScriptedProducer.made for _, value, _ in made.sent]
    assert values == [str(number).encode() for number in range(300)]
    assert answers.calls == []


def test_a_producer_that_never_gets_metadata_is_made_anew(make_sender):
    sender, answers = make_sender(), Answers()
    producer().raises = kafka_errors.KafkaTimeoutError()
    sender.append(b"g", b"v", answers.to("v"))
    wait_until(lambda: producer(1).sent)
    producer(1).sent[0][2].success(None)
    assert answers.calls == [("v", None)]


def test_both_bounds_refuse_and_room_comes_back(make_sender):
    sender, answers = make_sender(max_records=2), Answers()
    for name in ("a", "b", "c"):
        sender.append(b"g", b"v", answers.to(name))
    assert [name for name, _ in answers.calls] == ["c"]
    assert answers.calls[0][1].code is ErrorCode.UNAVAILABLE
    assert answers.calls[0][1].retry_after_ms > 0
    wait_until(lambda: len(producer().sent) == 2)
    producer().sent[0][2].success(None)
    sender.append(b"g", b"v", answers.to("d"))
    assert [name for name, _ in answers.calls] == ["c", "a"]
    small = make_sender(max_bytes=2_500)
    for name in ("e", "f"):
        small.append(b"g", b"v" * 500, answers.to(name))
    assert [name for name, _ in answers.calls] == ["c", "a", "f"]
    assert small.refused["full"] == 1


def test_while_nothing_is_acknowledged_one_record_goes_on_as_a_probe(make_sender):
    sender, answers = make_sender(away_after_seconds=0.1, patience_seconds=30.0), Answers()
    sender.append(b"g", b"v", answers.to("first"))
    wait_until(lambda: not sender.reachable and sender._producer is not None)
    sender.append(b"g", b"v", answers.to("refused"))
    assert [name for name, _ in answers.calls] == ["refused"]
    wait_until(lambda: producer().sent)
    producer().sent[0][2].failure(kafka_errors.KafkaTimeoutError())
    sender.append(b"g", b"v", answers.to("probe"))
    wait_until(lambda: len(producer().sent) == 2)
    producer().sent[1][2].success(None)
    assert sender.reachable
    assert [(name, error is None) for name, error in answers.calls] == [("refused", False), ("first", False), ("probe", True)]


def test_a_callback_that_fails_harms_nobody(make_sender):
    sender, answers = make_sender(), Answers()

    def fails(_error: ThrongError | None) -> None:
        raise ValueError

    sender.append(b"g", b"v", fails)
    sender.append(b"g", b"v", answers.to("next"))
    wait_until(lambda: len(producer().sent) == 2)
    for _, _, future in producer().sent:
        future.success(None)
    assert answers.calls == [("next", None)]
    assert sender.records_in_flight == 0


def test_after_close_everything_is_refused(make_sender):
    sender, answers = make_sender(), Answers()
    sender.append(b"g", b"v", answers.to("open"))
    sender.close(0.1)
    sender.close(0.1)
    sender.append(b"g", b"v", answers.to("late"))
    assert [(name, error.code) for name, error in answers.calls] == [
        ("open", ErrorCode.UNAVAILABLE),
        ("late", ErrorCode.UNAVAILABLE),
    ]


def test_the_library_is_told_what_keeps_order(make_sender):
    make_sender()
    settings = producer().settings
    assert settings["enable_idempotence"] is False
    assert settings["max_in_flight_requests_per_connection"] == 1
    assert settings["acks"] == "all"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kafka_errors.MessageSizeTooLargeError(), ErrorCode.TOO_LARGE),
        (kafka_errors.InvalidRecordError(), ErrorCode.INVALID_ARGUMENT),
        (kafka_errors.TopicAuthorizationFailedError(), ErrorCode.UNAVAILABLE),
        (kafka_errors.SaslAuthenticationFailedError(), ErrorCode.UNAVAILABLE),
        (kafka_errors.KafkaTimeoutError(), ErrorCode.UNAVAILABLE),
        (kafka_errors.CommitFailedError(), ErrorCode.UNAVAILABLE),
        (OSError(), ErrorCode.UNAVAILABLE),
    ],
)
def test_errors_are_translated_and_name_their_cause(error, code):
    ours = translated(error)
    assert ours.code is code
    assert ours.fields["cause"] == type(error).__name__
    assert (ours.retry_after_ms > 0) == (code is ErrorCode.UNAVAILABLE)


def test_the_password_is_in_no_repr():
    access = KafkaAccess(servers=("k:9092",), user="throng", password="geheim")
    assert "geheim" not in repr(access)
    assert access.client_settings("c")["sasl_plain_password"] == "geheim"
    assert access.client_settings("c")["security_protocol"] == "SASL_PLAINTEXT"


def test_records_that_wait_together_go_as_one_and_each_has_its_own_end(make_sender, monkeypatch):
    building = threading.Event()
    monkeypatch.setattr(ScriptedProducer, "partitions_for", lambda self, topic: building.wait(20) and {0})
    sender, answers = make_sender(packing=Packing(b"+".join)), Answers()
    for name in "abc":
        sender.append(b"g", name.encode(), answers.to(name))
    building.set()
    wait_until(lambda: producer().sent)
    sender.append(b"g", b"d", answers.to("d"))
    wait_until(lambda: len(producer().sent) == 2)
    (first, second) = producer().sent
    assert (first[:2], second[:2]) == ((b"g", b"a+b+c"), (b"g", b"d"))
    second[2].success(None)
    first[2].failure(kafka_errors.NotLeaderForPartitionError())
    assert [name for name, error in answers.calls if error is None] == ["d"]
    assert [(name, error.code) for name, error in answers.calls if error] == [(name, ErrorCode.UNAVAILABLE) for name in "abc"]
    assert (sender.records_in_flight, sender.bytes_in_flight, sender.refused["failed"]) == (0, 0, 3)


def test_records_of_a_pack_that_cannot_be_taken_at_once_come_in_order_later(make_sender, monkeypatch):
    sender, answers = make_sender(packing=Packing(b"+".join)), Answers()
    producer().raises = kafka_errors.KafkaTimeoutError()
    for name in "ab":
        sender.append(b"g", name.encode(), answers.to(name))
    time.sleep(0.05)
    producer().raises = None
    wait_until(lambda: b"b" in b"+".join(value for _, value, _ in producer().sent))
    assert b"+".join(value for _, value, _ in producer().sent) == b"a+b"
