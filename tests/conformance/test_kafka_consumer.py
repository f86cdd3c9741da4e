"""The Kafka consumer as a member of a group: rebalances, lost membership, poison records (I2, I4, I10)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import MemberState
from kafka_stage import KafkaStage
from kafka_traffic import Log, Outcomes, Reader, Traffic, message, wait_until

from throng.adapters.kafka_access import abandon_consumer
from throng.adapters.submission_codec import encode, join
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.testing.servers import KafkaServer


@pytest.fixture
def stage(kafka_server: KafkaServer) -> Iterator[KafkaStage]:
    with KafkaStage(kafka_server.bootstrap) as made:
        yield made


def poll_until(consumer: Any, count: int) -> list:
    records: list = []
    deadline = time.monotonic() + 20
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} came"
        records += consumer.poll(0.5, 100)
    return records


def test_members_come_and_go_under_load(stage):
    outcomes, log = Outcomes(stage.producer()), Log()
    traffic = Traffic(outcomes, 12, per_second=300)
    first = Reader(stage.consumer(), log)
    first.start()
    traffic.start()
    wait_until(lambda: first.read > 100, "the first reads")
    second = Reader(stage.consumer(), log)
    second.start()
    wait_until(lambda: second.read > 100, "the second reads")
    assert first.revoked
    assert len(first.revoked) < stage.topic.partitions, "only what moves is given up"
    first.end()
    read = second.read
    wait_until(lambda: len(second.partitions) == stage.topic.partitions, "the second has everything")
    wait_until(lambda: second.read > read + 100, "the second reads on")
    traffic.end()
    outcomes.assert_each_once()
    log.assert_holds(outcomes)
    second.end()
    # A commit while the group is about to move is refused; what it would have noted comes again, and only that.
    if not first.hand_over_errors + second.hand_over_errors:
        assert log.repeated == 0, "what was handed over in good order is not read twice"


def test_unfinished_work_of_a_moved_partition_is_read_again_by_its_new_owner(stage):
    outcomes = Outcomes(stage.producer())
    sent = [outcomes.append(message(f"g{number % 12}")) for number in range(60)]
    outcomes.assert_each_once()
    slow, revoked = stage.consumer(), []
    slow.set_on_revoked(lambda partitions: revoked.extend(partitions))  # finishes nothing
    taken = poll_until(slow, 60)
    log = Log()
    eager = Reader(stage.consumer(), log)
    eager.start()
    deadline = time.monotonic() + 20
    while not revoked and time.monotonic() < deadline:
        slow.poll(0.1, 100)
    moved = {record.submission.client_msg_id for record in taken if record.partition in revoked}
    assert moved
    wait_until(lambda: sum(map(len, log.groups.values())) >= len(moved) or slow.poll(0.05, 100), "the new owner reads")
    wait_until(lambda: all(one in log for one in sent if one.client_msg_id in moved), "all of it")
    eager.end()


def test_leaving_hands_partitions_over_at_once(kafka_server):
    with KafkaStage(kafka_server.bootstrap) as stage:
        first = stage.consumer(session_timeout_seconds=30.0)
        outcomes, log = Outcomes(stage.producer()), Log()
        outcomes.append(message("g1"))
        poll_until(first, 1)
        second = Reader(stage.consumer(session_timeout_seconds=30.0), log)
        first.close(5.0)
        second.start()
        wait_until(lambda: second.read, "the record is read by another", seconds=10.0)
        second.end()


def test_partitions_of_a_member_that_vanished_move_after_the_session_timeout(stage):
    outcomes, log = Outcomes(stage.producer()), Log()
    lost = stage.consumer()
    one = outcomes.append(message("g1"))
    poll_until(lost, 1)
    abandon_consumer(lost._consumer, 1.0, leave=False)
    started_at = time.monotonic()
    reader = Reader(stage.consumer(), log)
    reader.start()
    wait_until(lambda: one in log, "the record is read by another", seconds=15.0)
    assert time.monotonic() - started_at < 12.0
    reader.end()


def test_a_member_that_was_thrown_out_tells_and_begins_behind_what_it_committed(stage):
    outcomes = Outcomes(stage.producer())
    for _ in range(3):
        outcomes.of(outcomes.append(message("g1")))  # one by one, or they would be one record
    consumer, revoked = stage.consumer(poll_interval_seconds=1.5), []
    consumer.set_on_revoked(revoked.extend)
    records = poll_until(consumer, 3)
    consumer.commit({records[0].partition: records[0].offset + 1})

    wait_until(lambda: consumer._consumer.group_metadata().state == MemberState.UNJOINED, "it is thrown out", seconds=20.0)
    with pytest.raises(ThrongError) as refused:
        consumer.commit({records[0].partition: records[2].offset + 1})
    assert refused.value.code is ErrorCode.UNAVAILABLE
    again = poll_until(consumer, 2)
    assert [record.offset for record in again] == [records[1].offset, records[2].offset]
    assert records[0].partition in revoked


def test_polling_for_nothing_keeps_the_membership_and_reads_nothing(stage):
    outcomes = Outcomes(stage.producer())
    consumer, revoked = stage.consumer(poll_interval_seconds=2.0), []
    consumer.set_on_revoked(revoked.extend)
    first = outcomes.append(message("g1"))
    assert [record.submission for record in poll_until(consumer, 1)] == [first]
    later = []
    for _ in range(5):
        later.append(outcomes.append(message("g1")))
        outcomes.of(later[-1])
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        assert list(consumer.poll(0.2, 0)) == []
    wait_until(lambda: consumer.poll(0.1, 0) or consumer.lag() == 5, "the lag of what is not read is known", seconds=10.0)
    assert [record.submission for record in poll_until(consumer, 5)] == later
    assert revoked == []
    assert consumer.rebalances == 1


def test_members_that_poll_for_nothing_still_let_the_group_move(stage):
    outcomes, log = Outcomes(stage.producer()), Log()
    sent = [outcomes.append(message(f"g{number}")) for number in range(12)]
    waiting = stage.consumer()
    poll_until(waiting, 12)
    reader = Reader(stage.consumer(), log)
    reader.start()
    deadline = time.monotonic() + 20
    while not reader.partitions:
        assert time.monotonic() < deadline, "the group never settles"
        waiting.poll(0.0, 0)
        time.sleep(0.2)  # what a caller without room does between two polls
    waiting.close(5.0)
    wait_until(lambda: all(one in log for one in sent), "the rest moves too")
    reader.end()


def test_an_offset_that_was_committed_is_never_taken_back(stage):
    outcomes = Outcomes(stage.producer())
    for _ in range(3):
        outcomes.append(message("g1"))
    consumer = stage.consumer()
    records = poll_until(consumer, 3)
    partition = records[0].partition
    consumer.commit({partition: records[2].offset + 1})
    consumer.commit({partition: records[0].offset + 1})
    consumer.commit({partition + 1: 7})
    consumer.close(5.0)
    next_one = outcomes.append(message("g1"))
    assert [record.submission for record in poll_until(stage.consumer(), 1)] == [next_one]


def test_poison_records_are_set_aside_and_block_nothing(stage, kafka_server):
    outcomes = Outcomes(stage.producer())
    good = message("g1")
    raw = KafkaProducer(bootstrap_servers=kafka_server.bootstrap)
    for key, value in ((b"g1", b"\xff\xfe garbage"), (b"other", encode(message("g1"))), (b"g1", b""), (None, b"x")):
        raw.send(stage.access.topic, value, key, partition=0).get(10)
    raw.send(stage.access.topic, encode(good), b"g1", partition=0).get(10)
    raw.close()
    records = poll_until(stage.consumer(), 5)
    assert [record.submission for record in records] == [None, None, None, None, good]
    assert outcomes.sent == []
    dead = KafkaConsumer(stage.access.dead_letter_topic, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest")
    letters: list = []
    deadline = time.monotonic() + 20
    while len(letters) < 4 and time.monotonic() < deadline:
        letters += [one for batch in dead.poll(500).values() for one in batch]
    dead.close()
    assert letters[0].value == b"\xff\xfe garbage"
    headers = dict(letters[1].headers)
    assert headers["topic"] == stage.access.topic.encode()
    assert (headers["partition"], headers["offset"]) == (b"0", b"1")
    assert headers["reason"] == b"the key is not the group"
    assert letters[1].key == b"other"


def test_what_waits_together_is_one_record_and_a_bad_part_is_set_aside_alone(stage, kafka_server):
    outcomes = Outcomes(stage.producer())
    appended = [outcomes.append(message(f"g{number % 3}")) for number in range(300)]
    outcomes.assert_each_once()
    bad = uplink_pb2.SubmittedMessage(group_id="g1", user_id="?")
    good = message("g1")
    raw = KafkaProducer(bootstrap_servers=kafka_server.bootstrap)
    raw.send(stage.access.topic, join([encode(good), bad.SerializeToString()]), b"g1", partition=0).get(10)
    raw.close()
    consumer = stage.consumer()
    records = poll_until(consumer, 302)
    assert len({(record.partition, record.place) for record in records}) == 302
    assert len({(record.partition, record.offset) for record in records}) < 150, "a record holds several"
    for number in range(3):
        read = [record.submission for record in records if record.submission and record.submission.group_id == f"g{number}"]
        assert [one for one in read if one != good] == appended[number::3]
    assert sum(record.submission is None for record in records) == 1
    assert good in [record.submission for record in records]
    wait_until(lambda: consumer.set_aside == 1, "the part is set aside")


def test_poison_records_that_cannot_be_set_aside_are_counted_apart(stage, kafka_server):
    raw = KafkaProducer(bootstrap_servers=kafka_server.bootstrap)
    raw.send(stage.access.topic, b"garbage", b"g1", partition=0).get(10)
    raw.close()
    consumer = stage.consumer()
    consumer._dead_letters._sender.close(0.0)
    consumer._dead_letters._started = True
    assert [record.submission for record in poll_until(consumer, 1)] == [None]
    assert (consumer.set_aside, consumer.not_set_aside) == (0, 1)
