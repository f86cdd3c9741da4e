"""`RecentMessages`: what stands in its docstring, on the embedded Redis and on a real one."""

from __future__ import annotations

import pytest
from conformance_builders import stored

from throng.domain.ids import GroupId
from throng.domain.message import Position, StoredMessage

G1 = GroupId("g1")


def run(first: int, last: int) -> list[StoredMessage]:
    return [stored(seq) for seq in range(first, last + 1)]


@pytest.fixture
def recent(recent_stage):
    return recent_stage.make(100)


def held(recent) -> list[int] | None:
    """Seqs of the longest page that reaches the head."""
    pages = [recent.read_before(G1, before_seq=0, limit=limit) for limit in range(1, 31)]
    found = [[message.seq for message in page.messages] for page in pages if page is not None]
    return max(found, key=len) if found else None


def after(recent, after_seq: int, up_to_seq: int = 0, limit: int = 100):
    return recent.read_after(G1, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)


def test_nothing_is_known_at_first(recent):
    assert recent.get_heads([G1]) == [None]
    assert after(recent, 0) is None
    assert recent.read_before(G1, before_seq=0, limit=5) is None
    assert recent.get_heads([]) == []
    recent.put_heads([])


def test_what_is_put_is_read_whole(recent):
    messages = [stored(1, text="déjà 你好"), stored(2, sender="bob"), stored(3, target_seq=1)]
    messages[0] = stored(1, recalled_by_seq=3)
    recent.put(G1, 4, messages, [1])
    page = after(recent, 0)
    assert (page.epoch, page.head_seq, page.after_seq, list(page.messages)) == (4, 3, 0, messages)
    assert recent.get_heads([GroupId("other"), G1]) == [None, Position(4, 3)]


@pytest.mark.parametrize(
    ("after_seq", "up_to_seq", "limit", "expected"),
    [
        (10, 0, 100, range(11, 21)),
        (10, 0, 3, range(11, 14)),
        (12, 15, 100, range(13, 16)),
        (12, 15, 2, range(13, 15)),
        (20, 0, 5, []),
        (15, 15, 5, []),
        (16, 12, 5, []),
        (9, 0, 5, None),
        (9, 12, 5, None),
        (0, 0, 1, None),
        (21, 0, 5, None),
        (12, 21, 100, None),
        (2**64 - 1, 2**64 - 1, 5, None),
    ],
)
def test_pages_forward(recent, after_seq, up_to_seq, limit, expected):
    recent.put(G1, 1, run(11, 20), [])
    page = after(recent, after_seq, up_to_seq, limit)
    if expected is None:
        assert page is None
    else:
        assert [message.seq for message in page.messages] == list(expected)
        assert (page.epoch, page.head_seq, page.after_seq) == (1, 20, after_seq)


@pytest.mark.parametrize(
    ("before_seq", "limit", "expected"),
    [
        (0, 3, range(18, 21)),
        (0, 10, range(11, 21)),
        (0, 11, None),
        (15, 3, range(12, 15)),
        (15, 5, None),
        (11, 1, None),
        (21, 2, range(19, 21)),
        (22, 2, None),
    ],
)
def test_pages_backward(recent, before_seq, limit, expected):
    recent.put(G1, 1, run(11, 20), [])
    page = recent.read_before(G1, before_seq=before_seq, limit=limit)
    if expected is None:
        assert page is None
    else:
        assert [message.seq for message in page.messages] == list(expected)
        assert (page.epoch, page.head_seq, page.after_seq) == (1, 20, expected[0] - 1)


def test_a_page_that_reaches_the_first_message_is_whole(recent):
    recent.put(G1, 1, run(1, 3), [])
    page = recent.read_before(G1, before_seq=0, limit=50)
    assert ([message.seq for message in page.messages], page.after_seq) == ([1, 2, 3], 0)
    assert list(recent.read_before(G1, before_seq=1, limit=50).messages) == []


def test_putting_again_changes_nothing(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put(G1, 1, run(2, 4), [])
    recent.put(G1, 1, run(1, 5), [])
    assert list(after(recent, 0).messages) == run(1, 5)


def test_overlapping_puts_join(recent):
    recent.put(G1, 1, run(5, 8), [])
    recent.put(G1, 1, run(7, 11), [])
    recent.put(G1, 1, run(3, 6), [])
    recent.put(G1, 1, run(2, 12), [])
    assert held(recent) == list(range(2, 13))


def test_a_gap_drops_what_lay_below_it(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put(G1, 1, run(7, 8), [])
    assert held(recent) == [7, 8]
    assert after(recent, 5) is None
    assert after(recent, 3, 5) is None


def test_a_late_put_below_a_gap_makes_no_hole(recent):
    recent.put(G1, 1, run(10, 12), [])
    recent.put(G1, 1, run(6, 8), [])
    assert held(recent) == [10, 11, 12]
    assert recent.get_heads([G1]) == [Position(1, 12)]
    recent.put(G1, 1, run(9, 9), [])
    assert held(recent) == [9, 10, 11, 12]


def test_the_oldest_go_beyond_the_bound(recent_stage):
    recent = recent_stage.make(5)
    recent.put(G1, 1, run(1, 4), [])
    recent.put(G1, 1, run(5, 7), [])
    assert held(recent) == [3, 4, 5, 6, 7]
    recent.put(G1, 1, run(8, 30), [])
    assert held(recent) == [26, 27, 28, 29, 30]
    recent.put(G1, 1, run(20, 26), [])
    assert held(recent) == [26, 27, 28, 29, 30]
    assert recent_stage.client.zcard("throng:group:recent:{g1}") == 5


def test_many_messages_are_one_put(recent_stage):
    recent = recent_stage.make(5_000)
    recent.put(G1, 1, run(1, 4_000), [])
    assert list(after(recent, 3_000, limit=2_000).messages) == run(3_001, 4_000)


def test_a_newer_epoch_replaces_everything_and_an_older_one_nothing(recent):
    recent.put(G1, 1, run(1, 9), [])
    recent.put(G1, 2, run(4, 5), [])
    assert held(recent) == [4, 5]
    recent.put(G1, 1, run(6, 12), [])
    recent.put_heads([(G1, Position(1, 99))])
    assert held(recent) == [4, 5]
    assert recent.get_heads([G1]) == [Position(2, 5)]


def test_a_recall_drops_the_body(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put(G1, 1, [stored(6, target_seq=3)], [3])
    messages = after(recent, 0).messages
    assert messages[2] == stored(3, recalled_by_seq=6)
    assert [message.recalled_by_seq for message in messages] == [0, 0, 6, 0, 0, 0]


def test_a_recall_in_the_put_of_its_target_drops_the_body(recent):
    recent.put(G1, 1, [stored(1), stored(2, target_seq=1)], [1])
    assert after(recent, 0).messages[0] == stored(1, recalled_by_seq=2)


@pytest.mark.parametrize("event", [127, 128, 16_384, 2**31, 2**32 + 5, 2**52 + 1])
def test_a_recall_by_any_seq_is_written_as_protobuf_does(recent, event):
    recent.put(G1, 1, [stored(event - 1), stored(event, target_seq=event - 1)], [event - 1])
    assert recent.read_before(G1, before_seq=0, limit=2).messages[0] == stored(event - 1, recalled_by_seq=event)


def test_a_blank_message_that_comes_blanks_the_one_that_is_here(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put(G1, 1, [stored(2), stored(3, recalled_by_seq=9)], [])
    assert after(recent, 0, limit=3).messages[2] == stored(3, recalled_by_seq=9)


def test_a_body_does_not_come_back_with_a_page_that_was_read_before_the_recall(recent):
    recent.put(G1, 1, run(4, 5), [])
    recent.put(G1, 1, [stored(6, target_seq=2)], [2])
    recent.put(G1, 1, [stored(7, target_seq=5)], [5])
    recent.put(G1, 1, run(1, 5), [])
    blank = {message.seq: message.recalled_by_seq for message in after(recent, 0).messages if not message.body}
    assert blank == {2: 6, 5: 7}


def test_a_body_does_not_come_back_below_an_event_that_was_filled_in(recent):
    recent.put(G1, 1, run(6, 8), [])
    recent.put(G1, 1, [stored(4), stored(5, target_seq=2), stored(6)], [])
    recent.put(G1, 1, run(1, 3), [])
    assert [message.recalled_by_seq for message in after(recent, 0).messages] == [0, 5, 0, 0, 0, 0, 0, 0]


def test_a_recall_whose_event_is_unknown_drops_what_lies_up_to_it(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put(G1, 1, run(6, 6), [2])
    assert held(recent) == [3, 4, 5, 6]
    recent.put(G1, 1, [], [4])
    assert held(recent) == [5, 6]
    recent.put(G1, 1, [], [6])
    assert held(recent) is None
    assert recent.get_heads([G1]) == [Position(1, 6)]


def test_naming_a_recalled_one_again_costs_nothing(recent):
    recent.put(G1, 1, [*run(1, 3), stored(4, target_seq=2)], [2])
    recent.put(G1, 1, run(5, 5), [2])
    assert held(recent) == [1, 2, 3, 4, 5]


def test_heads_are_raised_and_never_lowered(recent):
    recent.put_heads([(G1, Position(1, 5)), (GroupId("g2"), Position(3, 0))])
    recent.put_heads([(G1, Position(1, 4))])
    assert recent.get_heads([G1, GroupId("g2")]) == [Position(1, 5), Position(3, 0)]
    recent.put_heads([(G1, Position(2, 1))])
    assert recent.get_heads([G1]) == [Position(2, 1)]


def test_a_head_above_the_messages_makes_their_absence_seen(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put_heads([(G1, Position(1, 7))])
    assert after(recent, 3) is None
    assert recent.read_before(G1, before_seq=0, limit=2) is None
    assert [message.seq for message in after(recent, 2, 5).messages] == [3, 4, 5]
    recent.put(G1, 1, run(6, 7), [])
    assert held(recent) == list(range(1, 8))


def test_a_newer_epochs_head_empties_the_range(recent):
    recent.put(G1, 1, run(1, 5), [])
    recent.put_heads([(G1, Position(2, 5))])
    assert after(recent, 0) is None
    assert after(recent, 5).epoch == 2


def test_large_seqs_keep_every_digit(recent):
    first = 2**53 - 6
    recent.put(G1, 1, run(first, first + 2), [])
    recent.put(G1, 1, run(first + 3, first + 5), [])
    assert [message.seq for message in after(recent, first - 1).messages] == list(range(first, first + 6))
    assert recent.get_heads([G1]) == [Position(1, first + 5)]


def test_groups_do_not_touch_each_other(recent):
    recent.put(G1, 1, run(1, 3), [])
    recent.put(GroupId("g1:x"), 1, run(1, 9), [])
    assert held(recent) == [1, 2, 3]


def test_it_may_be_emptied_at_any_moment(recent, recent_stage):
    recent.put(G1, 1, run(1, 5), [])
    recent_stage.client.flushall()
    assert after(recent, 0) is None
    assert recent.get_heads([G1]) == [None]
    recent.put(G1, 1, run(6, 7), [])
    assert held(recent) == [6, 7]
    recent.put(G1, 1, run(1, 7), [])
    assert held(recent) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("lost", ["throng:group:recent:{g1}", "throng:group:head:{g1}", "throng:group:recalled:{g1}"])
def test_it_may_lose_any_key(recent, recent_stage, lost):
    recent.put(G1, 1, run(3, 5), [])
    recent.put(G1, 1, [stored(6, target_seq=1)], [1])
    recent_stage.client.delete(lost)
    recent.put(G1, 1, run(7, 7), [])
    seqs = held(recent)
    assert seqs == list(range(seqs[0], 8))
    recent.put(G1, 1, run(6, 9), [])
    assert held(recent)[-4:] == [6, 7, 8, 9]


def test_members_that_were_evicted_are_not_answered_around(recent, recent_stage):
    recent.put(G1, 1, run(1, 9), [])
    recent_stage.client.zremrangebyscore("throng:group:recent:{g1}", 4, 5)
    assert after(recent, 0) is None
    assert [message.seq for message in after(recent, 5).messages] == [6, 7, 8, 9]
    recent.put(G1, 1, run(10, 11), [])
    assert after(recent, 0) is None
    assert held(recent) == [10, 11]


def test_scripts_may_be_flushed(recent, recent_stage):
    recent.put(G1, 1, run(1, 2), [])
    recent.put_heads([(G1, Position(1, 2))])
    recent_stage.client.script_flush()
    recent.put(G1, 1, run(3, 3), [])
    recent_stage.client.script_flush()
    recent.put_heads([(G1, Position(1, 4))])
    assert recent.get_heads([G1]) == [Position(1, 4)]


def test_a_silent_group_is_forgotten_in_the_end_and_reading_does_not_prolong_it(recent, recent_stage):
    recent.put(G1, 1, run(3, 5), [])
    recent.put(G1, 1, [stored(6, target_seq=1)], [1])
    keys = ["throng:group:recent:{g1}", "throng:group:head:{g1}", "throng:group:recalled:{g1}"]
    assert all(0 < recent_stage.client.ttl(key) <= 600 for key in keys)
    for key in keys:
        recent_stage.client.expire(key, 50)
    recent.put(G1, 1, run(1, 4), [])
    recent.put_heads([(G1, Position(1, 6))])
    assert all(0 < recent_stage.client.ttl(key) <= 50 for key in keys if recent_stage.client.exists(key))
    recent.put(G1, 1, run(7, 7), [])
    assert all(recent_stage.client.ttl(key) > 50 for key in keys)


def test_every_key_of_a_group_ends_however_it_came_to_be(recent, recent_stage):
    """A group whose life was prolonged just now is not prolonged again; a key that is new is given an end all the same."""
    keys = ["throng:group:recent:{g1}", "throng:group:head:{g1}", "throng:group:recalled:{g1}"]

    def ends() -> bool:
        return all(0 < recent_stage.client.ttl(key) <= 600 for key in keys if recent_stage.client.exists(key))

    recent.put_heads([(G1, Position(1, 2))])
    recent.put(G1, 1, run(3, 4), [])
    assert ends()
    recent.put(G1, 1, run(5, 5), [])
    recent.put(G1, 1, [stored(6, target_seq=1)], [1])
    assert recent_stage.client.exists(keys[2])
    assert ends()
    recent.put(G1, 1, run(20, 21), [])  # above a gap: the messages begin anew
    assert ends()
    for key in keys:
        recent_stage.client.persist(key)
    recent.put(G1, 1, run(22, 22), [])
    assert ends()
    for key in keys:
        recent_stage.client.expire(key, 500)
    recent.put(G1, 1, run(23, 23), [])
    assert recent_stage.client.ttl(keys[0]) > 590
