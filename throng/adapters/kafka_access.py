"""Opens Kafka's clients so that they leak nothing while Kafka is away, gives them up, and translates their errors."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from throng.domain.errors import ErrorCode, ThrongError, unavailable

_REFUSED_RETRY_MS = 5_000
_CLOSE_SECONDS = 2.0
_log = structlog.get_logger("throng.kafka")

_Client = TypeVar("_Client")


class Opening:
    """Makes one client at a time. When its constructor fails, as it does while Kafka is away, what it had opened is closed."""

    def __init__(self) -> None:
        self._network: Any = None
        self._closed = False

    def open(self, make: Callable[..., _Client], settings: dict[str, Any]) -> _Client:
        """Calls `make(**settings)`; waits for a broker at most `BOOTSTRAP_SECONDS`.

        Raises:
            ThrongError: UNAVAILABLE, no broker answers, or it refuses us.
        """
        _keep_quiet()
        if self._closed:
            raise unavailable("the way to the log is closed")
        try:
            client = make(**settings, kafka_client=self._make_network)
        except Exception as error:
            network, self._network = self._network, None
            if network is not None:
                with contextlib.suppress(Exception):
                    network.close()
            raise translated(error) from error
        self._network = None
        return client

    def _make_network(self, **settings: Any) -> Any:
        self._network = KafkaNetClient(**settings | {"proxy_url": f"{_ClosedWhenRefused.SCHEMES[0]}://"})
        return self._network

    def give_up(self) -> None:
        """Lets no later `open` begin; one that waits ends within `BOOTSTRAP_SECONDS`. Any thread."""
        self._closed = True


class _ClosedWhenRefused(KafkaNetSocket):  # type: ignore[misc]
    """Makes connections directly; kafka-python forgets the socket of one that is refused or given up, without closing it."""

    SCHEMES = ("direct",)
    """kafka-python finds this class by what it takes for the address of a proxy."""

    _made: Any = None

    def socket(self, *kind: Any) -> Any:
        self._made = super().socket(*kind)
        return self._made

    async def connect(self, *target: Any, **options: Any) -> Any:
        try:
            return await super().connect(*target, **options)
        except BaseException:
            if self._made is not None:
                self._made.close()
            raise


def _keep_quiet() -> None:
    """kafka-python logs every attempt while Kafka is away, and at DEBUG its settings with the password; our events say it once."""
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def abandon_producer(producer: Any) -> threading.Thread:
    """Closes a `KafkaProducer` without waiting; returns its thread, which ends soon.

    Its own `close` waits for a flush first and raises without having closed anything when that does not end.
    """
    producer._unregister_cleanup()
    producer._closed = True
    producer._sender.force_close()
    thread: threading.Thread = producer._sender
    return thread


def abandon_consumer(consumer: Any, timeout_seconds: float, *, leave: bool) -> None:
    """Closes a `KafkaConsumer`, telling the group when `leave`; takes about so long at most."""

    def close() -> None:
        try:
            if leave:
                consumer.close(autocommit=False, timeout_ms=max(int(timeout_seconds * 1000), 100))
            else:
                consumer._closed = True
                consumer._coordinator._close_heartbeat()
                consumer._client.close()
        except Exception as error:
            _log.info("kafka_consumer_close_failed", error=type(error).__name__)
            with contextlib.suppress(Exception):
                consumer._client.close()

    closer = threading.Thread(target=close, name="kafka-close", daemon=True)
    closer.start()
    closer.join(timeout_seconds + _CLOSE_SECONDS)


def translated(error: BaseException) -> ThrongError:
    """The one place where Kafka's errors become ours; the cause is named in `fields`, never with what a record holds."""
    if isinstance(error, ThrongError):
        return error
    fields = {"cause": type(error).__name__}
    if isinstance(error, kafka_errors.MessageSizeTooLargeError | kafka_errors.RecordListTooLargeError):
        return ThrongError(ErrorCode.TOO_LARGE, "the message is too large for the log", fields=fields)
    if isinstance(error, kafka_errors.InvalidRecordError | kafka_errors.InvalidTimestampError):
        return ThrongError(ErrorCode.INVALID_ARGUMENT, "the log does not take this record", fields=fields)
    if isinstance(
        error,
        kafka_errors.AuthorizationError
        | kafka_errors.SaslAuthenticationFailedError
        | kafka_errors.UnsupportedSaslMechanismError
        | kafka_errors.IllegalSaslStateError,
    ):
        return ThrongError(ErrorCode.UNAVAILABLE, "the log refuses us", retry_after_ms=_REFUSED_RETRY_MS, fields=fields)
    away = unavailable("the log cannot be reached")
    return ThrongError(away.code, away.text, retry_after_ms=away.retry_after_ms, fields=fields)
