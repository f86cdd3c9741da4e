"""Crossing into a loop: order, one wake per batch, nothing lost between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from edge.adapters.loop_mailbox import LoopMailbox, call_all


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


class ClosedLoop:
    """A loop that has ended."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")


def attached(loop: object) -> tuple[LoopMailbox[int], list[list[int]]]:
    batches: list[list[int]] = []
    mailbox: LoopMailbox[int] = LoopMailbox(lambda batch: batches.append(list(batch)))
    mailbox.attach(loop)  # type: ignore[arg-type]
    return mailbox, batches


def test_a_batch_costs_one_wake() -> None:
    loop = CountingLoop()
    mailbox, batches = attached(loop)
    for number in range(100):
        mailbox.post(number)
    assert (loop.wakes, mailbox.depth) == (1, 100)
    loop.turn()
    assert batches == [list(range(100))]
    mailbox.post(7)
    assert loop.wakes == 2


def test_a_large_batch_gives_way_to_the_loop() -> None:
    loop = CountingLoop()
    mailbox, batches = attached(loop)
    for number in range(2_500):
        mailbox.post(number)
    loop.turn()
    assert [len(batch) for batch in batches] == [1_000]
    loop.turn()
    loop.turn()
    assert [number for batch in batches for number in batch] == list(range(2_500))


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
