"""Crossing into a loop: order, one wake per batch, turns that end in time, nothing lost between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from edge.adapters.hub_gate import EVENTS_AT_A_TIME, HubGate
from edge.adapters.loop_mailbox import TURN_SECONDS, LoopMailbox, call_all
from edge.ports import EdgeEvent, HeadEvent
from throng.domain.ids import GroupId


class CountingLoop:
    """Keeps callbacks until they are run; counts wake-ups."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.wakes = 0

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.wakes += 1
        self.callbacks.append(callback)

    def turn(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


class Worker:
    """Each item takes half a turn of its clock."""

    def __init__(self, loop: CountingLoop, *, per_batch: int) -> None:
        self.now = 0.0
        self.batches: list[list[int]] = []
        self.mailbox: LoopMailbox[int] = LoopMailbox(self._work, per_batch=per_batch, now=lambda: self.now)
        self.mailbox.attach(loop)  # type: ignore[arg-type]

    def _work(self, batch: Sequence[int]) -> None:
        self.now += len(batch) * TURN_SECONDS / 2
        self.batches.append(list(batch))


class ClosedLoop:
    """A loop that has ended."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")


def attached(loop: object) -> tuple[LoopMailbox[int], list[list[int]]]:
    batches: list[list[int]] = []
    mailbox: LoopMailbox[int] = LoopMailbox(lambda batch: batches.append(list(batch)), now=lambda: 0.0)
    mailbox.attach(loop)  # type: ignore[arg-type]
    return mailbox, batches


def test_a_batch_costs_one_wake() -> None:
    loop = CountingLoop()
    mailbox, batches = attached(loop)
    for number in range(100):
        mailbox.post(number)
    assert (loop.wakes, mailbox.depth) == (1, 100)
    loop.turn()
    assert [number for batch in batches for number in batch] == list(range(100))
    assert (loop.wakes, mailbox.depth) == (1, 0)
    mailbox.post(7)
    assert loop.wakes == 2


def test_work_that_takes_long_gives_way_to_the_loop() -> None:
    loop = CountingLoop()
    worker = Worker(loop, per_batch=1)
    for number in range(5):
        worker.mailbox.post(number)
    turns = []
    while loop.callbacks:
        loop.turn()
        turns.append(len(worker.batches))
    assert turns == [2, 4, 5]
    assert worker.batches == [[0], [1], [2], [3], [4]]


def test_one_batch_is_taken_whatever_it_takes() -> None:
    loop = CountingLoop()
    worker = Worker(loop, per_batch=8)
    for number in range(10):
        worker.mailbox.post(number)
    loop.turn()
    assert worker.batches == [list(range(8))]
    loop.turn()
    assert worker.batches == [list(range(8)), [8, 9]]


def test_events_cross_in_order_a_few_at_a_time_and_the_last_says_so() -> None:
    hub, business = CountingLoop(), CountingLoop()
    taken: list[list[EdgeEvent]] = []

    class Sink:
        def on_events(self, events: Sequence[EdgeEvent]) -> None:
            taken.append(list(events))

    gate = HubGate(Sink(), business, now=lambda: len(taken) * TURN_SECONDS)  # type: ignore[arg-type]
    gate.attach(hub)  # type: ignore[arg-type]
    events: list[EdgeEvent] = [HeadEvent(GroupId("g"), 1, seq) for seq in range(1, 2 * EVENTS_AT_A_TIME + 2)]
    told: list[int] = []
    gate.post(events, lambda: told.append(len(taken)))
    gate.post([], lambda: told.append(-1))
    assert gate.waiting_events == len(events)
    turns = 0
    while hub.callbacks:
        hub.turn()
        turns += 1
    assert turns == 4, "events that take long are taken in one turn"
    business.turn()
    assert [len(batch) for batch in taken] == [EVENTS_AT_A_TIME, EVENTS_AT_A_TIME, 1, 0]
    assert [event for batch in taken for event in batch] == events
    assert (gate.waiting_events, told) == (0, [4, -1])


def test_a_sink_that_fails_takes_its_events_all_the_same() -> None:
    hub, business = CountingLoop(), CountingLoop()

    class Sink:
        def on_events(self, events: Sequence[EdgeEvent]) -> None:
            raise ValueError

    gate = HubGate(Sink(), business)  # type: ignore[arg-type]
    gate.attach(hub)  # type: ignore[arg-type]
    told: list[str] = []
    gate.post([HeadEvent(GroupId("g"), 1, 1)], lambda: told.append("taken"))
    hub.turn()
    business.turn()
    assert (gate.waiting_events, told) == (0, ["taken"])


def test_what_was_posted_before_the_loop_arrives_first() -> None:
    batches: list[Sequence[int]] = []
    mailbox: LoopMailbox[int] = LoopMailbox(batches.append)
    mailbox.post(1)
    loop = CountingLoop()
    mailbox.attach(loop)  # type: ignore[arg-type]
    mailbox.post(2)
    loop.turn()
    assert batches == [[1, 2]]


def test_after_the_loop_has_ended_items_are_dropped() -> None:
    mailbox, batches = attached(ClosedLoop())
    mailbox.post(1)
    assert (mailbox.depth, batches) == (0, [])


def test_a_failing_callback_keeps_no_other_from_running() -> None:
    ran: list[int] = []

    def fail() -> None:
        raise ValueError

    call_all([lambda: ran.append(1), fail, lambda: ran.append(2)])
    assert ran == [1, 2]


def test_nothing_is_lost_between_threads() -> None:
    total = 20_000

    async def run() -> list[int]:
        seen: list[int] = []
        done = asyncio.Event()

        def take(batch: Sequence[int]) -> None:
            seen.extend(batch)
            if len(seen) == total:
                done.set()

        mailbox: LoopMailbox[int] = LoopMailbox(take)
        mailbox.attach(asyncio.get_running_loop())
        poster = threading.Thread(target=lambda: [mailbox.post(number) for number in range(total)])
        poster.start()
        await asyncio.wait_for(done.wait(), 20)
        poster.join()
        return seen

    assert asyncio.run(run()) == list(range(total))
