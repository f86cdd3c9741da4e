"""Every refusal of the checks, and that it stays with the candidate."""

from __future__ import annotations

import dataclasses

import pytest
from group_fakes import GROUP, FakeStore, recall, submission, text_body

from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.core.admission import Admission
from group_svc.core.membership_cache import MembershipCache
from group_svc.core.pending import Pending
from group_svc.core.rate_limits import RateLimits
from throng.api.common.v1 import message_pb2
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import GroupSettings, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind
from throng.ports.uplink import UplinkRecord
from throng.testing.fake_clock import FakeClock


class Desk:
    """Admission over a fake store."""

    def __init__(self, settings: GroupSettings | None = None) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.store.add_group(settings=settings or GroupSettings(), members=["ann", "bob"])
        self.members = MembershipCache(self.store, self.clock)
        safety = WordListSafety(["Spam", "骗子"])
        self.admission = Admission(self.members, ProtoBodyInspector(), safety, RateLimits(self.clock), self.clock)

    def admit(self, *submissions) -> list[Pending]:
        return self.admission.admit([UplinkRecord(0, number, one) for number, one in enumerate(submissions)])

    def code(self, one) -> ErrorCode | None:
        refusal = self.admit(one)[0].candidate.refusal
        return None if refusal is None else refusal.code


def test_a_member_may_speak() -> None:
    (pending,) = Desk().admit(submission("ann"))
    assert pending.candidate.refusal is None
    assert pending.candidate.sender_name == "Ann"
    assert pending.candidate.lane is Lane.NORMAL
    assert pending.charged


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (submission("eve"), ErrorCode.NOT_A_MEMBER),
        (submission("ann", group_id=GroupId("none")), ErrorCode.GROUP_NOT_FOUND),
        (submission("ann", group_id=GroupId("not one")), ErrorCode.INVALID_ARGUMENT),
        (submission("ann", client_msg_id="7"), ErrorCode.INVALID_ARGUMENT),
        (submission("ann", text=" "), ErrorCode.EMPTY_MESSAGE),
        (submission("ann", text="x" * 4_001), ErrorCode.TOO_LARGE),
        (submission("ann", body=b"\xff\xff"), ErrorCode.INVALID_ARGUMENT),
        (submission("ann", kind=MessageKind.SYSTEM), ErrorCode.INVALID_ARGUMENT),
        (dataclasses.replace(recall("ann", 3), target_seq=2), ErrorCode.INVALID_ARGUMENT),
        (submission("ann", text="cheap sPaM here"), ErrorCode.BLOCKED_CONTENT),
        (submission("ann", text="ｓｐａｍ"), ErrorCode.BLOCKED_CONTENT),
        (submission("ann", text="s\u200bpam"), ErrorCode.BLOCKED_CONTENT),
        (submission("ann", text="他是骗子"), ErrorCode.BLOCKED_CONTENT),
    ],
)
def test_refusals(wrong, code: ErrorCode) -> None:
    desk = Desk()
    assert desk.code(wrong) is code
    assert desk.code(submission("ann")) is None, "a refused attempt must not use up the interval"


def test_mute_ends_by_itself_and_does_not_keep_anyone_from_recalling() -> None:
    desk = Desk()
    until = desk.clock.now_ms() + 5_000
    desk.store.update_member(GROUP, UserId("ann"), role=None, muted_until_ms=until, display_name=None)
    refusal = desk.admit(submission("ann"))[0].candidate.refusal
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_ms) == (ErrorCode.MUTED, 5_000)
    assert desk.code(recall("ann", 1)) is None
    desk.clock.advance(5)
    assert desk.code(submission("ann")) is None


def test_too_fast_is_refused_and_a_resend_of_the_same_message_is_not() -> None:
    desk = Desk()
    first = submission("ann", received_at_ms=desk.clock.now_ms())
    assert desk.code(first) is None
    assert desk.code(submission("ann", received_at_ms=desk.clock.now_ms())) is ErrorCode.RATE_LIMITED
    assert desk.code(first) is None
    assert desk.code(submission("ann", unlimited=True)) is None
    assert desk.code(recall("ann", 1)) is None


def test_lanes() -> None:
    desk = Desk(GroupSettings(send_interval_ms=0))
    mention = submission("ann", body=text_body("hi", mentions=["bob"]))
    system = message_pb2.Message(system=message_pb2.System(kind="note", text="words")).SerializeToString()
    assert desk.admit(mention)[0].candidate.lane is Lane.HIGH
    assert desk.admit(submission("ann", body=system, kind=MessageKind.SYSTEM))[0].candidate.lane is Lane.HIGH
    desk.store.set_role("bob", Role.ADMINISTRATOR)
    (by_moderator,) = desk.admit(submission("bob"))
    assert by_moderator.candidate.lane is Lane.HIGH
    assert by_moderator.candidate.sender_role is Role.ADMINISTRATOR


def test_the_id_is_taken_in_lower_case() -> None:
    (pending,) = Desk().admit(submission("ann", client_msg_id="0B1E9D3C-6C3B-4B6E-9B57-2C1FB8B9A6C4"))
    assert pending.candidate.submission.client_msg_id == "0b1e9d3c-6c3b-4b6e-9b57-2c1fb8b9a6c4"


def test_memberships_of_a_batch_are_read_in_one_call_and_then_remembered() -> None:
    desk = Desk()
    desk.admit(submission("ann"), submission("bob"), submission("ann"))
    desk.admit(submission("bob"))
    assert desk.store.membership_calls == 1
    desk.clock.advance(3.1)
    desk.admit(submission("bob"))
    assert desk.store.membership_calls == 2


def test_changes_of_this_process_are_seen_at_once_and_joins_always_i9() -> None:
    desk = Desk(GroupSettings(send_interval_ms=0))
    assert desk.code(submission("eve")) is ErrorCode.NOT_A_MEMBER
    desk.store.add_group(settings=GroupSettings(send_interval_ms=0), members=["eve"])
    assert desk.code(submission("eve")) is None
    desk.store.remove_members(GROUP, [UserId("eve")])
    desk.members.forget(GROUP, [UserId("eve")])
    assert desk.code(submission("eve")) is ErrorCode.NOT_A_MEMBER


def test_what_was_read_before_a_change_is_not_kept_i9() -> None:
    desk = Desk(GroupSettings(send_interval_ms=0))
    read = desk.store.get_memberships

    def read_while_it_changes(pairs):
        found = read(pairs)
        desk.store.remove_members(GROUP, [UserId("ann")])
        desk.members.forget(GROUP, [UserId("ann")])
        return found

    desk.store.get_memberships = read_while_it_changes
    desk.admit(submission("ann"))
    desk.store.get_memberships = read
    assert desk.code(submission("ann")) is ErrorCode.NOT_A_MEMBER


def test_an_absent_store_refuses_nobody() -> None:
    desk = Desk()
    desk.store.membership_fault = unavailable("away")
    with pytest.raises(ThrongError):
        desk.admit(submission("ann"))


def test_the_word_list_is_read_from_a_file(tmp_path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeffbad\n\n  Worse \n", encoding="utf-8")
    safety = WordListSafety.from_file(file)
    assert safety.blocks("BADly")
    assert safety.blocks("much worse")
    assert not safety.blocks("good")
    with pytest.raises(ThrongError):
        WordListSafety.from_file(tmp_path / "none.txt")
