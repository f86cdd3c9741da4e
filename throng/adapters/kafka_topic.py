"""Creates the topic of submitted messages and that of dead letters when they are absent; looks at them when they are not."""

from __future__ import annotations

import contextlib
from typing import Any

import structlog
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from throng.adapters.kafka_access import Opening, translated
from throng.adapters.kafka_options import KafkaAccess, TopicSettings
from throng.domain.errors import ErrorCode, ThrongError

_CREATE_MS = 10_000
_REQUEST_MS = 10_000
_DEAD_LETTER_PARTITIONS = 1
_log = structlog.get_logger("throng.kafka")


def ensure_topics(access: KafkaAccess, settings: TopicSettings, opening: Opening | None = None) -> None:
    """Creates what is absent and waits until it can be used. Any number of processes may do so at once.

    Raises:
        ThrongError: UNAVAILABLE while Kafka is away or refuses us; INVALID_ARGUMENT when it refuses the settings.
    """
    configs = access.client_settings("throng-admin") | {"request_timeout_ms": _REQUEST_MS}
    admin = (opening or Opening()).open(KafkaAdminClient, configs)
    try:
        _ensure(admin, access, settings)
    except (kafka_errors.InvalidReplicationFactorError, kafka_errors.InvalidConfigurationError) as error:
        text = f"Kafka refuses to make the topic {access.topic}: {type(error).__name__}"
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, text) from error
    except Exception as error:
        raise translated(error) from error
    finally:
        with contextlib.suppress(Exception):
            admin.close()


def _ensure(admin: Any, access: KafkaAccess, settings: TopicSettings) -> None:
    present = {topic["name"]: topic for topic in _described(admin, [access.topic, access.dead_letter_topic])}
    wanted = {access.topic: settings.partitions, access.dead_letter_topic: _DEAD_LETTER_PARTITIONS}
    for name, partitions in wanted.items():
        if name in present:
            continue
        topic = {
            "num_partitions": partitions,
            "replication_factor": settings.replication_factor,
            "configs": settings.configs(),
        }
        try:
            admin.create_topics({name: topic}, timeout_ms=_CREATE_MS)
            _log.info("kafka_topic_created", topic=name, partitions=partitions)
        except kafka_errors.TopicAlreadyExistsError:
            continue
        except kafka_errors.AuthorizationError:
            _log.warning("kafka_topic_may_not_be_created", topic=name)
    admin.wait_for_topics(list(wanted), timeout_ms=_CREATE_MS)
    if access.topic in present:
        _compare(admin, access, settings, len(present[access.topic]["partitions"]))


def _described(admin: Any, names: list[str]) -> list[dict[str, Any]]:
    return [topic for topic in admin.describe_topics(names) if topic["error_code"] == 0]


def _compare(admin: Any, access: KafkaAccess, settings: TopicSettings, partitions: int) -> None:
    """Says how a topic that was there differs from the settings; it is not changed."""
    different = {}
    if partitions != settings.partitions:
        different["partitions"] = f"{partitions} instead of {settings.partitions}"
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, access.topic)
        answer = admin.describe_configs([resource], config_filter="all")
        actual = answer["topic"][access.topic]
        for name, value in settings.configs().items():
            found = actual.get(name, {}).get("value")
            if found is not None and str(found).lower() != value:
                different[name] = f"{found} instead of {value}"
    except Exception as error:
        _log.info("kafka_topic_settings_unreadable", topic=access.topic, error=type(error).__name__)
    if different:
        _log.warning("kafka_topic_differs", topic=access.topic, differences=different)
