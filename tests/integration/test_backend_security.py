"""Kafka, MariaDB and Redis with real TLS and real passwords: the right ones pass, and each wrong one is refused and named."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from group_fakes import submission
from kafka_stage import TOPIC
from secured_servers import PASSWORD, WRONG, BackendFiles, SecuredRedis, mariadb_by_tls

from group_svc.settings import GroupServiceSettings
from throng.adapters.kafka_options import ConsumerSettings, KafkaAccess, SenderLimits
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.kafka_uplink_consumer import KafkaUplinkConsumer
from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.redis_aio import RedisLoop
from throng.adapters.redis_calls import command
from throng.adapters.redis_client import RedisThreads
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.aio_thread import AioThread
from throng.runtime.settings import load
from throng.testing.servers import KafkaServer, MariaDBServer

SECONDS = 20.0


def settings(**flags: Any) -> GroupServiceSettings:
    """As an operator would give them: flags, with files for what is secret."""
    return load(GroupServiceSettings, flags={name: str(value) for name, value in flags.items()}, environment={})


def shows_no_secret(error: BaseException | None) -> None:
    """Neither the error nor what caused it holds a password."""
    while error is not None:
        for text in (str(error), repr(error), repr(vars(error))):
            assert PASSWORD not in text
            assert WRONG not in text
        error = error.__cause__ or error.__context__


# Kafka --------------------------------------------------------------------------------------------------------------


def kafka_access(secured_kafka: KafkaServer, backend_files: BackendFiles, **flags: Any) -> KafkaAccess:
    given = {
        "uplink": "kafka",
        "kafka_servers": secured_kafka.bootstrap,
        "kafka_ca_file": backend_files.client.ca_file,
        "kafka_user": "throng",
        "kafka_password_file": backend_files.password,
        "kafka_topic": f"secured-{time.monotonic_ns()}",
    } | flags
    return settings(**{name: value for name, value in given.items() if value is not None}).kafka_access()


def _there_and_back(access: KafkaAccess) -> None:
    """A record goes through the log."""
    ensure_topics(access, TOPIC)
    outcomes: queue.Queue[ThrongError | None] = queue.Queue()
    with contextlib.ExitStack() as closing:
        producer = KafkaUplinkProducer(access, TOPIC, SenderLimits())
        producer.start()
        closing.callback(producer.close, 5.0)
        consumer = KafkaUplinkConsumer(access, TOPIC, ConsumerSettings(group=access.topic))
        closing.callback(consumer.close, 5.0)
        sent = submission("alice")
        producer.append(sent, outcomes.put)
        assert outcomes.get(timeout=SECONDS) is None
        deadline, found = time.monotonic() + SECONDS, []
        while not found and time.monotonic() < deadline:
            found = list(consumer.poll(0.5, 10))
        assert [record.submission for record in found] == [sent]
        consumer.commit({found[0].partition: found[0].offset + 1})


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kafka_by_tls_and_password(secured_kafka: KafkaServer, backend_files: BackendFiles, mechanism: str) -> None:
    _there_and_back(kafka_access(secured_kafka, backend_files, kafka_sasl_mechanism=mechanism))


def test_kafka_by_certificate(secured_kafka: KafkaServer, backend_files: BackendFiles) -> None:
    mine = {"kafka_cert_file": backend_files.client.cert_file, "kafka_key_file": backend_files.client.key_file}
    without_user = {"kafka_user": None, "kafka_password_file": None}
    address = secured_kafka.certificate_address  # type: ignore[attr-defined]
    _there_and_back(kafka_access(secured_kafka, backend_files, kafka_servers=address, **mine, **without_user))
    with pytest.raises(ThrongError) as refused:
        ensure_topics(kafka_access(secured_kafka, backend_files, kafka_servers=address, **without_user), TOPIC)
    assert refused.value.code is ErrorCode.UNAVAILABLE


KAFKA_WRONG: dict[str, Callable[[BackendFiles], dict[str, Any]]] = {
    "wrong password": lambda backend_files: {"kafka_password_file": backend_files.wrong},
    "wrong password, plain": lambda backend_files: {"kafka_password_file": backend_files.wrong, "kafka_sasl_mechanism": "PLAIN"},
    "unknown user": lambda backend_files: {"kafka_user": "nobody"},
    "no user": lambda backend_files: {"kafka_user": None, "kafka_password_file": None},
    "a foreign CA": lambda backend_files: {"kafka_ca_file": backend_files.foreign.ca_file},
    "no TLS": lambda backend_files: {"kafka_ca_file": None},
}


@pytest.mark.parametrize("kind", list(KAFKA_WRONG))
def test_kafka_refuses_and_the_error_shows_no_password(
    secured_kafka: KafkaServer, backend_files: BackendFiles, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("throng.adapters.kafka_options.BOOTSTRAP_SECONDS", 1.0)
    with pytest.raises(ThrongError) as refused:
        ensure_topics(kafka_access(secured_kafka, backend_files, **KAFKA_WRONG[kind](backend_files)), TOPIC)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    shows_no_secret(refused.value)


# MariaDB ------------------------------------------------------------------------------------------------------------


def _ask_mysql(server: MariaDBServer, backend_files: BackendFiles, user: str = "throng", **flags: Any) -> str:
    """The cipher of a connection by these settings."""
    given = {
        "store": "mysql",
        "mysql_url": server.url("chat", user=user),
        "mysql_ca_file": backend_files.client.ca_file,
        "mysql_password_file": backend_files.password,
        "mysql_timeout_seconds": 2,
    } | flags
    access = settings(**{name: value for name, value in given.items() if value is not None}).mysql_access()
    database = MySQLDatabase(dataclasses.replace(access))
    try:
        rows: Any = database.read(lambda statements: statements.rows("SHOW STATUS LIKE 'Ssl_cipher'"))
        return str(next(iter(rows))[1])
    finally:
        database.close()


def test_mysql_by_tls_and_password(secured_mariadb: MariaDBServer, backend_files: BackendFiles) -> None:
    assert _ask_mysql(secured_mariadb, backend_files)


def test_mysql_by_certificate_besides(secured_mariadb: MariaDBServer, backend_files: BackendFiles) -> None:
    mine = {"mysql_cert_file": backend_files.client.cert_file, "mysql_key_file": backend_files.client.key_file}
    assert _ask_mysql(secured_mariadb, backend_files, user="proven", **mine)
    with pytest.raises(ThrongError):
        _ask_mysql(secured_mariadb, backend_files, user="proven")


MYSQL_WRONG: dict[str, Callable[[BackendFiles], dict[str, Any]]] = {
    "wrong password": lambda backend_files: {"mysql_password_file": backend_files.wrong},
    "no password": lambda backend_files: {"mysql_password_file": None},
    "unknown user": lambda backend_files: {"user": "nobody"},
    "a foreign CA": lambda backend_files: {"mysql_ca_file": backend_files.foreign.ca_file},
    "no TLS": lambda backend_files: {"mysql_ca_file": None},
}


@pytest.mark.parametrize("kind", list(MYSQL_WRONG))
def test_mysql_refuses_and_the_error_shows_no_password(
    secured_mariadb: MariaDBServer, backend_files: BackendFiles, kind: str
) -> None:
    with pytest.raises(ThrongError) as refused:
        _ask_mysql(secured_mariadb, backend_files, **MYSQL_WRONG[kind](backend_files))
    assert refused.value.code in (ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE)
    shows_no_secret(refused.value)


def test_a_mysql_server_must_prove_its_name(tmp_path: pathlib.Path, backend_files: BackendFiles) -> None:
    with mariadb_by_tls(tmp_path, backend_files.misnamed) as server:
        with pytest.raises(ThrongError, match="does not prove its name"):
            _ask_mysql(server, backend_files)


# Redis --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aio() -> Iterator[AioThread]:
    """One loop for all: uvloop's TLS connections end a moment after they are closed."""
    thread = AioThread()
    thread.start()
    yield thread
    thread.stop()


def _ask_redis(aio: AioThread, colour: str, url: str, backend_files: BackendFiles, **flags: Any) -> Any:
    given = {"redis_url": url, "redis_ca_file": backend_files.client.ca_file, "redis_password_file": backend_files.password} | flags
    access = settings(**{name: value for name, value in given.items() if value is not None}).redis_access()
    calls = [command("SET", "key", "value"), command("GET", "key")]
    if colour == "threads":
        client = RedisThreads(access)
        try:
            return client.run(calls)
        finally:
            client.close()

    async def ask() -> Any:
        client = RedisLoop(access)
        try:
            return await client.run(calls)
        finally:
            await client.close()

    return aio.run(ask(), SECONDS)


@pytest.mark.parametrize("colour", ["threads", "aio"])
def test_redis_by_tls_password_and_certificate(
    secured_redis: SecuredRedis, backend_files: BackendFiles, aio: AioThread, colour: str
) -> None:
    mine = {"redis_cert_file": backend_files.client.cert_file, "redis_key_file": backend_files.client.key_file}
    for flags in ({}, {"redis_user": "throng"}):
        assert _ask_redis(aio, colour, secured_redis.url, backend_files, **flags)[1] == b"value"
        assert _ask_redis(aio, colour, secured_redis.certificate_url, backend_files, **flags, **mine)[1] == b"value"


REDIS_WRONG: dict[str, Callable[[BackendFiles], dict[str, Any]]] = {
    "wrong password": lambda backend_files: {"redis_password_file": backend_files.wrong},
    "no password": lambda backend_files: {"redis_password_file": None},
    "unknown user": lambda backend_files: {"redis_user": "nobody"},
    "a foreign CA": lambda backend_files: {"redis_ca_file": backend_files.foreign.ca_file},
}


@pytest.mark.parametrize("colour", ["threads", "aio"])
@pytest.mark.parametrize("kind", [*REDIS_WRONG, "no certificate", "no TLS"])
def test_redis_refuses_and_the_error_shows_no_password(
    secured_redis: SecuredRedis, backend_files: BackendFiles, kind: str, aio: AioThread, colour: str
) -> None:
    flags = REDIS_WRONG[kind](backend_files) if kind in REDIS_WRONG else {}
    url = secured_redis.certificate_url if kind == "no certificate" else secured_redis.url
    if kind == "no TLS":
        url, flags = url.replace("rediss://", "redis://"), {"redis_ca_file": None}
    for answer in _ask_redis(aio, colour, url, backend_files, **flags):
        assert isinstance(answer, ThrongError)
        shows_no_secret(answer)
