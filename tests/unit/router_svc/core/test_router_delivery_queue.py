"""The queue of one edge: order, bounds, and what is left when it is full (I8)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_svc.core.delivery_queue import HEAD_BYTES, DeliveryQueue, HeadNotice, Item, OnlineNotice, Push
from router_svc.ports import EventKind, Outgoing
from throng.domain.ids import GroupId

G, H = GroupId("g"), GroupId("h")


def block(group_id: GroupId, seq: int, size: int = 10) -> Outgoing:
    return Outgoing(EventKind.BLOCK, group_id, 1, seq, b"b" * size)


def answer(text: bytes = b"answer") -> Outgoing:
    return Outgoing(EventKind.ANSWER, GroupId(""), 0, 0, text)


def control(text: bytes = b"control") -> Outgoing:
    return Outgoing(EventKind.CONTROL, G, 0, 0, text)


def drain(queue: DeliveryQueue) -> list[Item]:
    return queue.take(max_events=10_000, max_bytes=1 << 30)


def small(events: int = 3, size: int = 1_000) -> DeliveryQueue:
    return DeliveryQueue(max_events=events, max_bytes=size)


def test_what_fits_comes_out_as_it_went_in() -> None:
    queue = small()
    items = [block(G, 1), answer(), block(H, 1)]
    assert [queue.push(item) for item in items] == [Push.QUEUED] * 3
    assert drain(queue) == items
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_blocks_of_a_group_shrink_to_one_head_and_others_stay() -> None:
    queue = small()
    for item in (block(G, 1), block(H, 1), block(G, 2)):
        queue.push(item)
    assert queue.push(block(G, 3)) is Push.SHRUNK
    assert queue.push(block(G, 4)) is Push.SHRUNK  # there is room again, but the notice waits: it is raised
    assert queue.shrunk_blocks == 4
    assert drain(queue) == [block(H, 1), HeadNotice(G, 1, 4)]


def test_blocks_flow_again_once_the_notice_went_out() -> None:
    queue = small(events=1)
    queue.push(block(G, 1))
    queue.push(block(G, 2))
    assert drain(queue) == [HeadNotice(G, 1, 2)]
    assert queue.push(block(G, 3)) is Push.QUEUED


def test_a_head_never_goes_back_and_a_new_epoch_counts_as_later() -> None:
    queue = small(events=1)
    queue.push(block(G, 7))
    queue.push(block(G, 8))
    queue.push(Outgoing(EventKind.BLOCK, G, 2, 1, b"b"))
    queue.push(block(G, 9))
    assert drain(queue) == [HeadNotice(G, 2, 1)]


def test_answers_and_changes_push_out_blocks_first() -> None:
    queue = small(events=2)
    queue.push(block(G, 1))
    queue.push(block(G, 2))
    assert queue.push(answer()) is Push.SHRUNK
    assert queue.push(control()) in (Push.SHRUNK, Push.QUEUED, Push.ANSWER_DROPPED)
    left = drain(queue)
    assert HeadNotice(G, 1, 2) in left
    assert control() in left


def test_answers_go_before_changes() -> None:
    queue = small(events=2)
    queue.push(answer(b"1"))
    queue.push(control(b"2"))
    assert queue.push(answer(b"3")) is Push.ANSWER_DROPPED
    assert queue.push(control(b"4")) is Push.ANSWER_DROPPED
    assert queue.push(answer(b"5")) is Push.ANSWER_DROPPED
    assert queue.push(control(b"6")) is Push.CONTROL_DROPPED
    assert [item.event for item in drain(queue) if isinstance(item, Outgoing)] == [b"4", b"6"]


def test_bytes_bound_too_and_one_that_is_larger_than_all_goes_alone() -> None:
    queue = small(events=100, size=100)
    assert queue.push(block(G, 1, size=500)) is Push.QUEUED
    assert queue.push(block(G, 2, size=1)) is Push.SHRUNK
    assert queue.size_bytes == HEAD_BYTES


def test_take_keeps_to_both_bounds_but_gives_at_least_one() -> None:
    queue = small(events=100)
    for seq in range(1, 6):
        queue.push(block(G, seq, size=100))
    assert len(queue.take(max_events=2, max_bytes=1_000)) == 2
    assert len(queue.take(max_events=10, max_bytes=150)) == 1
    assert len(queue.take(max_events=10, max_bytes=1)) == 1


def test_what_is_put_back_comes_first_and_shrinks_like_the_rest() -> None:
    queue = small(events=3)
    queue.push(block(G, 1))
    queue.push(answer())
    taken = drain(queue)
    queue.push(block(G, 2))
    queue.put_back(taken)
    assert drain(queue) == [block(G, 1), answer(), block(G, 2)]
    for seq in (3, 4, 5):
        queue.push(block(G, seq))
    queue.put_back([block(H, 1), HeadNotice(G, 1, 2)])
    assert drain(queue) == [block(H, 1), HeadNotice(G, 1, 5)]


def test_one_small_change_does_not_make_room_for_a_large_one_i8() -> None:
    queue = DeliveryQueue(max_events=50, max_bytes=200)
    for size in (1, 100, 99):
        queue.push(control(b"c" * size))
    assert queue.push(control(b"c" * 60)) is Push.CONTROL_DROPPED
    assert queue.size_bytes <= 200


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["g", "h", "i"]), st.integers(1, 60)),
        st.tuples(st.sampled_from(["answer", "control", "take"]), st.integers(1, 60)),
    ),
    max_size=120,
)


@given(STEPS)
def test_no_schedule_leaves_a_group_in_silence_or_memory_unbounded_i8(steps: list[Step]) -> None:
    """What came out of a group ends at the newest seq that went in, and rises; the queue holds its bounds but for the heads."""
    queue = DeliveryQueue(max_events=5, max_bytes=200)
    newest: dict[str, int] = {}
    seen: dict[str, int] = {}

    def check(items: list[Outgoing | HeadNotice]) -> None:
        for item in items:
            if isinstance(item, HeadNotice) or item.kind is EventKind.BLOCK:
                assert item.head_seq > seen.get(item.group_id, 0)
                seen[item.group_id] = item.head_seq

    for name, number in steps:
        if name == "take":
            check(queue.take(max_events=number % 4 + 1, max_bytes=number))
        elif name == "answer":
            queue.push(answer(b"a" * number))
        elif name == "control":
            queue.push(control(b"c" * number))
        else:
            newest[name] = newest.get(name, 0) + 1
            queue.push(block(GroupId(name), newest[name], size=number))
        assert len(queue) <= 5 + 3
        assert queue.size_bytes <= 200 + 3 * HEAD_BYTES
    check(drain(queue))
    assert seen == newest
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_one_event_of_online_counts_waits_and_takes_the_place_of_nothing() -> None:
    queue = small(events=2)
    first, second = OnlineNotice({G: 1}), OnlineNotice({G: 2})
    assert queue.push_online(first)
    assert not queue.push_online(second), "it is said later, with what is true then"
    queue.push(block(G, 1))
    assert drain(queue) == [first, block(G, 1)]
    assert (len(queue), queue.size_bytes) == (0, 0)
    queue.push(block(G, 1))
    queue.push(answer())
    assert not queue.push_online(second), "full"
    drain(queue)
    assert queue.push_online(second)
    queue.put_back([first, block(G, 1)])
    assert drain(queue) == [first, block(G, 1), second]
    assert queue.push_online(first)
