"""Reading a stream ahead: bounded, in order, ended by either side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from router_svc.core.inbox import Inbox
from router_svc.core.task_end import end_tasks

pytestmark = pytest.mark.asyncio


async def numbers(count: int, produced: list[int]) -> AsyncIterator[int]:
    for number in range(count):
        produced.append(number)
        yield number


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_everything_arrives_in_order_and_then_the_end() -> None:
    inbox = Inbox(numbers(10, []), bound=3)
    taken: list[int] = []
    while some := await inbox.take(2):
        taken += some
    assert taken == list(range(10))
    assert await inbox.take(1) == []
    await inbox.close()


async def test_it_reads_ahead_no_further_than_its_bound_i8() -> None:
    produced: list[int] = []
    inbox = Inbox(numbers(100, produced), bound=3)
    await settle()
    assert len(produced) == 3
    assert await inbox.take(10) == [0, 1, 2]
    await settle()
    assert len(produced) == 6
    await inbox.close()


async def test_a_failing_stream_fails_its_reader() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("gone")

    inbox = Inbox(failing(), bound=3)
    await settle()
    with pytest.raises(RuntimeError):
        await inbox.take(1)
    await inbox.close()


async def test_it_can_be_ended_from_inside_while_nothing_comes() -> None:
    async def silent() -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 1

    inbox = Inbox(silent(), bound=3)
    waiting = asyncio.ensure_future(inbox.take(1))
    await settle()
    inbox.interrupt(ValueError("stop"))
    with pytest.raises(ValueError, match="stop"):
        await waiting
    await inbox.close()


async def test_a_task_that_swallows_its_first_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def failed() -> None:
        raise RuntimeError("nobody looked")

    tasks = [asyncio.ensure_future(stubborn()), asyncio.ensure_future(failed())]
    await settle()
    await asyncio.wait_for(end_tasks(*tasks), 5)
    assert all(task.done() for task in tasks)
