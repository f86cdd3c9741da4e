"""GroupApp with its real stores and real gRPC: what it answers, publishes, and refuses."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterator

import pytest
from group_bench import FakeRouter, GroupBench, code_of, record

from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import message_pb2 as m
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[GroupBench]:
    running = GroupBench(tmp_path)
    yield running
    running.stop()


def test_what_an_edge_appends_comes_back_as_ack_and_block(bench: GroupBench) -> None:
    bench.create("g", "ann")
    msg_id = str(uuid.uuid4())
    batches = [
        uplink_pb2.AppendRequest(batch_id=1, records=[record("ann", msg_id), record("eve", request_id=2)]),
        uplink_pb2.AppendRequest(batch_id=2, records=[record("ann", msg_id, request_id=3), record("ann", "no uuid")]),
    ]
    responses = list(bench.uplink.Append(iter(batches), timeout=10))
    assert [(one.batch_id, [failure.index for failure in one.failures]) for one in responses] == [(1, []), (2, [1])]
    bench.router.wait(lambda: len(bench.router.answers()) == 3)
    answers = {answer.request_id: answer for answer in bench.router.answers()}
    assert answers[1].ack.seq == answers[3].ack.seq == 1
    assert answers[1].conn_id == "c9"
    assert answers[2].reject.code == ErrorCode.NOT_A_MEMBER
    bench.router.wait(bench.router.seqs)
    assert bench.router.seqs() == [1]
    bench.router.wait(lambda: bench.router.observations)
    (seen,) = bench.router.observations
    assert (seen.prev_seq, seen.head_seq, [(one.seq, one.sender_id) for one in seen.added]) == (0, 1, [(1, "ann")])


def test_send_message_answers_with_the_position_i3(bench: GroupBench) -> None:
    bench.create("g", "ann")
    msg_id = str(uuid.uuid4())
    first = bench.send("ann", msg_id=msg_id)
    assert (first.position.epoch, first.position.seq) == (1, 1)
    assert bench.send("ann", msg_id=msg_id.upper()) == first
    assert bench.send("ann").position.seq == 2
    page = bench.page()
    assert [(one.seq, one.sender_name, one.text.text) for one in page.messages] == [(1, "Ann", "hi"), (2, "Ann", "hi")]
    bench.router.wait(lambda: bench.router.seqs() == [1, 2])
    assert bench.router.answers() == [], "callers in this process are answered here"


def test_refusals_of_send_message(bench: GroupBench, tmp_path: pathlib.Path) -> None:
    bench.create("g", "ann", "bob", "muted", send_interval_ms=60_000, budget_per_second=1)
    bench.create("other", "ann")
    later = 2**42
    request = g.UpdateMemberRequest(group_id="g", user_id="muted", muted_until_ms=later)
    assert bench.groups.UpdateMember(request, timeout=5).member.muted_until_ms == later
    msg_id = str(uuid.uuid4())
    bench.send("ann", msg_id=msg_id)
    assert code_of(lambda: bench.send("ann")) is ErrorCode.RATE_LIMITED
    assert code_of(lambda: bench.send("bob")) is ErrorCode.GROUP_BUSY
    assert code_of(lambda: bench.send("eve")) is ErrorCode.NOT_A_MEMBER
    assert code_of(lambda: bench.send("muted")) is ErrorCode.MUTED
    assert code_of(lambda: bench.send("ann", group_id="none")) is ErrorCode.GROUP_NOT_FOUND
    assert code_of(lambda: bench.send("ann", " ")) is ErrorCode.EMPTY_MESSAGE
    assert code_of(lambda: bench.send("ann", "x" * 4_001)) is ErrorCode.TOO_LARGE
    assert code_of(lambda: bench.send("ann", msg_id="7")) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: bench.send("a b")) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: bench.send("ann", "other words", msg_id=msg_id)) is ErrorCode.CLIENT_MSG_ID_REUSED
    assert code_of(lambda: bench.send("ann", msg_id=msg_id, group_id="other")) is ErrorCode.CLIENT_MSG_ID_REUSED
    assert bench.send("ann", unlimited=True).position.seq == 2
    assert bench.page().head_seq == 2


def test_the_word_list(tmp_path: pathlib.Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Rubbish\n", encoding="utf-8")
    bench = GroupBench(tmp_path, word_list_file=words)
    try:
        bench.create("g", "ann")
        assert code_of(lambda: bench.send("ann", "what RUBBISH")) is ErrorCode.BLOCKED_CONTENT
        assert bench.send("ann", "fine").position.seq == 1
    finally:
        bench.stop()


def test_recall(bench: GroupBench) -> None:
    bench.create("g", "ann", "bob")
    bench.send("ann", "secret")

    def recall(user: str, seq: int) -> int:
        request = m.RecallMessageRequest(group_id="g", user_id=user, seq=seq)
        return bench.messages.RecallMessage(request, timeout=5).position.seq

    assert code_of(lambda: recall("bob", 1)) is ErrorCode.PERMISSION_DENIED
    assert code_of(lambda: recall("ann", 9)) is ErrorCode.MESSAGE_NOT_FOUND
    assert code_of(lambda: recall("ann", 0)) is ErrorCode.MESSAGE_NOT_FOUND
    assert code_of(lambda: recall("eve", 1)) is ErrorCode.NOT_A_MEMBER
    assert recall("ann", 1) == 2
    assert recall("ann", 1) == 2
    blanked, event = bench.page().messages
    assert (blanked.WhichOneof("content"), blanked.recalled_by_seq, event.recall.target_seq) == (None, 2, 1)
    bench.router.wait(lambda: any(1 in one.removed_seqs for one in bench.router.observations))
    countable = bench.messages.ListCountable(m.ListCountableRequest(group_id="g"), timeout=5)
    assert (list(countable.messages), countable.head_seq) == ([], 2)


def test_pages_and_their_limits(bench: GroupBench) -> None:
    bench.create("g", "ann")
    for _ in range(5):
        bench.send("ann")
    for _ in range(2):  # from the store, then from the cache
        assert [one.seq for one in bench.page(limit=2).messages] == [4, 5]
        assert [one.seq for one in bench.page(before_seq=3).messages] == [1, 2]
        assert [one.seq for one in bench.page(after_seq=1, up_to_seq=3).messages] == [2, 3]
        assert [one.seq for one in bench.page(after_seq=0, limit=2).messages] == [1, 2]
    assert (bench.page(after_seq=5).after_seq, bench.page(after_seq=5).head_seq) == (5, 5)
    assert bench.page(epoch=1).epoch == 1
    assert code_of(lambda: bench.page(epoch=2)) is ErrorCode.EPOCH_MISMATCH
    assert code_of(lambda: bench.page(limit=201)) is ErrorCode.LIMIT_EXCEEDED
    assert code_of(lambda: bench.page(after_seq=1, before_seq=3)) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: bench.page(after_seq=3, up_to_seq=2)) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: bench.page(after_seq=2**60)) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: bench.page("none")) is ErrorCode.GROUP_NOT_FOUND
    hits = bench.registry.get_sample_value("throng_group_recent_reads_total", {"result": "hit"})
    assert hits is not None
    assert hits > 0


def test_delete_for_me(bench: GroupBench) -> None:
    bench.create("g", "ann", "bob")
    for _ in range(3):
        bench.send("ann")

    def delete(user: str, seq: int) -> None:
        bench.messages.DeleteMessageForUser(m.DeleteMessageForUserRequest(group_id="g", user_id=user, seq=seq), timeout=5)

    delete("bob", 2)
    assert code_of(lambda: delete("bob", 9)) is ErrorCode.MESSAGE_NOT_FOUND
    assert code_of(lambda: delete("eve", 2)) is ErrorCode.NOT_A_MEMBER
    assert list(bench.page(for_user_id="bob").deleted_seqs) == [2]
    assert list(bench.page(for_user_id="ann").deleted_seqs) == []
    listed = bench.messages.ListDeleted(m.ListDeletedRequest(group_id="g", user_id="bob", from_seq=1), timeout=5)
    assert list(listed.seqs) == [2]


def test_deletions_of_many_users_in_one_call(bench: GroupBench) -> None:
    bench.create("g", "ann", "bob")
    for _ in range(4):
        bench.send("ann")
    for user, seq in (("bob", 2), ("bob", 4), ("ann", 3)):
        bench.messages.DeleteMessageForUser(m.DeleteMessageForUserRequest(group_id="g", user_id=user, seq=seq), timeout=5)

    def listed(*asked: m.ListDeletedRequest) -> list[list[int]]:
        response = bench.messages.BatchListDeleted(m.BatchListDeletedRequest(requests=asked), timeout=5)
        return [list(result.seqs) for result in response.results]

    bob = m.ListDeletedRequest(group_id="g", user_id="bob", from_seq=1)
    last_of_bob = m.ListDeletedRequest(group_id="g", user_id="bob", from_seq=1, limit=1)
    ann = m.ListDeletedRequest(group_id="g", user_id="ann", from_seq=4)
    nobody = m.ListDeletedRequest(group_id="none", user_id="eve")
    assert listed(bob, nobody, last_of_bob, ann) == [[2, 4], [], [4], []]
    assert code_of(lambda: listed()) is ErrorCode.INVALID_ARGUMENT
    assert code_of(lambda: listed(*[bob] * 1_001)) is ErrorCode.LIMIT_EXCEEDED


def test_groups_and_members(bench: GroupBench) -> None:
    request = g.CreateGroupRequest(group_id="g", name=" Friends ", owner_id="ann")
    group = bench.groups.CreateGroup(request, timeout=5).group
    assert (group.name, group.epoch, group.member_count, group.settings.send_interval_ms) == ("Friends", 1, 1, 1_000)
    assert code_of(lambda: bench.groups.CreateGroup(request, timeout=5)) is ErrorCode.GROUP_EXISTS
    wrong = g.CreateGroupRequest(group_id="h", settings=common.GroupSettings(block_max_messages=101))
    assert code_of(lambda: bench.groups.CreateGroup(wrong, timeout=5)) is ErrorCode.INVALID_ARGUMENT
    long = g.CreateGroupRequest(group_id="h", name="x" * 101)
    assert code_of(lambda: bench.groups.CreateGroup(long, timeout=5)) is ErrorCode.TOO_LARGE
    update = g.UpdateGroupRequest(group_id="g", announcement="hear", settings=common.GroupSettings(send_interval_ms=0, open=True))
    changed = bench.groups.UpdateGroup(update, timeout=5).group
    assert (changed.announcement, changed.settings.open, changed.settings.budget_per_second) == ("hear", True, 20)
    bench.router.wait(lambda: any(event.group_changed.announcement == "hear" for event in bench.router.events))
    members = [common.Member(user_id=f"u{number}") for number in range(3)]
    added = bench.groups.AddMembers(g.AddMembersRequest(group_id="g", members=members), timeout=5)
    assert (added.added, added.member_count) == (3, 4)
    page = bench.groups.ListMembers(g.ListMembersRequest(group_id="g", limit=2), timeout=5)
    assert ([member.user_id for member in page.members], page.more) == (["ann", "u0"], True)
    too_many = g.ListMembersRequest(group_id="g", limit=1_001)
    assert code_of(lambda: bench.groups.ListMembers(too_many, timeout=5)) is ErrorCode.LIMIT_EXCEEDED
    owner = g.RemoveMembersRequest(group_id="g", user_ids=["ann"])
    assert code_of(lambda: bench.groups.RemoveMembers(owner, timeout=5)) is ErrorCode.CONFLICT
    mine = bench.groups.ListUserGroups(g.ListUserGroupsRequest(user_id="ann"), timeout=5)
    assert [(one.group.group_id, one.member.role) for one in mine.groups] == [("g", common.ROLE_OWNER)]
    listed = bench.groups.ListGroups(g.ListGroupsRequest(limit=1), timeout=5)
    assert ([one.group_id for one in listed.groups], listed.more) == (["g"], True)
    none = g.RemoveMembersRequest(group_id="g")
    assert code_of(lambda: bench.groups.RemoveMembers(none, timeout=5)) is ErrorCode.INVALID_ARGUMENT


def test_a_removed_member_is_told_to_edges_and_cannot_send_i9(bench: GroupBench) -> None:
    bench.create("g", "ann", "bob")
    bench.send("bob")
    bench.groups.RemoveMembers(g.RemoveMembersRequest(group_id="g", user_ids=["bob"]), timeout=5)
    assert code_of(lambda: bench.send("bob")) is ErrorCode.NOT_A_MEMBER
    bench.router.wait(lambda: any(event.member_change.user_id == "bob" for event in bench.router.events))
    request = g.GetMemberRequest(group_id="g", user_id="bob")
    assert code_of(lambda: bench.groups.GetMember(request, timeout=5)) is ErrorCode.NOT_A_MEMBER


def test_entering_reading_members_and_heads(bench: GroupBench) -> None:
    bench.create("g", "ann")
    bench.send("ann")
    entries = [
        g.EnterRequest(user_id="bob", group_id="lobby", display_name="Bob"),
        g.EnterRequest(user_id="bob", group_id="g"),
        g.EnterRequest(user_id="b b", group_id="g"),
        g.EnterRequest(user_id="ann", group_id="g"),
    ]
    keys = [g.MemberKey(user_id=entry.user_id, group_id=entry.group_id) for entry in (entries[0], entries[1], entries[3])]
    before = bench.groups.BatchGetMembers(g.BatchGetMembersRequest(keys=keys), timeout=5).results
    assert [one.error.code for one in before] == [ErrorCode.NOT_A_MEMBER, ErrorCode.NOT_A_MEMBER, 0]
    results = bench.groups.BatchEnter(g.BatchEnterRequest(entries=entries), timeout=5).results
    assert results[0].entered.member.display_name == "Bob"
    assert results[0].entered.group.member_count == 1
    assert [one.error.code for one in results[1:]] == [ErrorCode.NOT_A_MEMBER, ErrorCode.INVALID_ARGUMENT, 0]
    assert results[3].entered.group.head_seq == 1
    after = bench.groups.BatchGetMembers(g.BatchGetMembersRequest(keys=keys[:1]), timeout=5).results
    assert after[0].entered.member.display_name == "Bob"
    many = g.BatchGetMembersRequest(keys=keys[:1] * 1_001)
    assert code_of(lambda: bench.groups.BatchGetMembers(many, timeout=5)) is ErrorCode.LIMIT_EXCEEDED
    for _ in range(2):
        heads = bench.groups.GetHeads(g.GetHeadsRequest(group_ids=["g", "none", "lobby"]), timeout=5).heads
        assert [(one.epoch, one.head_seq) for one in heads] == [(1, 1), (0, 0), (1, 0)]


def blocks_of(router: FakeRouter, group_id: str) -> list[list[int]]:
    events = [event for event in router.events if event.WhichOneof("event") == "block"]
    blocks = [pb.Block.FromString(event.block) for event in events]
    return [[message.seq for message in block.messages] for block in blocks if block.group_id == group_id]


def test_blocks_follow_each_groups_settings_and_their_changes(tmp_path: pathlib.Path) -> None:
    bench = GroupBench(tmp_path, membership_ttl_seconds=0)
    try:
        bench.create("hot", "ann", block_max_messages=5, block_interval_ms=10_000)
        bench.create("each", "ann", block_max_messages=1)
        bench.send("ann", group_id="hot")
        bench.router.wait(lambda: blocks_of(bench.router, "hot") == [[1]])  # quiet until now: at once
        for _ in range(7):
            bench.send("ann", group_id="hot")
            bench.send("ann", group_id="each")
        bench.router.wait(lambda: blocks_of(bench.router, "hot") == [[1], [2, 3, 4, 5, 6]])
        bench.router.wait(lambda: blocks_of(bench.router, "each") == [[seq] for seq in range(1, 8)])
        settings = common.GroupSettings(send_interval_ms=0, budget_per_second=0, block_max_messages=2, block_interval_ms=10_000)
        bench.groups.UpdateGroup(g.UpdateGroupRequest(group_id="hot", settings=settings), timeout=5)
        bench.send("ann", group_id="hot")
        bench.router.wait(lambda: blocks_of(bench.router, "hot")[2:] == [[7, 8], [9]])
        for _ in range(2):
            bench.send("ann", group_id="hot")
        bench.router.wait(lambda: blocks_of(bench.router, "hot")[4:] == [[10, 11]])
    finally:
        bench.stop()
