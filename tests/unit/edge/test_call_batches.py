"""Single requests become batches; every answer comes once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from edge.adapters.call_batches import MAX_BATCH, MAX_UNDER_WAY, STORM_PACE_SECONDS, STORM_REQUESTS, CallBatches
from throng.domain.errors import ErrorCode, ThrongError


def run(
    scenario: Callable[[CallBatches[int, int], asyncio.Semaphore], Awaitable[Any]],
    *,
    max_wait_seconds: float = 60.0,
    shed: Callable[[int], None] = lambda _: None,
) -> list[list[int]]:
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

        batches: CallBatches[int, int] = CallBatches(
            send, lambda coroutine: tasks.append(asyncio.ensure_future(coroutine)), max_wait_seconds=max_wait_seconds, shed=shed
        )
        await scenario(batches, arrivals)
        gate.set()
        batches.hurry()
        while not all(task.done() for task in tasks):
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


def test_a_service_that_answers_at_once_still_gets_batches_and_a_lone_request_does_not_wait() -> None:
    """Otherwise each of a thousand clients that come in a second costs calls of its own."""

    async def main() -> list[int]:
        sizes: list[int] = []
        tasks: set[asyncio.Task[None]] = set()

        async def send(requests: Sequence[int]) -> Sequence[int | ThrongError]:
            sizes.append(len(requests))
            return requests

        batches: CallBatches[int, int] = CallBatches(
            send, lambda coroutine: tasks.add(asyncio.ensure_future(coroutine)), max_wait_seconds=60
        )
        answered = asyncio.Event()
        batches.add(0, lambda _result: answered.set())
        await answered.wait()
        for number in range(50):
            batches.add(number, lambda _result: None)
            await asyncio.sleep(0)  # the service could have answered it by now
        batches.hurry()
        await asyncio.gather(*tasks)
        return sizes

    assert asyncio.run(main()) == [1, 50]


def test_in_a_storm_calls_are_few_and_large_and_afterwards_nobody_waits() -> None:
    """The store answers a few large statements for what would be hundreds a second."""

    async def main() -> tuple[list[int], float]:
        loop = asyncio.get_running_loop()
        sizes: list[int] = []
        asked_at: list[float] = []
        tasks: set[asyncio.Task[None]] = set()
        calls = asyncio.Semaphore(0)

        async def send(requests: Sequence[int]) -> Sequence[int | ThrongError]:
            sizes.append(len(requests))
            asked_at.append(loop.time())
            calls.release()
            return requests

        batches: CallBatches[int, int] = CallBatches(
            send, lambda coroutine: tasks.add(asyncio.ensure_future(coroutine)), max_wait_seconds=60
        )
        for number in range(STORM_REQUESTS):
            batches.add(number, lambda _result: None)
        await calls.acquire()
        for number in range(300):
            batches.add(number, lambda _result: None)
            await asyncio.sleep(0)
        await calls.acquire()
        return sizes, asked_at[1] - asked_at[0]

    sizes, gap = asyncio.run(main())
    assert sizes == [STORM_REQUESTS, 300]
    assert gap >= STORM_PACE_SECONDS * 0.9


def test_a_service_that_is_slow_gets_few_calls_that_grow_and_never_too_large_ones() -> None:
    """However many come while it works: no call is added to those under way, and all of them are answered."""
    answers: list[int | ThrongError] = []

    async def scenario(batches: CallBatches[int, int], arrivals: asyncio.Semaphore) -> None:
        for _ in range(MAX_UNDER_WAY):
            batches.add(0, answers.append)
            await arrivals.acquire()
        for number in range(3 * MAX_BATCH + 7):
            batches.add(number, answers.append)
            if number % 100 == 0:
                await asyncio.sleep(0.006)
        assert arrivals.locked()

    sent = run(scenario)
    assert [len(batch) for batch in sent] == [1] * MAX_UNDER_WAY + [MAX_BATCH] * 3 + [7]
    assert [number for batch in sent[MAX_UNDER_WAY:] for number in batch] == list(range(3 * MAX_BATCH + 7))
    assert len(answers) == MAX_UNDER_WAY + 3 * MAX_BATCH + 7


def test_what_waited_too_long_is_refused_without_being_sent() -> None:
    """I8: its caller gives up; the work would only hold up those behind it."""
    answers: dict[int, Any] = {}
    shed: list[int] = []

    async def scenario(batches: CallBatches[int, int], arrivals: asyncio.Semaphore) -> None:
        for _ in range(MAX_UNDER_WAY):
            batches.add(0, lambda _result: None)
            await arrivals.acquire()
        for number in (1, 2):
            batches.add(number, lambda result, number=number: answers.__setitem__(number, result))  # type: ignore[misc]
        await asyncio.sleep(0.25)  # the patience of those two is over, whatever the machine does
        batches.add(3, lambda result: answers.__setitem__(3, result))

    sent = run(scenario, max_wait_seconds=0.2, shed=shed.append)
    assert sent == [[0]] * MAX_UNDER_WAY + [[3]]
    assert answers[3] == 30
    assert {answers[1].code, answers[2].code} == {ErrorCode.UNAVAILABLE}
    assert shed == [2]
