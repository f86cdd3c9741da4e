"""The whole write path over fakes: faults of the store, duplicates, restarts (I1 to I4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from group_fakes import (
    FREE,
    GROUP,
    FakeRecent,
    FakeStore,
    NobodyElse,
    NobodyWaits,
    RecordingPublisher,
    new_id,
    recall,
    submission,
    text_body,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication
from group_svc.write_path import WritePath, WritePathPorts
from throng.adapters.memory_uplink import MemoryUplink
from throng.adapters.system_clock import SystemClock
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import GroupSettings
from throng.domain.message import Submission


class Cluster:
    """One write path at a time over stores that outlive it."""

    def __init__(self, *, settings: GroupSettings = FREE, members: str = "abcdef") -> None:
        self.store, self.recent, self.out = FakeStore(), FakeRecent(), RecordingPublisher()
        self.store.add_group(settings=settings, members=list(members))
        self.registry = CollectorRegistry()

    @contextlib.contextmanager
    def running(self, *, lanes: int = 3, drain_seconds: float = 5.0) -> Iterator[MemoryUplink]:
        uplink = MemoryUplink()
        ports = WritePathPorts(
            consumer=uplink,
            messages=self.store,
            groups=self.store,
            recent=self.recent,
            publisher=self.out,
            observer=self.out,
            waiters=NobodyWaits(),
            forwarder=NobodyElse(),
            inspector=ProtoBodyInspector(),
            safety=WordListSafety(()),
            clock=SystemClock(),
        )
        self.registry = CollectorRegistry()
        self.path = path = WritePath(ports, GroupMetrics(self.registry), lanes=lanes)
        path.start()
        try:
            yield uplink
        finally:
            path.stop(drain_seconds)
            path.stop(drain_seconds)

    def submit(self, uplink: MemoryUplink, *submissions: Submission) -> None:
        for one in submissions:
            uplink.append(one, lambda error: None)

    def check_order(self, submitted: list[Submission]) -> None:
        """I1: dense; I2: once; I4: each user's order is that of the first submission of each id."""
        messages = self.store.messages[GROUP]
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
        ids = [(message.sender_id, message.client_msg_id) for message in messages]
        assert len(ids) == len(set(ids))
        wanted = list(dict.fromkeys((one.user_id, one.client_msg_id) for one in submitted))
        for user in {user for user, _ in wanted}:
            assert [one for one in ids if one[0] == user] == [one for one in wanted if one[0] == user]

    def check_blocks(self) -> None:
        """Blocks show every message once, in order, as persisted."""
        seqs = [message.seq for block in self.out.blocks for message in block.messages]
        assert seqs == list(range(1, len(self.store.messages[GROUP]) + 1))
        assert all(block.prev_seq == block.messages[0].seq - 1 for block in self.out.blocks)
        assert self.out.observed == self.out.blocks


def test_duplicates_have_one_seq_one_block_and_an_ack_each_i2() -> None:
    cluster = Cluster()
    one, other = submission("a"), submission("b")
    with cluster.running() as uplink:
        cluster.submit(uplink, one, other, one, one)
        answers = cluster.out.wait_answers(4)
    positions = {answer.position for answer in answers if answer.client_msg_id == one.client_msg_id}
    assert len(positions) == 1
    cluster.check_order([one, other])
    cluster.check_blocks()


def test_whoever_has_an_ack_reads_what_was_acked() -> None:
    cluster = Cluster()
    seen: list[tuple[int, int, int]] = []

    def publish(items, publish=cluster.out.publish):
        for answer in items:
            if isinstance(answer, AnswerPublication) and answer.position is not None:
                page = cluster.path.history.read_before(GROUP, before_seq=0, limit=50)
                (head,) = cluster.path.history.heads([GROUP])
                seen.append((answer.position.seq, page.messages[-1].seq, head.seq))
        publish(items)

    cluster.out.publish = publish
    with cluster.running() as uplink:
        for count in range(1, 6):  # from the second on the cache is read, which is a message behind when the ACK goes out
            cluster.submit(uplink, submission("a"))
            cluster.out.wait_answers(count)
    assert seen == [(seq, seq, seq) for seq in range(1, 6)]


def test_a_store_that_is_away_loses_nothing_and_keeps_order_i3_i4() -> None:
    cluster = Cluster()
    cluster.store.faults = [unavailable("away")] * 4
    submitted = [submission(user) for _ in range(50) for user in "abc"]
    with cluster.running() as uplink:
        cluster.submit(uplink, *submitted)
        answers = cluster.out.wait_answers(150)
    assert all(answer.position is not None for answer in answers)
    cluster.check_order(submitted)
    cluster.check_blocks()


def test_no_ack_without_a_commit_when_stopped_in_an_outage_i3() -> None:
    cluster = Cluster()
    cluster.store.faults = [unavailable("away")] * 10_000
    submitted = [submission("a") for _ in range(5)]
    with cluster.running(drain_seconds=0.3) as uplink:
        cluster.submit(uplink, *submitted)
    assert cluster.out.answers == []
    cluster.store.faults = []
    with cluster.running() as uplink:
        cluster.submit(uplink, *submitted)
        cluster.out.wait_answers(5)
    cluster.check_order(submitted)


def test_a_commit_that_was_done_but_not_reported_is_published_and_acked_i2() -> None:
    cluster = Cluster()
    cluster.store.after_commit = [unavailable("connection lost after COMMIT")]
    one = submission("a")
    with cluster.running() as uplink:
        cluster.submit(uplink, one)
        (answer,) = cluster.out.wait_answers(1)
        assert answer.position is not None
        cluster.submit(uplink, submission("b"))
        cluster.out.wait_answers(2)
    cluster.check_blocks()


def test_after_a_crash_before_publishing_a_resend_publishes_the_head() -> None:
    cluster = Cluster()
    one, two = submission("a"), submission("b")
    with cluster.running() as uplink:
        cluster.submit(uplink, one, two)
        cluster.out.wait_answers(2)
    cluster.out.items.clear()
    with cluster.running() as uplink:
        cluster.submit(uplink, one)
        cluster.submit(uplink, two)
        cluster.out.wait_answers(2)
        head = cluster.store.messages[GROUP][-1]
        cluster.submit(uplink, one, two)
        cluster.out.wait_answers(4)
    assert [message.seq for block in cluster.out.blocks for message in block.messages] == [head.seq]


def test_what_cannot_be_stored_is_refused_alone() -> None:
    cluster = Cluster()
    submitted = [submission("a") for _ in range(20)]
    poison = submitted[7].client_msg_id
    cluster.store.poison = lambda candidate: candidate.submission.client_msg_id == poison
    with cluster.running() as uplink:
        cluster.submit(uplink, *submitted)
        answers = cluster.out.wait_answers(20)
    refused = [answer for answer in answers if answer.error is not None]
    assert [(answer.client_msg_id, answer.error.code) for answer in refused] == [(poison, ErrorCode.INTERNAL)]
    cluster.check_order([one for one in submitted if one.client_msg_id != poison])


def test_a_defect_of_the_store_is_not_the_end_of_the_writer() -> None:
    cluster = Cluster()
    cluster.store.faults = [RuntimeError("defect")]
    with cluster.running() as uplink:
        cluster.submit(uplink, submission("a"))
        (answer,) = cluster.out.wait_answers(1)
        assert answer.error.code is ErrorCode.INTERNAL
        cluster.submit(uplink, submission("a"))
        assert cluster.out.wait_answers(2)[1].position is not None


def test_a_rate_limited_resend_of_a_persisted_message_is_acked_again_i2() -> None:
    cluster = Cluster(settings=GroupSettings(send_interval_ms=60_000, budget_per_second=0))
    first = submission("a")
    with cluster.running() as uplink:
        cluster.submit(uplink, first)
        cluster.out.wait_answers(1)
    with cluster.running() as uplink:  # the new life knows no intervals: another message takes it, the resend comes later
        cluster.submit(uplink, submission("a"), first, submission("a"))
        answers = cluster.out.wait_answers(4)
    assert [answer.error and answer.error.code for answer in answers] == [None, None, None, ErrorCode.RATE_LIMITED]
    assert answers[2].position == answers[0].position


def test_memberships_that_cannot_be_read_refuse_nobody() -> None:
    cluster = Cluster()
    cluster.store.membership_fault = unavailable("away")
    with cluster.running() as uplink:
        cluster.submit(uplink, submission("a"))
        with cluster.out.changed:
            assert not cluster.out.changed.wait_for(lambda: cluster.out.items, 0.3)
        cluster.store.membership_fault = None
        assert cluster.out.wait_answers(1)[0].position is not None


@pytest.mark.parametrize("lanes", [0, 1])
def test_a_membership_that_can_never_be_read_refuses_its_message_alone(lanes: int) -> None:
    cluster = Cluster()
    read = cluster.store.get_memberships

    def broken(pairs):
        if any(user == "b" for _, user in pairs):
            raise ThrongError(ErrorCode.INTERNAL, "cannot be read")
        return read(pairs)

    cluster.store.get_memberships = broken
    with cluster.running(lanes=lanes) as uplink:
        cluster.submit(uplink, submission("a"), submission("b"), submission("c"))
        answers = cluster.out.wait_answers(3)
    assert {answer.error.code for answer in answers if answer.error} == {ErrorCode.INTERNAL}
    assert len(cluster.store.messages[GROUP]) == 2


def test_a_recall_blanks_what_waits_and_what_is_cached() -> None:
    cluster = Cluster(settings=GroupSettings(send_interval_ms=0, block_max_messages=100, block_interval_ms=10_000))
    with cluster.running() as uplink:
        cluster.submit(uplink, submission("a"))
        cluster.out.wait_answers(1)
        cluster.submit(uplink, submission("a"), submission("a"))
        cluster.out.wait_answers(3)
        cluster.submit(uplink, recall("a", 3))
        cluster.out.wait_answers(4)
    cluster.check_blocks()
    shown = {message.seq: message for block in cluster.out.blocks for message in block.messages}
    assert (shown[3].body, shown[3].recalled_by_seq) == (b"", 4)
    assert cluster.recent.pages[GROUP][3].body == b""
    assert [seq for block in cluster.out.blocks for seq in block.recalled] == [3]


def test_metrics_tell_what_happened() -> None:
    cluster = Cluster()
    one = submission("a")
    with cluster.running() as uplink:
        cluster.submit(uplink, one, one, submission("nobody"))
        cluster.out.wait_answers(3)
    value = cluster.registry.get_sample_value
    assert value("throng_group_submissions_total", {"outcome": "stored"}) == 1
    assert value("throng_group_submissions_total", {"outcome": "repeated"}) == 1
    assert value("throng_group_submissions_total", {"outcome": "not_a_member"}) == 1
    assert value("throng_group_queue_depth_items", {"queue": "commit"}) == 0
    assert value("throng_group_uplink_lag_records") == 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 5),
    st.lists(st.sampled_from(["before", "after"]), max_size=3),
)
def test_random_schedules_keep_i1_i2_i4(schedule: list[tuple[str, int, bool]], lanes: int, faults: list[str]) -> None:
    """Several users over lanes, with resends of earlier messages, mentions (HIGH lane), and a store that goes away."""
    cluster = Cluster()
    cluster.store.faults = [unavailable("away") for fault in faults if fault == "before"]
    cluster.store.after_commit = [unavailable("away") for fault in faults if fault == "after"]
    sent: dict[str, list[Submission]] = {}
    submitted: list[Submission] = []
    for user, back, mention in schedule:
        mine = sent.setdefault(user, [])
        if 0 < back <= len(mine):
            submitted.append(mine[-back])
            continue
        body = text_body(f"{user} {len(mine)}", mentions=["a"] if mention else [])
        mine.append(submission(user, body=body, client_msg_id=new_id()))
        submitted.append(mine[-1])
    with cluster.running(lanes=lanes) as uplink:
        cluster.submit(uplink, *submitted)
        answers = cluster.out.wait_answers(len(submitted))
    cluster.check_order(submitted)
    cluster.check_blocks()
    stood = {(message.sender_id, message.client_msg_id): message.seq for message in cluster.store.messages[GROUP]}
    positions = {answer.client_msg_id: answer.position.seq for answer in answers}
    assert positions == {client_msg_id: seq for (_, client_msg_id), seq in stood.items()}


@pytest.mark.parametrize("lanes", [0, 1, 4])
def test_a_full_path_holds_back_and_loses_nothing_i8(lanes: int) -> None:
    cluster = Cluster()
    submitted = [submission(user) for _ in range(1_500) for user in "abcd"]
    with cluster.running(lanes=lanes) as uplink:
        with cluster.store.lock:
            cluster.submit(uplink, *submitted)
        cluster.out.wait_answers(len(submitted), 60.0)
    cluster.check_order(submitted)
    cluster.check_blocks()
