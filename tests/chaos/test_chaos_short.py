"""Every fault once on a whole cluster under load; each round checks I1 to I10 and names the fault after which one did not hold.

Prometheus watches with Throng's rules: the alerts that belong to the faults (`told.py`) have to fire, and to end when all is mended.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable

import pytest
from chaos_round import Round
from chaos_stage import ChaosStage
from faults import Fault
from recovery_table import Row
from schedule import every_fault
from told import Made, not_told, told_of
from watcher import Watcher

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
LOST = "ThrongEdgeLost"
LOST_SECONDS = 30.0
"""An edge is taken for lost when three heartbeats, of 3 s, did not come."""


class Rounds:
    """Runs rounds on the shared cluster."""

    def __init__(self, stage: ChaosStage, rows: list[Row], seed: int, watcher: Watcher | None) -> None:
        self._stage = stage
        self._rows = rows
        self._watcher = watcher
        self.seed = seed

    def run(self, name: str, faults: list[Fault]) -> None:
        """Applies the faults one after another; in the end nothing fires any more, and everything was told that had to be."""
        print(f"seed {self.seed}: {', '.join(fault.name for fault in faults)}")
        made: list[Made] = []
        marks = [time.monotonic()]
        with Round(self._stage, name, seed=self.seed) as round_:
            if self._watcher is not None:
                self._watcher.wait_seeing()
            marks.append(time.monotonic())
            for fault in faults:
                began = time.time()
                round_.apply(fault, meanwhile=self._meanwhile(fault, began))
                made.append(Made(fault, began, time.time()))
            marks.append(time.monotonic())
            if self._watcher is not None:
                self._watcher.wait_quiet()
            marks.append(time.monotonic())
            self._rows += round_.finish()
            marks.append(time.monotonic())
        steps = [f"{after - before:.1f} s" for before, after in itertools.pairwise([*marks, time.monotonic()])]
        print(f"entering, faults, until all is quiet, judging, closing: {', '.join(steps)}")
        if self._watcher is not None:
            course = self._watcher.course(made[0].began)
            for alert, spans in sorted(course.items()):
                print(alert, [(round(begins - made[0].began, 1), round(ends - made[0].began, 1)) for begins, ends in spans])
            assert not not_told(made, course)

    def _meanwhile(self, fault: Fault, began: float) -> Callable[[], None] | None:
        """An edge stays away until it is told that it is lost."""
        if self._watcher is None or LOST not in told_of(fault):
            return None
        return functools.partial(self._watcher.wait_fired, LOST, LOST_SECONDS, since=began)


@pytest.fixture
def rounds(stage: ChaosStage, rows: list[Row], seed: int, watcher: Watcher | None) -> Rounds:
    return Rounds(stage, rows, seed, watcher)


def test_each_service_is_killed_and_started_again(rounds: Rounds) -> None:
    rounds.run("services", every_fault(rounds.seed)[0])


def test_each_server_is_killed_silent_flushed_or_read_only(rounds: Rounds) -> None:
    rounds.run("servers", every_fault(rounds.seed)[1])


def test_groups_change_hands_clocks_jump_and_records_come_again(rounds: Rounds) -> None:
    rounds.run("owners", every_fault(rounds.seed)[2])


def test_each_link_is_cut(rounds: Rounds) -> None:
    rounds.run("cuts", every_fault(rounds.seed)[3])


def test_each_link_is_half_open_or_slow(rounds: Rounds) -> None:
    rounds.run("half-open", every_fault(rounds.seed)[4])
