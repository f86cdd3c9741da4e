"""Which code each exception of redis-py becomes, and that one embedded name is one set of data."""

from __future__ import annotations

import uuid

import pytest
import redis

from throng.adapters.redis_client import connect, read_script, translated
from throng.domain.errors import ErrorCode, ThrongError


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (redis.exceptions.ConnectionError("gone"), ErrorCode.UNAVAILABLE),
        (redis.exceptions.TimeoutError("slow"), ErrorCode.UNAVAILABLE),
        (redis.exceptions.BusyLoadingError("loading"), ErrorCode.UNAVAILABLE),
        (redis.exceptions.ReadOnlyError("replica"), ErrorCode.UNAVAILABLE),
        (OSError("no route"), ErrorCode.UNAVAILABLE),
        (redis.exceptions.AuthenticationError("wrong"), ErrorCode.INTERNAL),
        (redis.exceptions.NoPermissionError("acl"), ErrorCode.INTERNAL),
        (redis.exceptions.ResponseError("WRONGTYPE"), ErrorCode.INTERNAL),
    ],
)
def test_exceptions_become_codes_and_keep_their_cause(raised, code):
    with pytest.raises(ThrongError) as caught, translated():
        raise raised
    assert caught.value.code is code
    assert caught.value.__cause__ is raised


def test_other_exceptions_pass():
    with pytest.raises(KeyError), translated():
        raise KeyError("x")


def test_one_embedded_name_is_one_set_of_data():
    name = f"embedded://{uuid.uuid4()}"
    connect(name).set("key", "value")
    assert connect(name).get("key") == b"value"
    assert connect(f"embedded://{uuid.uuid4()}").get("key") is None


def test_scripts_are_read_from_packages():
    assert "KEYS[1]" in read_script("group_svc.adapters.lua", "recent_put.lua")
