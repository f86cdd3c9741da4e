"""`MessageStore.commit` of recalls, on every adapter."""

from __future__ import annotations

import pytest
from conformance_builders import candidate, code_of, recall, seq_of, submission

from group_svc.ports import Committed
from throng.domain.errors import ErrorCode
from throng.domain.group import Group, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Position

G1 = GroupId("g1")


@pytest.fixture(autouse=True)
def _group(stores):
    stores.members.create_group(Group(G1, "One"), owner_id=UserId("ann"))
    stores.members.create_group(Group(GroupId("g2"), "Two"), owner_id=UserId("ann"))


def commit(stores, *submissions, role: Role = Role.MEMBER):
    return stores.messages.commit([candidate(one, role=role) for one in submissions], now_ms=1_000)


def history(stores):
    return stores.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=100).messages


def test_a_recall_is_an_event_and_blanks_its_target(stores):
    commit(stores, submission(), submission(text="secret"), submission())
    [outcome] = commit(stores, event := recall(2))
    assert isinstance(outcome, Committed)
    assert (outcome.position, outcome.repeated, outcome.recalled_seq) == (Position(1, 4), False, 2)
    messages = history(stores)
    assert [message.recalled_by_seq for message in messages] == [0, 4, 0, 0]
    assert (messages[1].body, messages[1].sender_id, messages[1].kind) == (b"", "ann", MessageKind.TEXT)
    assert (messages[3].kind, messages[3].body) == (MessageKind.RECALL, event.body)


def test_message_and_recall_in_one_call(stores):
    sent, plain = commit(stores, submission(text="secret"), submission())
    assert (seq_of(sent), seq_of(plain)) == (1, 2)
    secret = submission(text="secret")
    outcomes = commit(stores, secret, submission(), recall(3), secret)
    assert [seq_of(outcome) for outcome in outcomes] == [3, 4, 5, 3]
    assert [outcome.recalled_seq for outcome in outcomes] == [0, 0, 3, 0]
    assert outcomes[0].message == outcomes[3].message == history(stores)[2]
    assert (outcomes[0].message.body, outcomes[0].message.recalled_by_seq) == (b"", 5)


def test_a_recall_that_comes_again_is_the_same_event_i2(stores):
    commit(stores, submission())
    event = recall(1)
    commit(stores, event)
    for outcome in commit(stores, event, event):
        assert (outcome.position.seq, outcome.repeated, outcome.recalled_seq) == (2, True, 1)
    assert len(history(stores)) == 2


def test_a_second_recall_of_one_target_stands_where_the_first_does(stores):
    commit(stores, submission())
    outcomes = commit(stores, recall(1), recall(1)) + commit(stores, recall(1))
    assert [(seq_of(outcome), outcome.repeated) for outcome in outcomes] == [(2, False), (2, True), (2, True)]
    assert {outcome.message.client_msg_id for outcome in outcomes} == {outcomes[0].message.client_msg_id}
    assert len(history(stores)) == 2


@pytest.mark.parametrize("target", [0, 9, 2**64 - 1])
def test_a_recall_of_nothing_is_refused(stores, target):
    commit(stores, submission())
    assert code_of(commit(stores, recall(target))[0]) is ErrorCode.MESSAGE_NOT_FOUND
    assert len(history(stores)) == 1


def test_a_message_of_another_group_is_nothing(stores):
    commit(stores, submission("g2"))
    assert code_of(commit(stores, recall(1))[0]) is ErrorCode.MESSAGE_NOT_FOUND


def test_neither_a_recall_nor_the_system_can_be_recalled(stores):
    commit(stores, submission(), recall(1), submission(kind=MessageKind.SYSTEM))
    outcomes = commit(stores, recall(2), recall(3), role=Role.OWNER)
    assert [code_of(outcome) for outcome in outcomes] == [ErrorCode.MESSAGE_NOT_FOUND] * 2


@pytest.mark.parametrize(
    ("role", "allowed"), [(Role.MEMBER, False), (Role.NONE, False), (Role.ADMINISTRATOR, True), (Role.OWNER, True)]
)
def test_others_messages_are_recalled_by_moderators_alone(stores, role, allowed):
    commit(stores, submission(user="ann"))
    [outcome] = commit(stores, recall(1, user="bob"), role=role)
    if allowed:
        assert seq_of(outcome) == 2
    else:
        assert code_of(outcome) is ErrorCode.PERMISSION_DENIED
    assert (history(stores)[0].recalled_by_seq == 2) is allowed


def test_a_stranger_learns_nothing_from_a_message_that_is_recalled_already(stores):
    commit(stores, submission(user="ann"), recall(1, user="ann"))
    assert code_of(commit(stores, recall(1, user="bob"))[0]) is ErrorCode.PERMISSION_DENIED


def test_a_blanked_message_is_acked_again_without_its_body_being_compared(stores):
    sent = submission(text="first", client_msg_id="x")
    commit(stores, sent, recall(1))
    again, other = commit(stores, sent, submission(text="other", client_msg_id="x"))
    assert (seq_of(again), again.repeated, again.message.recalled_by_seq) == (1, True, 2)
    assert (seq_of(other), other.repeated) == (1, True)
    assert code_of(commit(stores, submission("g2", client_msg_id="x"))[0]) is ErrorCode.CLIENT_MSG_ID_REUSED


def test_neither_recall_events_nor_recalled_messages_count_as_unread_i7(stores):
    commit(stores, submission(), submission(), submission(kind=MessageKind.SYSTEM), recall(1))
    assert stores.messages.countable(G1, after_seq=0, exclude_sender=None, limit=10) == (1, 4, [(2, "ann"), (3, "ann")])


def test_a_recall_survives_reopening(open_stores, stores):
    commit(stores, submission(), recall(1))
    [target, event] = history(open_stores())
    assert (target.body, target.recalled_by_seq, event.kind) == (b"", 2, MessageKind.RECALL)
