"""Single requests become batches; every answer comes once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from edge.adapters.call_batches import MAX_BATCH, CallBatches
from throng.domain.errors import ThrongError


def run(scenario: Callable[[CallBatches[int, int], asyncio.Semaphore], Awaitable[Any]]) -> list[list[int]]:
    async def main() -> list[list[int]]:
        sent: list[list[int]] = []
        gate = asyncio.Event()
        arrivals = asyncio.Semaphore(0)
        tasks: list[asyncio.Task[None]] = []

        async def send(requests: Sequence[int]) -> Sequence[int | ThrongError]:
            sent.append(list(requests))
            arrivals.release()
            await gate.wait()
            return [request * 10 for request in requests]

        batches: CallBatches[int, int] = CallBatches(send, lambda coroutine: tasks.append(asyncio.ensure_future(coroutine)))
        await scenario(batches, arrivals)
        gate.set()
        await asyncio.gather(*tasks)
        return sent

    return asyncio.run(main())


def test_requests_of_one_moment_go_together_and_get_their_own_answers() -> None:
    answers: dict[int, Any] = {}

    async def scenario(batches: CallBatches[int, int], arrivals: asyncio.Semaphore) -> None:
        for number in range(5):
            batches.add(number, lambda result, number=number: answers.__setitem__(number, result))  # type: ignore[misc]
        await arrivals.acquire()

    assert run(scenario) == [[0, 1, 2, 3, 4]]
    assert answers == {number: number * 10 for number in range(5)}


def test_a_full_batch_goes_at_once() -> None:
    async def scenario(batches: CallBatches[int, int], arrivals: asyncio.Semaphore) -> None:
        for number in range(MAX_BATCH + 1):
            batches.add(number, lambda _result: None)
        await arrivals.acquire()
        await arrivals.acquire()

    assert [len(batch) for batch in run(scenario)] == [MAX_BATCH, 1]


def test_while_a_call_is_under_way_others_are_collected() -> None:
    async def scenario(batches: CallBatches[int, int], arrivals: asyncio.Semaphore) -> None:
        batches.add(0, lambda _result: None)
        await arrivals.acquire()
        batches.add(1, lambda _result: None)
        await asyncio.sleep(0)
        batches.add(2, lambda _result: None)
        await arrivals.acquire()

    assert run(scenario) == [[0], [1, 2]]
