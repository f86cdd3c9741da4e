"""Every fault once on a whole cluster under load; each round checks I1 to I10 and names the fault after which one did not hold."""

from __future__ import annotations

import pytest
from chaos_round import Round
from chaos_stage import ChaosStage
from faults import Fault
from recovery_table import Row
from schedule import every_fault

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def run(stage: ChaosStage, rows: list[Row], name: str, faults: list[Fault], seed: int) -> None:
    print(f"seed {seed}: {', '.join(fault.name for fault in faults)}")
    with Round(stage, name, seed=seed) as round_:
        for fault in faults:
            round_.apply(fault)
        rows += round_.finish()


def test_each_service_is_killed_and_started_again(stage: ChaosStage, rows: list[Row], seed: int) -> None:
    run(stage, rows, "services", every_fault(seed)[0], seed)


def test_each_server_is_killed_silent_flushed_or_read_only(stage: ChaosStage, rows: list[Row], seed: int) -> None:
    run(stage, rows, "servers", every_fault(seed)[1], seed)


def test_groups_change_hands_clocks_jump_and_records_come_again(stage: ChaosStage, rows: list[Row], seed: int) -> None:
    run(stage, rows, "owners", every_fault(seed)[2], seed)


def test_each_link_is_cut(stage: ChaosStage, rows: list[Row], seed: int) -> None:
    run(stage, rows, "cuts", every_fault(seed)[3], seed)


def test_each_link_is_half_open_or_slow(stage: ChaosStage, rows: list[Row], seed: int) -> None:
    run(stage, rows, "half-open", every_fault(seed)[4], seed)
