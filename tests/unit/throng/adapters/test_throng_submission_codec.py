"""A submission as bytes: what is encoded is read back, alone and packed, however its parts were put together."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from throng.adapters.submission_codec import decode, decode_all, encode, join, to_record
from throng.api.common.v1 import message_pb2
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import Lane, MessageKind, Origin, Submission

_BODY = message_pb2.Message(text=message_pb2.Text(text="hello"), mentions=["u2"], reply_to_seq=7).SerializeToString(
    deterministic=True
)
_IDS = st.text("abc-._:09", min_size=1, max_size=64)
_ORIGINS = st.builds(
    Origin, _IDS.map(EdgeId), st.integers(0, 2**63 - 1), _IDS.map(ConnId), st.one_of(st.just(0), st.integers(1, 2**64 - 1))
)
_SUBMISSIONS = st.builds(
    Submission,
    group_id=_IDS.map(GroupId),
    user_id=_IDS.map(UserId),
    client_msg_id=st.uuids().map(str),
    kind=st.just(MessageKind.TEXT),
    body=st.just(_BODY),
    origin=_ORIGINS,
    received_at_ms=st.integers(0, 2**53),
    lane=st.sampled_from(Lane),
    unlimited=st.booleans(),
)


@given(_SUBMISSIONS)
def test_what_is_encoded_is_read_back(submission: Submission) -> None:
    assert decode(encode(submission)) == submission
    assert uplink_pb2.SubmittedMessage.FromString(encode(submission)) == to_record(submission)


@given(st.lists(_SUBMISSIONS, min_size=1, max_size=5))
def test_several_in_one_record_stay_apart(submissions: list[Submission]) -> None:
    assert decode_all(join([encode(submission) for submission in submissions])) == submissions


def test_two_requests_of_one_connection_differ() -> None:
    """What a connection's submissions have in common is remembered; what is their own is not."""
    origin = Origin(EdgeId("e"), 1, ConnId("c"), 5)
    one = Submission(GroupId("g"), UserId("u"), "0f0f7c2e-7a35-4d0c-9c0b-3e0f3f1f6b1d", MessageKind.TEXT, _BODY, origin, 1)
    other = dataclasses.replace(one, origin=dataclasses.replace(origin, request_id=6), received_at_ms=2, unlimited=True)
    assert [decode(encode(each)) for each in (one, other, one)] == [one, other, one]
