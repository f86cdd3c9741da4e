"""Which code each exception of redis-py becomes, and that one embedded name is one set of data."""

from __future__ import annotations

import uuid

import pytest
import redis

from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_calls import Script, command
from throng.adapters.redis_client import RedisThreads
from throng.adapters.redis_errors import KINDS, checked, kind_of, translate, unless_all_failed
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.runtime import redis_metrics


@pytest.mark.parametrize(
    ("raised", "code", "kind"),
    [
        (redis.exceptions.ConnectionError("gone"), ErrorCode.UNAVAILABLE, "connection"),
        (redis.exceptions.TimeoutError("slow"), ErrorCode.UNAVAILABLE, "timeout"),
        (TimeoutError("slow"), ErrorCode.UNAVAILABLE, "timeout"),
        (redis.exceptions.BusyLoadingError("loading"), ErrorCode.UNAVAILABLE, "connection"),
        (redis.exceptions.ReadOnlyError("replica"), ErrorCode.UNAVAILABLE, "full"),
        (redis.exceptions.OutOfMemoryError("maxmemory"), ErrorCode.UNAVAILABLE, "full"),
        (
            redis.exceptions.ResponseError("ERR x script: f, on @user_script:9. OOM command not allowed"),
            ErrorCode.UNAVAILABLE,
            "full",
        ),
        (redis.exceptions.ClusterDownError("down"), ErrorCode.UNAVAILABLE, "cluster"),
        (redis.exceptions.MovedError("1 127.0.0.1:1"), ErrorCode.UNAVAILABLE, "cluster"),
        (OSError("no route"), ErrorCode.UNAVAILABLE, "connection"),
        (redis.exceptions.AuthenticationError("wrong"), ErrorCode.INTERNAL, "credentials"),
        (redis.exceptions.NoPermissionError("acl"), ErrorCode.INTERNAL, "credentials"),
        (redis.exceptions.ResponseError("WRONGTYPE"), ErrorCode.INTERNAL, "command"),
    ],
)
def test_exceptions_become_codes_and_keep_their_cause(raised, code, kind):
    error = translate(raised)
    assert (error.code, kind_of(raised)) == (code, kind)
    assert error.__cause__ is raised


def test_every_kind_is_counted():
    assert redis_metrics.KINDS == KINDS


def test_errors_in_results():
    away = unavailable("away")
    with pytest.raises(ThrongError) as caught:
        checked([1, away])
    assert caught.value is away
    assert unless_all_failed([1, away, 2]) == [1, None, 2]
    with pytest.raises(ThrongError):
        unless_all_failed([away, away])
    assert unless_all_failed([]) == []


def test_one_embedded_name_is_one_set_of_data():
    name = f"embedded://{uuid.uuid4()}"
    RedisThreads(RedisAccess(name)).run([command("SET", "key", "value")])
    assert RedisThreads(RedisAccess(name)).run([command("GET", "key")]) == [b"value"]
    assert RedisThreads(RedisAccess(f"embedded://{uuid.uuid4()}")).run([command("GET", "key")]) == [None]


def test_scripts_are_read_from_packages():
    assert "KEYS[1]" in Script("group_svc.adapters.lua", "recent_put.lua").text
