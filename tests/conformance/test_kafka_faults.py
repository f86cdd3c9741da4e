"""The Kafka uplink while the broker dies, sleeps, is cut off, refuses, or is not there yet (I3, I4, I8, I10)."""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka_stage import KafkaStage
from kafka_traffic import Log, Outcomes, Reader, message, run_through, wait_until
from server_fixtures import started

from throng.adapters import kafka_options
from throng.adapters.kafka_options import KafkaAccess, SenderLimits, TopicSettings
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer
from throng.domain.errors import ErrorCode, ThrongError
from throng.testing.servers import FaultProxy, KafkaServer
from throng.testing.servers.process import free_port


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A socket that was forgotten fails the test that forgot it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def far_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, FaultProxy]]:
    """A broker that clients reach through a proxy only."""
    port = free_port()
    with FaultProxy(("127.0.0.1", port)) as proxy:
        folder = tmp_path_factory.mktemp("kafka-far")
        with started(lambda: KafkaServer(folder, port=port, advertised=("127.0.0.1", proxy.port))) as server:
            yield server, proxy


@pytest.fixture
def stage(kafka_server: KafkaServer) -> Iterator[KafkaStage]:
    with KafkaStage(kafka_server.bootstrap) as made:
        yield made


@pytest.fixture
def far_stage(far_server: tuple[KafkaServer, FaultProxy]) -> Iterator[KafkaStage]:
    server, proxy = far_server
    proxy.restore()
    with KafkaStage(server.bootstrap) as made:
        yield made
        proxy.restore()


def test_a_broker_that_dies_and_comes_back_loses_nothing_acknowledged(kafka_server, stage):
    def fault() -> None:
        kafka_server.kill()
        kafka_server.start()

    run_through(stage, fault, patience_seconds=30.0)


def test_a_broker_that_stays_away_longer_than_the_patience_is_survived(kafka_server, stage):
    def fault() -> None:
        kafka_server.kill()
        time.sleep(1.0)  # and a start takes longer than one second
        kafka_server.start()

    outcomes, _ = run_through(stage, fault, patience_seconds=1.0)
    refusals = [call for calls in outcomes.calls.values() for call in calls if call is not None]
    assert refusals
    assert {error.code for error in refusals} == {ErrorCode.UNAVAILABLE}
    assert all(error.retry_after_ms > 0 for error in refusals)


def test_a_sleeping_broker_delays_and_loses_nothing(kafka_server, stage):
    def fault() -> None:
        with kafka_server.paused():
            time.sleep(2.0)

    outcomes, _ = run_through(stage, fault, patience_seconds=40.0, away_after_seconds=40.0)
    assert {error for calls in outcomes.calls.values() for error in calls} == {None}


def test_a_cut_connection_is_made_again(far_server, far_stage):
    proxy = far_server[1]

    def fault() -> None:
        for _ in range(3):
            proxy.cut()
            time.sleep(0.3)
            proxy.restore()
            time.sleep(0.5)

    run_through(far_stage, fault, patience_seconds=20.0)


def test_a_half_open_connection_is_noticed(far_server, far_stage):
    proxy = far_server[1]

    def fault() -> None:
        proxy.stall()
        time.sleep(2.5)
        proxy.reset()
        proxy.restore()

    run_through(far_stage, fault, patience_seconds=2.0)


def test_a_join_that_outlasts_polls_comes_to_its_end(far_server, far_stage):
    """The leader joins again since the topic has grown; the answers come when the poll that asked is long over."""
    server, proxy = far_server
    consumer, topic = far_stage.consumer(), far_stage.access.topic
    wait_until(lambda: consumer.poll(0.1, 0) or consumer.assigned_partitions == far_stage.topic.partitions, "the first join")
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.create_partitions({topic: far_stage.topic.partitions + 1})
    admin.close()
    proxy.delay(0.4)
    consumer._consumer._client.cluster.request_update()  # it would ask by itself within a minute
    wait_until(
        lambda: consumer.poll(0.05, 0) or consumer.assigned_partitions > far_stage.topic.partitions, "the second", seconds=15.0
    )
    assert consumer.rebalances == 2


def test_a_join_that_outlasts_polls_hands_partitions_over_within_one(far_server, far_stage):
    _, proxy = far_server
    waiting, polls, in_poll = far_stage.consumer(), threading.Event(), []
    wait_until(lambda: waiting.poll(0.1, 0) or waiting.assigned_partitions == far_stage.topic.partitions, "the first join")
    waiting.set_on_revoked(lambda partitions: in_poll.append(polls.is_set()))
    proxy.delay(0.1)
    reader = Reader(far_stage.consumer(), Log())
    reader.start()
    deadline = time.monotonic() + 20
    while not in_poll and time.monotonic() < deadline:
        polls.set()
        waiting.poll(0.0, 0)
        polls.clear()
        time.sleep(0.3)  # what a caller without room does: the answers come here
    assert in_poll == [True]
    proxy.restore()
    reader.end()


def test_a_slow_connection_only_delays(far_server, far_stage):
    proxy = far_server[1]

    def fault() -> None:
        proxy.delay(0.2)
        time.sleep(2.0)
        proxy.restore()

    outcomes, _ = run_through(far_stage, fault, patience_seconds=20.0)
    assert {error for calls in outcomes.calls.values() for error in calls} == {None}


def test_both_ends_begin_while_the_broker_is_away(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_options, "BOOTSTRAP_SECONDS", 1.0)
    with started(lambda: KafkaServer(tmp_path / "kafka")) as server:
        server.stop()
        with KafkaStage(server.bootstrap, create=False) as stage:
            outcomes, log = Outcomes(stage.producer(patience_seconds=1.0)), Log()
            consumer = stage.consumer()
            with pytest.raises(ThrongError) as failure:
                consumer.poll(0.1, 10)
            assert failure.value.code is ErrorCode.UNAVAILABLE
            first = outcomes.append(message("g1"))
            outcomes.assert_each_once()
            assert outcomes.of(first).code is ErrorCode.UNAVAILABLE
            server.start()
            reader = Reader(consumer, log)
            reader.start()
            # The topic is made by whoever comes first; the producer heals without being asked to.
            while outcomes.of(outcomes.append(message("g1"))) is not None:
                outcomes.assert_each_once()
            log.assert_holds(outcomes)
            reader.end()


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "never answered"])
def test_a_client_that_cannot_be_opened_forgets_no_socket(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it was forgotten is a warning, and so an error, in `collected`."""
    monkeypatch.setattr(kafka_options, "BOOTSTRAP_SECONDS", 0.3)
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
        if silent:
            listener.listen(0)
            for _ in range(2):  # with these the queue of the listener is full
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
        with pytest.raises(ThrongError) as failure:
            ensure_topics(KafkaAccess((f"127.0.0.1:{address[1]}",)), TopicSettings())
    assert failure.value.code is ErrorCode.UNAVAILABLE


def test_an_absent_broker_costs_bounded_memory_and_no_waiting():
    access = KafkaAccess(servers=(f"127.0.0.1:{free_port()}",))
    limits = SenderLimits(max_records=5_000, max_bytes=8_000_000, patience_seconds=1.0)
    producer = KafkaUplinkProducer(access, TopicSettings(), limits)
    producer.start()
    counted, lock = {"done": 0, "longest": 0.0}, threading.Lock()

    def done(error: ThrongError | None) -> None:
        assert error is not None
        assert error.code is ErrorCode.UNAVAILABLE
        with lock:
            counted["done"] += 1

    try:
        one = message("g1")
        before, started_at = resident_bytes(), time.monotonic()
        for _ in range(200_000):
            called_at = time.monotonic()
            producer.append(one, done)
            counted["longest"] = max(counted["longest"], time.monotonic() - called_at)
            assert producer.records_in_flight <= 5_000
        assert producer.sender.bytes_in_flight <= 8_000_000
        assert resident_bytes() - before < 40_000_000
        assert time.monotonic() - started_at < 60
        assert counted["longest"] < 1.0
        wait_until(lambda: counted["done"] == 200_000, "an outcome for each")
        assert producer.sender.refused["full"] + producer.sender.refused["away"] + producer.sender.refused["overdue"] == 200_000
        assert producer.sender.refused["overdue"] <= 25_000
    finally:
        closing_at = time.monotonic()
        producer.close(1.0)
        assert time.monotonic() - closing_at < 6.0


def resident_bytes() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_while_the_broker_is_away_records_are_refused_at_once():
    access = KafkaAccess(servers=(f"127.0.0.1:{free_port()}",))
    producer = KafkaUplinkProducer(access, TopicSettings(), SenderLimits(patience_seconds=30.0, away_after_seconds=0.3))
    producer.start()
    try:
        outcomes = Outcomes(producer)
        probe = outcomes.append(message("g1"))
        wait_until(lambda: producer.sender._away, "the outage is noticed")
        later = outcomes.append(message("g1"))
        assert outcomes.of(later).code is ErrorCode.UNAVAILABLE
        assert probe.client_msg_id not in outcomes.calls
    finally:
        producer.close(0.1)
    outcomes.assert_each_once()


def test_close_fails_what_is_not_acknowledged_and_does_not_wait_longer(kafka_server, stage):
    producer = stage.producer(patience_seconds=30.0)
    outcomes = Outcomes(producer)
    with kafka_server.paused():
        for _ in range(100):
            outcomes.append(message("g1"))
        started_at = time.monotonic()
        producer.close(0.5)
        assert time.monotonic() - started_at < 5.0
    outcomes.assert_each_once()
    assert {calls[0].code for calls in outcomes.calls.values()} == {ErrorCode.UNAVAILABLE}


def test_too_large_a_record_is_refused_at_once(stage):
    outcomes = Outcomes(stage.producer(max_record_bytes=2_000))
    one = outcomes.append(message("g1", "x" * 3_000))
    assert outcomes.of(one).code is ErrorCode.TOO_LARGE


def test_too_large_a_record_for_the_topic_is_refused_and_not_tried_for_ever(kafka_server):
    topic = TopicSettings(partitions=1, replication_factor=1, max_message_bytes=2_000)
    with KafkaStage(kafka_server.bootstrap, topic=topic) as stage:
        outcomes = Outcomes(stage.producer(patience_seconds=30.0))
        incompressible = "".join(chr(0x4E00 + byte) for byte in os.urandom(4_000))
        large, small = outcomes.append(message("g1", incompressible)), outcomes.append(message("g1"))
        outcomes.assert_each_once()
        assert outcomes.of(large).code is ErrorCode.TOO_LARGE
        assert outcomes.of(small) is None


def test_an_absent_topic_is_made(kafka_server):
    with KafkaStage(kafka_server.bootstrap, create=False) as stage:
        outcomes = Outcomes(stage.producer())
        one = outcomes.append(message("g1"))
        outcomes.assert_each_once()
        assert outcomes.of(one) is None


def test_many_processes_may_make_the_topic_at_once_and_none_changes_it(kafka_server, capsys):
    with KafkaStage(kafka_server.bootstrap, create=False) as stage:
        failures: list[BaseException] = []

        def make(partitions: int) -> None:
            try:
                ensure_topics(stage.access, TopicSettings(partitions=partitions, replication_factor=1))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=make, args=(3,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        make(7)
        assert failures == []
        assert "3 instead of 7" in capsys.readouterr().out


def test_a_topic_that_no_broker_can_make_is_refused_with_the_reason(kafka_server):
    with KafkaStage(kafka_server.bootstrap, create=False) as stage, pytest.raises(ThrongError) as failure:
        ensure_topics(stage.access, TopicSettings(partitions=1, replication_factor=3))
    assert failure.value.code is ErrorCode.INVALID_ARGUMENT
    assert "InvalidReplicationFactor" in failure.value.text
