"""One wake-up of kafka-python's I/O thread for several records, and its own wake-ups afterwards as before."""

from __future__ import annotations

import pytest

from throng.adapters.kafka_wakeups import one_wakeup


class Sender:
    """Counts wake-ups, as a method of its class like kafka-python's."""

    def __init__(self) -> None:
        self.woken = 0

    def wakeup(self) -> None:
        self.woken += 1


class Producer:
    """Has a sender, which each record wakes."""

    def __init__(self) -> None:
        self._sender = Sender()

    def send(self) -> None:
        self._sender.wakeup()


def test_several_records_wake_once_at_the_end():
    producer = Producer()
    with one_wakeup(producer):
        producer.send()
        producer.send()
        assert producer._sender.woken == 0
    assert producer._sender.woken == 1
    producer.send()
    assert producer._sender.woken == 2


def test_nothing_new_wakes_nobody():
    producer = Producer()
    with one_wakeup(producer):
        pass
    assert producer._sender.woken == 0


def test_what_was_handed_over_before_a_failure_is_sent():
    producer = Producer()

    def hand_over() -> None:
        with one_wakeup(producer):
            producer.send()
            raise LookupError

    with pytest.raises(LookupError):
        hand_over()
    assert producer._sender.woken == 1
