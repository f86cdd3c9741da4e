"""Bounds of the memory uplink (I8); the rest stands in tests/conformance."""

from __future__ import annotations

import dataclasses

from throng.adapters.memory_uplink import MemoryUplink
from throng.domain.errors import ErrorCode
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission

ONE = Submission(GroupId("g"), UserId("u"), "id", MessageKind.TEXT, b"x" * 10, Origin(EdgeId("e"), 1, ConnId("c")), 1)


def append(uplink: MemoryUplink, one: Submission = ONE) -> ErrorCode | None:
    errors = []
    uplink.append(one, errors.append)
    [error] = errors
    return None if error is None else error.code


def test_records_are_bounded_by_number_and_room_comes_back_with_polling_i8():
    uplink = MemoryUplink(max_records=2)
    assert [append(uplink) for _ in range(3)] == [None, None, ErrorCode.UNAVAILABLE]
    assert uplink.lag() == 2
    assert len(uplink.poll(0, 1)) == 1
    assert [append(uplink) for _ in range(2)] == [None, ErrorCode.UNAVAILABLE]


def test_records_are_bounded_by_bytes_and_a_smaller_one_may_still_fit_i8():
    uplink = MemoryUplink(max_body_bytes=25)
    assert [append(uplink) for _ in range(3)] == [None, None, ErrorCode.UNAVAILABLE]
    assert append(uplink, dataclasses.replace(ONE, body=b"12345")) is None
    assert [record.offset for record in uplink.poll(0, 10)] == [0, 1, 2]
    assert append(uplink) is None


def test_closing_gives_up_at_its_deadline():
    uplink = MemoryUplink()
    append(uplink)
    uplink.close(0)
    assert append(uplink) is ErrorCode.UNAVAILABLE
    assert len(uplink.poll(0, 10)) == 1
