"""`UplinkProducer` and `UplinkConsumer`: what stands in their docstrings, on every adapter."""

from __future__ import annotations

import threading

import pytest
from conformance_builders import recall, submission

from throng.domain.errors import ErrorCode
from throng.domain.message import Submission

PATIENCE_SECONDS = 20.0


class Appended:
    """Collects what `done` is called with, per record."""

    def __init__(self, producer) -> None:
        self._producer = producer
        self._called = threading.Condition()
        self.answers: list[tuple[Submission, object]] = []

    def append(self, one: Submission) -> Submission:
        def done(error: object) -> None:
            with self._called:
                self.answers.append((one, error))
                self._called.notify_all()

        self._producer.append(one, done)
        return one

    def wait(self, count: int) -> list[object]:
        with self._called:
            assert self._called.wait_for(lambda: len(self.answers) >= count, PATIENCE_SECONDS)
            return [error for _, error in self.answers]


@pytest.fixture
def producer(uplink):
    return uplink[0]


@pytest.fixture
def consumer(uplink):
    return uplink[1]


@pytest.fixture
def appended(producer):
    return Appended(producer)


def take(consumer, count: int, max_records: int = 100) -> list:
    records: list = []
    while len(records) < count:
        polled = consumer.poll(PATIENCE_SECONDS, max_records)
        assert polled, "nothing came"
        assert len({(record.partition, record.offset) for record in polled}) <= max_records
        records += polled
    assert len(records) == count
    return records


def test_records_of_a_group_come_in_the_order_appended(appended, consumer):
    sent = [appended.append(submission(f"g{n % 3}", text=f"message {n}")) for n in range(30)]
    records = take(consumer, 30, max_records=7)
    for group in ("g0", "g1", "g2"):
        mine = [record for record in records if record.submission.group_id == group]
        assert [record.submission for record in mine] == [one for one in sent if one.group_id == group]
        assert len({record.partition for record in mine}) == 1
    for partition in {record.partition for record in records}:
        places = [record.place for record in records if record.partition == partition]
        assert places == sorted(set(places))


def test_a_record_is_kept_whole(appended, consumer):
    sent = [appended.append(submission(text="déjà 你好")), appended.append(recall(7))]
    assert [record.submission for record in take(consumer, 2)] == sent


def test_done_is_called_once_per_record(appended, consumer):
    for _ in range(5):
        appended.append(submission())
    assert appended.wait(5) == [None] * 5
    take(consumer, 5)
    assert len(appended.answers) == 5


def test_an_empty_answer_is_normal(consumer):
    assert list(consumer.poll(0.01, 10)) == []


def test_a_waiting_poll_is_woken_by_a_record(appended, consumer):
    taken: list = []
    thread = threading.Thread(target=lambda: taken.extend(consumer.poll(PATIENCE_SECONDS, 10)))
    thread.start()
    sent = appended.append(submission())
    thread.join(PATIENCE_SECONDS)
    assert [record.submission for record in taken] == [sent]


def test_lag_is_what_was_not_polled(appended, consumer):
    for _ in range(5):
        appended.append(submission())
    appended.wait(5)
    assert consumer.lag() >= 0
    take(consumer, 5)
    assert consumer.lag() == 0


def test_committing_again_or_less_is_harmless(appended, consumer):
    appended.append(submission())
    [record] = take(consumer, 1)
    consumer.set_on_revoked(lambda partitions: None)
    for offset in (record.offset + 1, record.offset + 1, record.offset):
        consumer.commit({record.partition: offset})
    consumer.commit({})
    sent = appended.append(submission())
    assert [one.submission for one in take(consumer, 1)] == [sent]


def test_stop_ends_a_waiting_poll_and_later_ones(appended, consumer):
    answers: list = []
    thread = threading.Thread(target=lambda: answers.append(list(consumer.poll(PATIENCE_SECONDS, 10))))
    thread.start()
    consumer.stop()
    thread.join(PATIENCE_SECONDS / 2)
    assert answers == [[]]
    consumer.stop()
    appended.append(submission())
    assert list(consumer.poll(PATIENCE_SECONDS, 10)) == []


def test_a_closed_producer_refuses_with_a_retry_time(appended, producer, consumer):
    kept = appended.append(submission())
    appended.wait(1)
    taken: list = []
    thread = threading.Thread(target=lambda: taken.extend(consumer.poll(PATIENCE_SECONDS, 10)))
    thread.start()
    producer.close(PATIENCE_SECONDS)
    thread.join(PATIENCE_SECONDS)
    assert [record.submission for record in taken] == [kept]
    appended.append(submission())
    refused = appended.wait(2)[1]
    assert refused.code is ErrorCode.UNAVAILABLE
    assert refused.retry_after_ms > 0
    producer.close(PATIENCE_SECONDS)


def test_two_producing_threads_lose_nothing(producer, consumer):
    def produce(number: int) -> None:
        mine = Appended(producer)
        for n in range(100):
            mine.append(submission(f"g{number}", text=str(n), client_msg_id=f"{number}-{n}"))
        assert mine.wait(100) == [None] * 100

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    records = take(consumer, 200)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    for number in range(2):
        ids = [record.submission.client_msg_id for record in records if record.submission.group_id == f"g{number}"]
        assert ids == [f"{number}-{n}" for n in range(100)]
