"""Kafka that asks who we are: SASL/PLAIN with the right and the wrong password, and no password in what is logged."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import pytest
from kafka_stage import TOPIC
from kafka_traffic import Outcomes, message
from server_fixtures import started

from throng.adapters import kafka_options
from throng.adapters.kafka_options import ConsumerSettings, KafkaAccess, SenderLimits
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.kafka_uplink_consumer import KafkaUplinkConsumer
from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer
from throng.domain.errors import ErrorCode, ThrongError
from throng.testing.servers import KafkaServer
from throng.testing.servers.process import free_port

PASSWORD = "geheim-and-long"


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAccess]:
    """A broker that lets in one user."""
    port, inside, controller = free_port(), free_port(), free_port()
    listeners = f"PLAINTEXT://127.0.0.1:{inside},SASL_PLAINTEXT://127.0.0.1:{port}"
    settings = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": listeners,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_throng="{PASSWORD}";'
        ),
    }
    folder = tmp_path_factory.mktemp("kafka-sasl")
    with started(lambda: KafkaServer(folder, port=port, settings=settings)) as server:
        yield KafkaAccess((server.bootstrap,), topic="t", user="throng", password=PASSWORD, mechanism="PLAIN")


@pytest.fixture(autouse=True)
def everything_logged() -> Iterator[None]:
    """kafka-python would log its settings at this level."""
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(level)


def test_the_right_password_is_let_in(access, caplog):
    caplog.set_level(logging.DEBUG)
    producer = KafkaUplinkProducer(access, TOPIC, SenderLimits(patience_seconds=30.0))
    consumer = KafkaUplinkConsumer(access, TOPIC, ConsumerSettings(group="g", session_timeout_seconds=3.0))
    producer.start()
    try:
        outcomes = Outcomes(producer)
        one = outcomes.append(message("g1"))
        assert outcomes.of(one) is None
        records: list = []
        while not records:
            records += consumer.poll(5.0, 10)
        assert [record.submission for record in records] == [one]
    finally:
        producer.close(1.0)
        consumer.close(3.0)
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("wrong", [{"password": "guessed"}, {"user": "nobody"}, {"user": "", "password": ""}])
def test_anyone_else_is_refused_and_says_so_without_the_password(access, wrong, caplog, capsys, monkeypatch):
    # kafka-python tries again for so long, at each of the three places.
    monkeypatch.setattr(kafka_options, "BOOTSTRAP_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    stranger = dataclasses.replace(access, **wrong)
    with pytest.raises(ThrongError) as refused:
        ensure_topics(stranger, TOPIC)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    producer = KafkaUplinkProducer(stranger, TOPIC, SenderLimits(patience_seconds=1.0))
    producer.start()
    consumer = KafkaUplinkConsumer(stranger, TOPIC, ConsumerSettings(group="g"))
    try:
        outcomes = Outcomes(producer)
        one = outcomes.append(message("g1"))
        assert outcomes.of(one).code is ErrorCode.UNAVAILABLE
        with pytest.raises(ThrongError) as refused:
            consumer.poll(0.1, 10)
        assert refused.value.code is ErrorCode.UNAVAILABLE
    finally:
        producer.close(0.1)
        consumer.close(1.0)
    printed = capsys.readouterr().out + caplog.text
    assert "kafka_away" in printed
    for secret in (PASSWORD, "guessed"):
        assert secret not in printed
