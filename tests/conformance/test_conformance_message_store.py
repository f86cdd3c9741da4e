"""`MessageStore`: what stands in its docstring, on every adapter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from conformance_builders import candidate, code_of, seq_of, submission, text_body

from group_svc.ports import Candidate, Committed, DeletedQuery
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind, Position, Submission

G1, G2 = GroupId("g1"), GroupId("g2")
ANN, BOB = UserId("ann"), UserId("bob")
HUGE = 2**64 - 1


@pytest.fixture(autouse=True)
def _groups(stores):
    stores.members.create_group(Group(G1, "One"), owner_id=ANN)
    stores.members.create_group(Group(G2, "Two"), owner_id=ANN)


def commit(stores, *submissions: Submission) -> list:
    return stores.messages.commit([candidate(one) for one in submissions], now_ms=1_000)


def fill(stores, count: int, group: str = "g1", user: str = "ann") -> Sequence[Submission]:
    batch = [submission(group, user, text=f"message {n}") for n in range(count)]
    commit(stores, *batch)
    return batch


def seqs(page) -> list[int]:
    return [message.seq for message in page.messages]


def test_nothing_is_committed_for_no_candidates(stores):
    assert stores.messages.commit([], now_ms=1) == []


def test_seqs_are_dense_per_group_in_the_order_given_i1(stores):
    batch = [submission(group) for group in ("g1", "g2", "g1", "g1", "g2")]
    assert [seq_of(outcome) for outcome in commit(stores, *batch)] == [1, 1, 2, 3, 2]
    assert [seq_of(outcome) for outcome in commit(stores, submission("g2"), submission("g1"))] == [3, 4]
    assert stores.members.get_heads([G1, G2]) == [Position(1, 4), Position(1, 3)]


def test_every_field_of_a_message_is_kept(stores):
    sent = submission(text="déjà vu 你好")
    [outcome] = stores.messages.commit([candidate(sent, lane=Lane.HIGH)], now_ms=1_234)
    [message] = stores.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=10).messages
    assert isinstance(outcome, Committed)
    assert outcome == Committed(Position(1, 1), message, repeated=False, recalled_seq=0)
    assert (message.seq, message.sender_id, message.sender_name, message.client_msg_id) == (1, ANN, "Ann", sent.client_msg_id)
    assert (message.kind, message.lane, message.body, message.sent_at_ms) == (MessageKind.TEXT, Lane.HIGH, sent.body, 1_234)
    assert message.recalled_by_seq == 0


def test_a_body_is_stored_byte_by_byte(stores):
    odd = Submission(G1, ANN, "id-1", MessageKind.CUSTOM, bytes(range(256)) + b"\0", submission().origin, received_at_ms=1)
    commit(stores, odd)
    assert stores.messages.read_before(G1, before_seq=0, limit=1).messages[0].body == odd.body


def test_a_persisted_id_comes_back_with_its_seq_i2(stores):
    first, second = submission(), submission()
    commit(stores, first, second)
    again = commit(stores, second, first)
    assert [(seq_of(outcome), outcome.repeated) for outcome in again] == [(2, True), (1, True)]
    assert again[1].message.sent_at_ms == 1_000
    assert stores.members.get_heads([G1]) == [Position(1, 2)]


def test_the_same_id_twice_in_one_call_is_one_message_i2(stores):
    sent, other = submission(), submission()
    outcomes = commit(stores, sent, other, sent)
    assert [(seq_of(outcome), outcome.repeated) for outcome in outcomes] == [(1, False), (2, False), (1, True)]
    assert seqs(stores.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=10)) == [1, 2]


def test_ids_of_two_senders_are_different_ids(stores):
    outcomes = commit(stores, submission(user="ann", client_msg_id="x"), submission(user="bob", client_msg_id="x"))
    assert [seq_of(outcome) for outcome in outcomes] == [1, 2]


@pytest.mark.parametrize("in_one_call", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        submission(text="other", client_msg_id="x"),
        submission("g2", client_msg_id="x"),
        submission(kind=MessageKind.CUSTOM, client_msg_id="x"),
    ],
    ids=["body", "group", "kind"],
)
def test_an_id_is_not_used_for_something_else(stores, other, in_one_call):
    first = submission(client_msg_id="x")
    outcomes = commit(stores, first, other) if in_one_call else commit(stores, first) + commit(stores, other)
    assert seq_of(outcomes[0]) == 1
    assert code_of(outcomes[1]) is ErrorCode.CLIENT_MSG_ID_REUSED
    assert stores.members.get_heads([G1, G2]) == [Position(1, 1), Position(1, 0)]


def test_a_sender_may_be_renamed_between_two_tries(stores):
    sent = submission()
    commit(stores, sent)
    [again] = stores.messages.commit([Candidate(sent, None, "New Name", Lane.HIGH, Role.OWNER)], now_ms=2_000)
    assert again.repeated
    assert again.message.sender_name == "Ann"


def test_a_refusal_is_handed_on_and_costs_no_seq(stores):
    refusal = ThrongError(ErrorCode.MUTED, "muted", retry_after_ms=5)
    refused, sent = submission(), submission()
    outcomes = stores.messages.commit([candidate(refused, refusal=refusal), candidate(sent)], now_ms=1)
    assert outcomes[0].error is refusal
    assert seq_of(outcomes[1]) == 1
    assert seq_of(commit(stores, refused)[0]) == 2


def test_what_is_persisted_is_acked_again_even_when_the_checks_now_refuse_it_i3(stores):
    sent = submission()
    commit(stores, sent)
    refusal = ThrongError(ErrorCode.NOT_A_MEMBER, "removed since")
    [again] = stores.messages.commit([candidate(sent, refusal=refusal)], now_ms=2)
    assert (seq_of(again), again.repeated) == (1, True)


def test_one_bad_candidate_does_not_disturb_the_others(stores):
    outcomes = commit(stores, submission("nowhere"), submission(), submission("nowhere"))
    assert [code_of(outcomes[0]), seq_of(outcomes[1]), code_of(outcomes[2])] == [
        ErrorCode.GROUP_NOT_FOUND,
        1,
        ErrorCode.GROUP_NOT_FOUND,
    ]


def test_a_large_batch_is_one_call(stores):
    batch = [submission(f"g{1 + n % 2}", f"user-{n % 7}") for n in range(2_500)]
    outcomes = commit(stores, *batch)
    assert [seq_of(outcome) for outcome in outcomes] == [1 + n // 2 for n in range(2_500)]
    again = commit(stores, *batch, submission())
    assert all(outcome.repeated for outcome in again[:-1])
    assert seq_of(again[-1]) == 1_251


def test_ids_differ_by_case(stores):
    stores.members.create_group(Group(GroupId("G1"), "Upper"), owner_id=None)
    outcomes = commit(stores, submission("g1", "ann", client_msg_id="x"), submission("G1", "Ann", client_msg_id="x"))
    assert [seq_of(outcome) for outcome in outcomes] == [1, 1]


@pytest.mark.parametrize(
    ("after_seq", "up_to_seq", "limit", "expected"),
    [
        (0, 0, 100, range(1, 11)),
        (0, 0, 3, range(1, 4)),
        (4, 7, 100, range(5, 8)),
        (4, 7, 2, range(5, 7)),
        (9, 0, 5, range(10, 11)),
        (10, 0, 5, []),
        (7, 7, 5, []),
        (8, 3, 5, []),
        (5, 99, 100, range(6, 11)),
        (99, 0, 5, []),
        (HUGE, HUGE, 5, []),
        (0, HUGE, 100, range(1, 11)),
    ],
)
def test_pages_forward(stores, after_seq, up_to_seq, limit, expected):
    fill(stores, 10)
    fill(stores, 3, "g2")
    page = stores.messages.read_after(G1, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
    assert seqs(page) == list(expected)
    assert (page.epoch, page.head_seq, page.after_seq) == (1, 10, after_seq)


@pytest.mark.parametrize(
    ("before_seq", "limit", "expected"),
    [
        (0, 3, range(8, 11)),
        (0, 100, range(1, 11)),
        (5, 2, range(3, 5)),
        (3, 100, range(1, 3)),
        (1, 5, []),
        (11, 2, range(9, 11)),
        (HUGE, 2, range(9, 11)),
    ],
)
def test_pages_backward(stores, before_seq, limit, expected):
    fill(stores, 10)
    fill(stores, 3, "g2")
    page = stores.messages.read_before(G1, before_seq=before_seq, limit=limit)
    assert seqs(page) == list(expected)
    assert (page.epoch, page.head_seq) == (1, 10)
    assert page.after_seq == (expected[0] - 1 if expected else 0)


def test_pages_join_without_hole_or_overlap(stores):
    fill(stores, 23)
    seen: list[int] = []
    while page := seqs(stores.messages.read_after(G1, after_seq=len(seen), up_to_seq=0, limit=7)):
        seen += page
    back: list[int] = []
    before = 0
    while page := seqs(stores.messages.read_before(G1, before_seq=before, limit=5)):
        back, before = page + back, page[0]
        if before == 1:
            break
    assert seen == back == list(range(1, 24))


def test_an_empty_group_has_empty_pages(stores):
    forward = stores.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=5)
    backward = stores.messages.read_before(G1, before_seq=0, limit=5)
    for page in (forward, backward):
        assert (page.epoch, page.head_seq, page.after_seq, list(page.messages)) == (1, 0, 0, [])


def test_reading_an_unknown_group_says_so(stores):
    nowhere = GroupId("nowhere")
    calls = [
        lambda: stores.messages.read_after(nowhere, after_seq=0, up_to_seq=0, limit=5),
        lambda: stores.messages.read_before(nowhere, before_seq=0, limit=5),
        lambda: stores.messages.countable(nowhere, after_seq=0, exclude_sender=None, limit=5),
    ]
    for call in calls:
        with pytest.raises(ThrongError) as caught:
            call()
        assert caught.value.code is ErrorCode.GROUP_NOT_FOUND


def test_what_counts_as_unread_is_told_newest_first_cut_and_rising(stores):
    commit(stores, *[submission(user=user) for user in ("ann", "bob", "ann", "cid", "bob")])
    countable = stores.messages.countable
    assert countable(G1, after_seq=0, exclude_sender=None, limit=3) == (1, 5, [(3, "ann"), (4, "cid"), (5, "bob")])
    assert countable(G1, after_seq=1, exclude_sender=ANN, limit=9) == (1, 5, [(2, "bob"), (4, "cid"), (5, "bob")])
    assert countable(G1, after_seq=HUGE, exclude_sender=ANN, limit=9) == (1, 5, [])


def test_deleting_for_oneself_is_noted_once_and_for_that_user_alone(stores):
    fill(stores, 6)
    for seq in (5, 2, 4, 2):
        stores.messages.delete_for_user(ANN, G1, seq)
    stores.messages.delete_for_user(BOB, G1, 1)
    deleted = stores.messages.deleted_for_user
    assert deleted(ANN, G1, from_seq=0, limit=10) == [2, 4, 5]
    assert deleted(ANN, G1, from_seq=3, limit=10) == [4, 5]
    assert deleted(ANN, G1, from_seq=0, limit=2) == [4, 5]
    assert deleted(ANN, G1, from_seq=HUGE, limit=2) == []
    assert deleted(BOB, G1, from_seq=0, limit=10) == [1]
    assert deleted(ANN, G2, from_seq=0, limit=10) == []


def test_deletions_of_many_users_are_told_as_those_of_each(stores):
    fill(stores, 6)
    for user, seq in ((ANN, 5), (ANN, 2), (ANN, 4), (BOB, 1)):
        stores.messages.delete_for_user(user, G1, seq)
    queries = [
        DeletedQuery(user, group, from_seq)
        for group in (G1, G2)
        for user in (ANN, BOB, UserId("cid"), ANN)
        for from_seq in (0, 3, 5, 6, HUGE)
    ] + [DeletedQuery(UserId(f"user-{number}"), G1, 0) for number in range(1_000)]
    for limit in (2, 10):
        single = [
            stores.messages.deleted_for_user(one.user_id, one.group_id, from_seq=one.from_seq, limit=limit) for one in queries[:40]
        ]
        assert stores.messages.deleted_for_users(queries, limit=limit) == [*single, *([[]] * 1_000)]
    assert [2, 4, 5] in single
    assert stores.messages.deleted_for_users([], limit=1) == []


@pytest.mark.parametrize(("group", "seq"), [("g1", 7), ("g1", 0), ("nowhere", 1), ("g1", HUGE)])
def test_only_what_exists_can_be_deleted(stores, group, seq):
    fill(stores, 6)
    with pytest.raises(ThrongError) as caught:
        stores.messages.delete_for_user(ANN, GroupId(group), seq)
    assert caught.value.code is ErrorCode.MESSAGE_NOT_FOUND


def test_a_second_opening_of_the_same_tables_sees_and_continues_everything_i2_i3(open_stores, stores):
    sent = fill(stores, 3)
    other = open_stores()
    assert seqs(other.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=9)) == [1, 2, 3]
    assert commit(other, sent[1])[0].repeated
    assert seq_of(commit(other, submission())[0]) == 4
    assert seq_of(commit(stores, submission())[0]) == 5


def test_sizes_up_to_the_limit_are_kept(stores):
    for size, _ in zip((1, 900, 1_100, 4_096, 20_000), itertools.count(), strict=False):
        commit(stores, submission(text="x" * size))
    page = stores.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=10)
    assert [message.body for message in page.messages] == [text_body("x" * size) for size in (1, 900, 1_100, 4_096, 20_000)]
