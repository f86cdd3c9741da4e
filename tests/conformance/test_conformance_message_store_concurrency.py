"""`MessageStore.commit` from many threads over two openings of the same tables (I1, I2), on every adapter."""

from __future__ import annotations

import random
import threading

from conformance_builders import candidate, recall, seq_of, submission

from group_svc.ports import Committed
from throng.domain.group import Group, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position

G1 = GroupId("g1")
THREADS = 8
CALLS = 12
PATIENCE_SECONDS = 90.0


def run_all(target) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            target(number)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def whole_history(store, group_id: GroupId = G1) -> list:
    messages: list = []
    while page := list(store.read_after(group_id, after_seq=len(messages), up_to_seq=0, limit=200).messages):
        messages += page
    return messages


def test_seqs_stay_dense_and_commit_order_is_seq_order_i1(open_stores, stores):
    stores.members.create_group(Group(G1, "One"), owner_id=None)
    ends = [stores.messages, open_stores().messages]
    given: dict[int, list[int]] = {number: [] for number in range(THREADS)}

    def commit(number: int) -> None:
        for call in range(CALLS):
            batch = [candidate(submission(user=f"user-{number}")) for _ in range(1 + (number + call) % 5)]
            given[number] += [seq_of(outcome) for outcome in ends[number % 2].commit(batch, now_ms=1)]

    run_all(commit)
    total = sum(len(seqs) for seqs in given.values())
    assert sorted(seq for seqs in given.values() for seq in seqs) == list(range(1, total + 1))
    assert all(seqs == sorted(seqs) for seqs in given.values())
    assert [message.seq for message in whole_history(ends[1])] == list(range(1, total + 1))
    assert stores.members.get_heads([G1]) == [Position(1, total)]


def test_the_same_ids_from_all_sides_have_one_seq_each_i2(open_stores, stores):
    stores.members.create_group(Group(G1, "One"), owner_id=None)
    ends = [stores.messages, open_stores().messages]
    everything = [submission(user=f"user-{n % 3}", text=str(n)) for n in range(60)]
    seqs: list[dict[str, int]] = [{} for _ in range(THREADS)]
    first_times: list[int] = []

    def commit(number: int) -> None:
        mine = everything.copy()
        random.Random(number).shuffle(mine)
        for start in range(0, len(mine), 5):
            batch = mine[start : start + 5]
            outcomes = ends[number % 2].commit([candidate(one) for one in batch], now_ms=1)
            seqs[number].update({one.client_msg_id: seq_of(outcome) for one, outcome in zip(batch, outcomes, strict=True)})
            first_times.extend(seq_of(outcome) for outcome in outcomes if isinstance(outcome, Committed) and not outcome.repeated)

    run_all(commit)
    assert all(mine == seqs[0] for mine in seqs)
    assert sorted(first_times) == list(range(1, 61))
    assert {message.client_msg_id: message.seq for message in whole_history(stores.messages)} == seqs[0]


def test_one_recall_wins(open_stores, stores):
    stores.members.create_group(Group(G1, "One"), owner_id=UserId("ann"))
    ends = [stores.messages, open_stores().messages]
    ends[0].commit([candidate(submission()) for _ in range(3)], now_ms=1)
    events: list[tuple[int, bool]] = []

    def commit(number: int) -> None:
        [outcome] = ends[number % 2].commit([candidate(recall(2), role=Role.OWNER)], now_ms=1)
        assert isinstance(outcome, Committed)
        events.append((outcome.position.seq, outcome.repeated))

    run_all(commit)
    assert sorted(events) == [(4, False)] + [(4, True)] * (THREADS - 1)
    assert [message.recalled_by_seq for message in whole_history(stores.messages)] == [0, 4, 0, 0]


def test_readers_see_whole_batches_without_holes_while_writers_write(stores):
    stores.members.create_group(Group(G1, "One"), owner_id=None)
    writing = threading.Event()
    writing.set()

    def work(number: int) -> None:
        if number == 0:
            try:
                for _ in range(40):
                    stores.messages.commit([candidate(submission()) for _ in range(10)], now_ms=1)
            finally:
                writing.clear()
            return
        seen = 0
        while writing.is_set():
            page = stores.messages.read_before(G1, before_seq=0, limit=20)
            seqs = [message.seq for message in page.messages]
            assert seqs == list(range(page.after_seq + 1, page.head_seq + 1))
            assert page.head_seq % 10 == 0
            assert page.head_seq >= seen
            seen = page.head_seq

    run_all(work)
    assert len(whole_history(stores.messages)) == 400
