"""Blocks: the first after a quiet interval at once, then by number or age, always consecutive."""

from __future__ import annotations

from group_fakes import GROUP, stored
from hypothesis import given
from hypothesis import strategies as st

from group_svc.core.blocks import MAX_BLOCK_BYTES, BlockFormer
from group_svc.ports import BlockPublication
from throng.domain.group import GroupSettings
from throng.domain.ids import GroupId

SETTINGS = GroupSettings(block_max_messages=3, block_interval_ms=1_000)


def add(former: BlockFormer, seqs: list[int], now: float, settings: GroupSettings = SETTINGS, recalls=()) -> list[list[int]]:
    return seqs_of(former.add(GROUP, 1, [stored(seq) for seq in seqs], recalls, settings, now))


def seqs_of(blocks: list[BlockPublication]) -> list[list[int]]:
    return [[message.seq for message in block.messages] for block in blocks]


def test_first_after_a_quiet_interval_goes_at_once_and_the_next_ones_wait() -> None:
    former = BlockFormer()
    assert add(former, [1], 10.0) == [[1]]
    assert add(former, [2], 10.2) == []
    assert former.next_deadline() == 11.0
    assert former.due(10.9) == []
    assert seqs_of(former.due(11.0)) == [[2]]
    assert former.waiting == 0
    assert add(former, [3], 12.0) == [[3]]


def test_a_full_block_goes_before_its_time() -> None:
    former = BlockFormer()
    add(former, [1], 10.0)
    assert add(former, [2, 3], 10.1) == []
    assert add(former, [4], 10.2) == [[2, 3, 4]]
    assert seqs_of(former.due(11.1)) == []
    assert add(former, [5], 10.3 + 0.85) == []
    assert seqs_of(former.due(11.2)) == [[5]], "an interval after the full one, however young it is"


def test_no_waiting_sends_what_was_committed_together() -> None:
    for settings in (
        GroupSettings(block_max_messages=0),
        GroupSettings(block_max_messages=1),
        GroupSettings(block_interval_ms=0),
    ):
        former = BlockFormer()
        assert add(former, [1], 10.0, settings) == [[1]]
        assert add(former, [2, 3, 4, 5], 10.0, settings) == [[2, 3, 4, 5]]
        assert former.next_deadline() is None


def test_a_gap_or_another_epoch_flushes_first() -> None:
    former = BlockFormer()
    add(former, [1], 10.0)
    assert add(former, [2, 4], 10.1) == [[2]]
    ready = former.add(GROUP, 2, [stored(1)], (), SETTINGS, 10.2)
    assert [(block.epoch, block.prev_seq) for block in ready] == [(1, 3)]


def test_a_large_block_is_split() -> None:
    former = BlockFormer()
    body = b"x" * (MAX_BLOCK_BYTES // 2)
    ready = former.add(GROUP, 1, [stored(seq, body=body) for seq in (1, 2, 3)], (), SETTINGS, 10.0)
    assert seqs_of(ready) == [[1], [2], [3]]


def test_a_message_recalled_before_its_block_goes_leaves_without_its_body() -> None:
    former = BlockFormer()
    add(former, [1], 10.0)
    add(former, [2], 10.1)
    ready = former.add(GROUP, 1, [stored(3), stored(4)], [(2, 3)], SETTINGS, 10.2)
    first = ready[0].messages[0]
    assert (first.seq, first.body, first.recalled_by_seq) == (2, b"", 3)
    assert list(ready[0].recalled) == [2]


def test_quiet_groups_are_forgotten_i8() -> None:
    former = BlockFormer()
    for number in range(500):
        former.add(GroupId(f"g{number}"), 1, [stored(1)], (), SETTINGS, float(number))
    assert former.groups < 30


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 1_500), st.booleans()), max_size=30),
    st.integers(0, 5),
    st.sampled_from([0, 100, 1_000]),
)
def test_blocks_are_consecutive_complete_and_in_time(steps: list[tuple[int, int, bool]], most: int, interval_ms: int) -> None:
    settings = GroupSettings(block_max_messages=most, block_interval_ms=interval_ms)
    former = BlockFormer()
    now, seq = 10.0, 0
    sent: list[BlockPublication] = []
    added_at: dict[int, float] = {}
    for count, pause_ms, one_by_one in steps:
        seqs = list(range(seq + 1, seq + count + 1))
        seq += count
        added_at |= dict.fromkeys(seqs, now)
        for part in [[one] for one in seqs] if one_by_one else [seqs]:
            sent += former.add(GROUP, 1, [stored(one) for one in part], (), settings, now)
        now += pause_ms / 1_000
        ready = former.due(now)
        sent += ready
        gone = {message.seq for block in sent for message in block.messages}
        assert all(now - at < interval_ms / 1_000 for one, at in added_at.items() if one not in gone)
    sent += former.flush_all(now)
    assert [message.seq for block in sent for message in block.messages] == list(range(1, seq + 1))
    assert all(block.prev_seq == block.messages[0].seq - 1 for block in sent)
    assert former.waiting == 0
