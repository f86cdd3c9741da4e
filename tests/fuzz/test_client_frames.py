"""Whatever a client says, only documented codes come back, and nobody else notices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from session_stage import FakeConnection, FakeServices, SessionStage

from edge.ports import FetchedPage
from throng.api.client.v1 import client_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.errors import ErrorCode

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
DOCUMENTED = {int(code) for code in ErrorCode}
GROUPS = ["g", "closed", "nowhere", "", "g" * 65, "semi;colon", "\u7fa4"]
IDS = ["6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f40", "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f41", "", "no uuid", "x" * 300]

seqs = st.sampled_from([0, 1, 2, 3, 100, 2**31, 2**53, 2**63 - 1]).map(str)
texts = st.sampled_from(["", " ", "hello", "\x00", "\u202e", "long " * 3_000]) | st.text(max_size=20)
groups = st.sampled_from(["g", "g", "g", *GROUPS])
contents = st.one_of(
    st.fixed_dictionaries({"text": st.fixed_dictionaries({"text": texts})}),
    st.fixed_dictionaries({"image": st.fixed_dictionaries({"url": texts, "width": st.integers(0, 2**31)})}),
    st.fixed_dictionaries({"custom": st.fixed_dictionaries({"type": texts})}),
    st.just({}),
)
sends = st.tuples(
    st.fixed_dictionaries({"groupId": groups, "clientMsgId": st.sampled_from(IDS), "mentions": st.lists(groups, max_size=30)}),
    contents,
).map(lambda parts: {"send": parts[0] | parts[1]})
frames = st.one_of(
    sends,
    st.fixed_dictionaries({"enter": st.fixed_dictionaries({"groupId": groups, "seq": seqs, "epoch": st.integers(0, 3)})}),
    st.fixed_dictionaries({"leave": st.fixed_dictionaries({"groupId": groups})}),
    st.fixed_dictionaries({"pull": st.fixed_dictionaries({"groupId": groups, "afterSeq": seqs, "upToSeq": seqs})}),
    st.fixed_dictionaries(
        {"history": st.fixed_dictionaries({"groupId": groups, "beforeSeq": seqs, "limit": st.sampled_from([0, 1, 200, 2**31])})}
    ),
    st.fixed_dictionaries({"reportRead": st.fixed_dictionaries({"groupId": groups, "readSeq": seqs})}),
    st.fixed_dictionaries({"recall": st.fixed_dictionaries({"groupId": groups, "seq": seqs})}),
    st.fixed_dictionaries({"deleteForMe": st.fixed_dictionaries({"groupId": groups, "seq": seqs})}),
    st.sampled_from([{"listGroups": {}}, {"setVisibility": {"hidden": True}}, {"ping": {}}, {}]),
)
numbered = st.tuples(frames, st.sampled_from([0, 1, 2**63])).map(lambda parts: parts[0] | {"requestId": str(parts[1])})
sayings = st.one_of(
    numbered,
    numbered,
    st.binary(max_size=60),
    st.sampled_from([b"", b"{", b"null", b"[]", b'{"send": 7}', b'{"future": {}}', b"\xff\xfe", b"{" * 2_000, b'"' + b"a" * 500]),
)


class Services(FakeServices):
    """Pages before a seq, too."""

    def fetch_before(self, group_id: str, before_seq: int, limit: int, done: Any) -> None:
        group = self.group(group_id)
        last = min(before_seq - 1 if before_seq else group.head_seq, group.head_seq)
        first = max(0, last - limit)
        page = [(message.seq, message.SerializeToString()) for message in self.messages[group_id][first:last]]
        self._later("fetch_before", done, lambda: FetchedPage(group.epoch, group.head_seq, first, page))


def _stage() -> SessionStage:
    stage = SessionStage(services=Services(), min_send_interval_ms=0)
    stage.services.add_group("g", "alice", "bob", messages=3)
    stage.services.add_group("closed", "bob", messages=3)
    return stage


def _bytes(said: dict[str, Any] | bytes, connection: FakeConnection) -> bytes:
    if isinstance(said, bytes):
        return said
    if not connection.binary:
        return json.dumps(said).encode()
    return json_format.ParseDict(said, client_pb2.ClientFrame()).SerializeToString()


def _check(frames: Sequence[client_pb2.ServerFrame]) -> None:
    for frame in frames:
        name = frame.WhichOneof("event")
        assert name is not None
        if name in ("failure", "reject"):
            answer = getattr(frame, name)
            assert answer.code in DOCUMENTED, frame
            assert answer.text, "a refusal is a sentence"
            assert answer.code != ErrorCode.INTERNAL, frame
        for message in getattr(frame, name).messages if name in ("block", "pulled", "entered") else ():
            assert getattr(frame, name).group_id != "closed" if name != "entered" else frame.entered.group.group_id == "g", message


@settings(BUSY, max_examples=400)
@given(sayings=st.lists(sayings, min_size=1, max_size=25), binary=st.booleans(), inside=st.booleans())
def test_only_documented_answers_come_and_nobody_else_notices(
    sayings: list[dict[str, Any] | bytes], binary: bool, inside: bool
) -> None:
    stage = _stage()
    witness = stage.entered("bob")
    client = stage.open("alice", binary=binary, groups=["g"] if inside else [])
    stage.services.run()
    client.take()
    for said in sayings:
        if client.close_code is None:
            stage.sessions.on_message(client, _bytes(said, client))
        stage.services.run()
        stage.hub.pump()
    _check(client.take())
    assert client.close_code in (None, CloseCode.ABUSIVE)
    assert all(submission.user_id == "alice" and submission.group_id == "g" for submission in stage.services.submitted)
    assert witness.close_code is None
    witness.take()
    assert stage.answer(witness, 9, ping={}).WhichOneof("event") == "pong"
    stage.tell(stage.services.write("g"))
    assert [frame.WhichOneof("event") for frame in witness.take()] == ["block"]


@settings(BUSY, max_examples=300)
@given(frame=numbered, cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_frames_with_flipped_bytes_are_read_or_refused(frame: dict[str, Any], cuts: list[tuple[int, int]]) -> None:
    stage = _stage()
    client = stage.entered("alice")
    payload = bytearray(_bytes(frame, client))
    for place, value in cuts:
        if payload:
            payload[place % len(payload)] = value
    stage.sessions.on_message(client, bytes(payload))
    stage.services.run()
    _check(client.take())
