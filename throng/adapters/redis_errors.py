"""What the exceptions of redis-py mean: the one place where they become ThrongErrors, and the kinds by which they are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis.exceptions

from throng.domain.errors import ErrorCode, ThrongError, unavailable

FAILURES = (redis.exceptions.RedisError, OSError, RuntimeError)
"""What an exchange can end with. RuntimeError: uvloop says so of a write to a connection that was reset a moment before."""

OnError = Callable[[str], None]
"""Called with one of `KINDS` for every call that failed."""
KINDS = ("timeout", "connection", "credentials", "cluster", "full", "command")
_CLUSTER = (redis.exceptions.ClusterError, redis.exceptions.AskError, redis.exceptions.TryAgainError)


def kind_of(error: Exception) -> str:
    """One of `KINDS`: no answer in time; not to be reached; we may not; a part of a cluster is away; it takes no writes; another
    refusal of a command."""
    exceptions = redis.exceptions
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)):
        return "credentials"
    if isinstance(error, (exceptions.ReadOnlyError, exceptions.OutOfMemoryError)) or _says_full(error):
        return "full"
    if isinstance(error, _CLUSTER):
        return "cluster"
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(error, (exceptions.ConnectionError, OSError, RuntimeError)):
        return "connection"
    return "command"


def _says_full(error: Exception) -> bool:
    """A script tells a refusal of one of its commands inside its own message."""
    text = str(error)
    return isinstance(error, redis.exceptions.ResponseError) and any(
        sign in text for sign in ("OOM command not allowed", "READONLY", "-OOM ")
    )


_TEXTS = {
    "timeout": "Redis did not answer in time",
    "connection": "Redis cannot be reached",
    "cluster": "this part of the Redis cluster is away",
    "full": "Redis takes no writes",
}


def translate(error: Exception) -> ThrongError:
    """The ThrongError for an exception of redis-py or of a socket, chained to it."""
    if isinstance(error, ThrongError):
        return error
    kind = kind_of(error)
    if kind in _TEXTS:
        translated = unavailable(_TEXTS[kind])
    else:
        text = "Redis refuses our credentials" if kind == "credentials" else "Redis refused a command"
        translated = ThrongError(ErrorCode.INTERNAL, text)
    translated.__cause__ = error
    return translated


def translate_all(results: list[Any], on_error: OnError | None) -> list[Any]:
    """Puts a ThrongError in the place of each exception among results, and tells `on_error` of it."""
    for index, result in enumerate(results):
        if isinstance(result, Exception):
            if on_error is not None:
                on_error(kind_of(result))
            results[index] = translate(result)
    return results


def checked(results: Sequence[Any]) -> list[Any]:
    """The results, none of which is an error.

    Raises:
        ThrongError: the first among them.
    """
    for result in results:
        if isinstance(result, ThrongError):
            raise result
    return list(results)


def unless_all_failed(results: Sequence[Any]) -> list[Any]:
    """The results, with None for those that failed: one lost node of a cluster does not take the others' answers away.

    Raises:
        ThrongError: when there is no answer at all.
    """
    errors = [result for result in results if isinstance(result, ThrongError)]
    if errors and len(errors) == len(results):
        raise errors[0]
    return [None if isinstance(result, ThrongError) else result for result in results]
