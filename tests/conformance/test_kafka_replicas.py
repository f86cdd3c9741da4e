"""The Kafka uplink over three brokers: each may die, sleep or be replaced, and while two are away nothing is acknowledged (I3, I4, I10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from kafka_stage import KafkaStage
from kafka_traffic import Log, Outcomes, Reader, message, run_through, wait_until
from server_fixtures import started

from throng.adapters.kafka_access import Opening
from throng.adapters.kafka_options import TopicSettings
from throng.domain.errors import ErrorCode, ThrongError
from throng.testing.servers import KafkaClusterServers

TOPIC = TopicSettings(partitions=6, replication_factor=3, min_insync_replicas=2)
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaClusterServers]:
    with started(lambda: KafkaClusterServers(tmp_path_factory.mktemp("kafka-three"))) as cluster:
        yield cluster


@pytest.fixture
def stage(servers: KafkaClusterServers) -> Iterator[KafkaStage]:
    with KafkaStage(*servers.bootstrap, topic=TOPIC) as made:
        wait_until(lambda: in_sync(made) == [3] * TOPIC.partitions, "replicas of all partitions")
        yield made


def described(stage: KafkaStage) -> list[dict]:
    """The partitions of the topic, as a broker tells them; empty when the one that was asked is away."""
    try:
        admin = Opening().open(KafkaAdminClient, stage.access.client_settings("test-admin"))
    except ThrongError:
        return []
    try:
        return admin.describe_topics([stage.access.topic])[0]["partitions"]
    except KafkaError:
        return []
    finally:
        admin.close()


def in_sync(stage: KafkaStage) -> list[int]:
    """How many replicas of each partition are in step."""
    return [len(partition["isr_nodes"]) for partition in described(stage)]


def leader_of_first(stage: KafkaStage) -> int:
    """The number of the broker that leads partition 0."""
    wait_until(lambda: described(stage), "a broker that tells the leaders")
    return described(stage)[0]["leader_id"]


def led_without(stage: KafkaStage, number: int) -> bool:
    """Every partition has a leader, and none of them is that broker."""
    leaders = {partition["leader_id"] for partition in described(stage)}
    return bool(leaders) and leaders.isdisjoint({number, -1})


def through(stage: KafkaStage, fault: Callable[[], None]) -> None:
    """Nothing is lost or out of order, and nothing is refused: there is always a broker that takes over in time."""
    outcomes, _ = run_through(stage, fault, patience_seconds=PATIENCE_SECONDS, away_after_seconds=PATIENCE_SECONDS)
    assert {error for calls in outcomes.calls.values() for error in calls} == {None}


def test_every_broker_dies_in_turn_and_nothing_is_lost_or_refused(servers: KafkaClusterServers, stage: KafkaStage) -> None:
    def fault() -> None:
        for broker in servers.brokers:
            broker.kill()
            broker.start()
            wait_until(lambda: in_sync(stage) == [3] * TOPIC.partitions, "replicas in step again")

    through(stage, fault)


def test_a_broker_that_stays_away_is_done_without(servers: KafkaClusterServers, stage: KafkaStage) -> None:
    number = leader_of_first(stage)
    leader = servers.brokers[number - 1]

    def fault() -> None:
        leader.kill()
        wait_until(lambda: led_without(stage, number), "other leaders")

    try:
        through(stage, fault)
    finally:
        leader.start()


def test_a_leader_that_sleeps_is_replaced_and_does_no_harm_when_it_wakes(servers: KafkaClusterServers, stage: KafkaStage) -> None:
    number = leader_of_first(stage)
    leader = servers.brokers[number - 1]

    def fault() -> None:
        with leader.paused():
            wait_until(lambda: led_without(stage, number), "other leaders")
        wait_until(lambda: in_sync(stage) == [3] * TOPIC.partitions, "replicas in step again")

    through(stage, fault)


def test_one_replica_alone_acknowledges_nothing(servers: KafkaClusterServers, stage: KafkaStage) -> None:
    """Two of three are killed: what is appended is refused with a retry time. What was acknowledged before is there afterwards."""
    outcomes = Outcomes(stage.producer(patience_seconds=3.0))
    before = [outcomes.append(message(f"g{number}")) for number in range(20)]
    assert {outcomes.of(one) for one in before} == {None}
    first, second, _ = servers.brokers
    first.kill()
    second.kill()
    try:
        refused = [outcomes.append(message(f"g{number}")) for number in range(5)]
        errors = [outcomes.of(one) for one in refused]
        assert {error and error.code for error in errors} == {ErrorCode.UNAVAILABLE}
        assert all(error is not None and error.retry_after_ms > 0 for error in errors)
    finally:
        first.begin()
        second.begin()
        first.wait_ready()
        second.wait_ready()
    wait_until(lambda: outcomes.of(outcomes.append(message("g1"))) is None, "an ACK again")
    outcomes.assert_each_once()
    log = Log()
    reader = Reader(stage.consumer(), log)
    reader.start()
    log.assert_holds(outcomes)
    reader.end()
