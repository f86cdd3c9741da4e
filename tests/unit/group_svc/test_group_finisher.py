"""The finisher: batches in their order, one that waits at most, nothing lost at the end, and no failure that ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from group_svc.finisher import Finisher

_SECONDS = 10.0


class Completing:
    """`Completion` and `History` in one; a batch is finished when the test lets it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.heals = 0
        self.raises = False
        self.may_end = threading.Semaphore(0)
        self.changed = threading.Condition()

    def complete(self, batch: list[str], _outcomes: object) -> None:
        with self.changed:
            self.begun += batch
            self.changed.notify_all()
        assert self.may_end.acquire(timeout=_SECONDS)
        if self.raises:
            raise LookupError

    def heal(self) -> None:
        with self.changed:
            self.heals += 1
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        with self.changed:
            return self.changed.wait_for(condition, _SECONDS)


@pytest.fixture
def completing():
    return Completing()


@pytest.fixture
def finisher(completing):
    made = Finisher(completing, completing)
    made.start()
    yield made
    for _ in range(10):
        completing.may_end.release()
    made.stop(_SECONDS)


def test_one_batch_waits_and_then_the_writer_does(finisher, completing):
    finisher.finish(["a"], [])
    assert completing.wait_for(lambda: completing.begun == ["a"])
    finisher.finish(["b"], [])
    writer = threading.Thread(target=finisher.finish, args=(["c"], []))
    writer.start()
    writer.join(0.05)
    assert writer.is_alive(), "there is room for one batch"
    completing.may_end.release()
    writer.join(_SECONDS)
    assert not writer.is_alive()
    for _ in range(2):
        completing.may_end.release()
    assert completing.wait_for(lambda: completing.begun == ["a", "b", "c"])


def test_what_was_handed_over_is_finished_before_the_end(finisher, completing):
    finisher.finish(["a"], [])
    assert completing.wait_for(lambda: completing.begun == ["a"])
    finisher.finish(["b"], [])
    completing.may_end.release()
    completing.may_end.release()
    finisher.stop(_SECONDS)
    assert completing.begun == ["a", "b"]
    finisher.stop(_SECONDS)


def test_a_batch_that_cannot_be_finished_does_not_hold_up_the_next(finisher, completing):
    completing.raises = True
    finisher.finish(["a"], [])
    completing.may_end.release()
    finisher.finish(["b"], [])
    assert completing.wait_for(lambda: completing.begun == ["a", "b"])


def test_the_cache_is_mended_while_nothing_is_to_be_finished(finisher, completing):
    assert completing.wait_for(lambda: completing.heals >= 2)
