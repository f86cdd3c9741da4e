"""Which alerts each fault has to raise: operators must be told of it, and that it is over."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alert_faults import BreakWordList, Crowd, HandshakeStorm, MeetDefect, StopHook
from faults import Fault, cut, stall

LATE_SECONDS = 3.0
"""What went wrong at the end of a fault is seen so much later: scraped twice a second and judged twice a second."""

ACKS_LATE = frozenset({"ThrongAckSlow", "ThrongAckBudgetFast", "ThrongAckBudgetSlow", "ThrongAckBudgetTrickle"})
REFUSED = frozenset(
    {
        "ThrongSubmissionsRefused",
        "ThrongAvailabilityBudgetFast",
        "ThrongAvailabilityBudgetSlow",
        "ThrongAvailabilityBudgetTrickle",
    }
)
DELIVERED_LATE = frozenset(
    {"ThrongDeliverySlow", "ThrongDeliveryBudgetFast", "ThrongDeliveryBudgetSlow", "ThrongDeliveryBudgetTrickle"}
)

TOLD: Mapping[str, frozenset[str]] = {
    "kill edge-?": frozenset({"ThrongServiceDown", "ThrongEdgeLost"}),
    "kill router-?": frozenset({"ThrongServiceDown"}),
    "kill group-?": frozenset({"ThrongServiceDown"}),
    "kill unread-?": frozenset({"ThrongServiceDown"}),
    "pause mariadb": ACKS_LATE | REFUSED | {"ThrongMySQLAway", "ThrongUplinkLag", "ThrongHeadsDiverge"},
    "kill kafka": REFUSED | {"ThrongKafkaAway"},
    "kill redis": frozenset({"ThrongRedisAway"}),
    "mysql read-only": frozenset({"ThrongMySQLAway"}),
    "poison in the log": frozenset({"ThrongPoisonRecords"}),
    "stutter edge-?": frozenset({"ThrongHubLate"}),
    "few files for edge-?": frozenset({"ThrongFilesRunOut"}),
    "flood a group": frozenset({"ThrongSendersHeldBack"}),
    "cut edge->router": frozenset({"ThrongEdgeUnrouted"}),
    "cut router->redis": frozenset({"ThrongRouterOutOfStep", "ThrongRedisAway"}),
    "cut unread->redis": frozenset({"ThrongUnreadWindowDrift"}),
    "cut group->unread": frozenset({"ThrongUnreadWindowDrift"}),
    "stall router->edge": DELIVERED_LATE,
    "stall group->router": DELIVERED_LATE,
}
"""Short version: name of a fault, or a pattern of names -> alerts that it raises. Of several such faults in a round one has to."""


def long_faults() -> list[tuple[Fault, str]]:
    """Faults that `make chaos` makes one after another on a `TightStage`, each until its alert fires."""
    return [
        (cut("edge->group", 6.0), "ThrongHeadsDiverge"),
        (stall("router->edge", 6.0), "ThrongNoRoom"),
        (Crowd(), "ThrongEdgeFull"),
        (HandshakeStorm(), "ThrongHandshakesHeldBack"),
        (StopHook(), "ThrongSafetyHookAway"),
        (BreakWordList(), "ThrongWordListNotReloaded"),
        (MeetDefect(), "ThrongDefects"),
    ]


NOT_FIRED: Mapping[str, str] = {}
"""Alerts that no fault of ours raises -> why."""


@dataclass(frozen=True, slots=True)
class Made:
    """A fault that was made, and when until everything was well again, seconds of some clock."""

    fault: Fault
    began: float
    ended: float


def told_of(fault: Fault) -> frozenset[str]:
    """Alerts that a fault, or several that are made together, may have to raise."""
    parts = fault.name.split(" + ")
    found = [alerts for pattern, alerts in TOLD.items() if any(fnmatch.fnmatchcase(part, pattern) for part in parts)]
    return frozenset().union(*found)


def not_told(made: Sequence[Made], course: Mapping[str, Sequence[tuple[float, float]]]) -> list[str]:
    """What is missing in a course of alerts, which holds from when until when each fired."""
    wanted: dict[str, list[Made]] = {}
    for one in made:
        for alert in told_of(one.fault):
            wanted.setdefault(alert, []).append(one)
    return [
        f"{alert} did not fire upon {' or '.join(one.fault.name for one in found)}"
        for alert, found in sorted(wanted.items())
        if not any(
            begins <= one.ended + LATE_SECONDS and ends >= one.began for one in found for begins, ends in course.get(alert, ())
        )
    ]
