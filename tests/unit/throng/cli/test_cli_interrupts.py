"""Wishes to end a command: counted wherever the main thread is, and obeyed one after another."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from throng.cli import bench
from throng.cli.interrupts import Interrupts


class FinalizedBySignal:
    """An object whose finalizer is where the signal arrives: an exception there is lost."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.usefixtures("handlers")
def test_what_comes_in_a_finalizer_counts_like_any_other() -> None:
    with Interrupts() as interrupts:
        FinalizedBySignal()
        assert interrupts.count == 1
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.count == 2


@pytest.mark.usefixtures("handlers")
def test_handlers_come_back_after_an_error() -> None:
    with pytest.raises(LookupError), Interrupts():
        raise LookupError


class Run:
    """A run that is over some looks after it was cut."""

    plan: Any = None

    def __init__(self) -> None:
        self.did: list[str] = []
        self.looks = 0

    @property
    def done(self) -> bool:
        self.looks += 1
        if self.looks in (2, 3):
            signal.raise_signal(signal.SIGINT)
        return self.looks > 5

    def abort(self) -> None:
        self.did.append("abort")

    def cut(self) -> None:
        self.did.append("cut")

    def wait(self) -> str:
        return "report"


@pytest.mark.usefixtures("handlers")
def test_the_first_ends_the_sending_and_the_second_the_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_WAIT_SECONDS", 0.0)
    running = Run()
    with Interrupts() as interrupts:
        report: object = bench._watch(running, interrupts, quiet=True)  # type: ignore[arg-type]
    assert report == "report"
    assert running.did == ["abort", "cut"]
