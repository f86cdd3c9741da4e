"""What the coordinator does to clients during the sending, and when: follows from the plan alone."""

from __future__ import annotations

from typing import NamedTuple

from throng.bench.plan import BenchPlan
from throng.bench.shares import Cut, Resume, Stall

CUT_AT, STALL_AT = 0.5, 0.25
"""Parts of a period after which sockets are cut and readers stop."""

STEP, CUT, STALLED, RESUMED = "offered", "cut", "readers stop", "reading again"
"""How the names of these events begin."""


class Act(NamedTuple):
    """Something done `at_seconds` after the sending began: a command for all workers, or only a mark in the report."""

    at_seconds: float
    name: str
    command: Cut | Stall | Resume | None


def script(plan: BenchPlan) -> list[Act]:
    """All acts of a plan in the order of their times."""
    acts = []
    period = plan.period_seconds
    for turn in range(int(plan.seconds // period)):
        begins = turn * period
        if plan.cut_share:
            acts.append(Act(begins + CUT_AT * period, f"{CUT} {plan.cut_share:.0%} of all sockets", Cut(plan.cut_share)))
        if plan.slow_share and plan.stall_seconds:
            acts.append(Act(begins + STALL_AT * period, STALLED, Stall()))
            acts.append(Act(begins + STALL_AT * period + plan.stall_seconds, RESUMED, Resume()))
    length = plan.seconds / max(1, len(plan.rate_steps))
    acts += [Act(place * length, f"{STEP} x{factor:g}", None) for place, factor in enumerate(plan.rate_steps)]
    return sorted(acts, key=lambda act: act.at_seconds)
