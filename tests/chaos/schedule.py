"""Which faults come when: a seed makes the same schedule each time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alert_faults import FewFiles, Flood, PoisonLog, Stutter
from faults import (
    AddAndRemoveGroupService,
    Fault,
    FlushRedis,
    JumpClock,
    KillBackend,
    KillGroupServiceFull,
    KillMySQLInCommit,
    KillService,
    LinkFault,
    PauseBackend,
    PauseGroupService,
    ReadOnlyMySQL,
    RepeatedCuts,
    RepeatLog,
    Together,
    cut,
    slow,
    stall,
)

from throng.cluster import LINKS
from throng.cluster.plan import SERVICES

TRIED = tuple(link for link in LINKS if link != "group->group")
"""Links between parts. Between group services there is traffic only for programs that call `SendMessage`."""

PER_ROUND = 8
OUTAGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A fault, and how long the load runs undisturbed before it, seconds."""

    after_seconds: float
    fault: Fault


def every_fault(seed: int) -> list[list[Fault]]:
    """The short version: every fault once, in rounds, each round in an order that the seed chooses."""
    source = random.Random(seed)
    number = source.randint(1, 2)
    services: list[Fault] = [KillService(f"{kind}-{number}") for kind in SERVICES if kind not in ("edge", "unread")]
    # An edge stays away until operators are told, which takes long enough for a second one.
    services.append(Together(KillService(f"edge-{number}"), KillService("unread-1")))
    services.append(KillGroupServiceFull(f"group-{3 - number}"))
    backends: list[Fault] = [
        KillBackend("redis", 1.0),
        FlushRedis(),
        KillMySQLInCommit(1.0),
        ReadOnlyMySQL(),
        Together(PauseBackend("mariadb", 12.0), FewFiles()),
        KillBackend("kafka", 5.0),  # and 6 s or more for its start
    ]
    owners: list[Fault] = [
        Together(Flood(1.0), AddAndRemoveGroupService(1.0)),
        Together(PauseGroupService(f"group-{number}"), Stutter()),
        JumpClock(3_600),
        JumpClock(-3_600),
        Together(RepeatLog(seed, 3.0), PoisonLog()),
    ]
    cuts = _in_pairs(source, [cut(link) for link in TRIED])
    cuts.append(RepeatedCuts("*->*", 2))
    halves = _in_pairs(source, [stall(link) for link in TRIED])
    halves.append(Together(*(slow(f"{kind}->*") for kind in ("edge", "group", "router", "unread", "client"))))
    rounds = [services, backends, owners, cuts, halves]
    for one in rounds:
        source.shuffle(one)
    return rounds


def _in_pairs(source: random.Random, faults: list[LinkFault]) -> list[Fault]:
    """Two at a time take half the time; the name of the pair holds both."""
    source.shuffle(faults)
    return [Together(*faults[place : place + 2]) for place in range(0, len(faults), 2)]


def _link_fault(source: random.Random) -> Fault:
    kind: Callable[..., LinkFault] = source.choice([cut, stall, slow])
    return kind(source.choice(TRIED), source.uniform(0.5, 12.0))


def _single(source: random.Random, seed: int) -> Fault:
    number = source.randint(1, 2)
    makers: Sequence[tuple[int, Callable[[], Fault]]] = (
        (
            6,
            lambda: KillService(
                source.choice([f"edge-{number}", f"router-{number}", f"group-{number}", "unread-1"]), source.uniform(0, 8)
            ),
        ),
        (3, lambda: KillBackend(source.choice(["kafka", "redis"]), source.uniform(0, 15))),
        (2, lambda: KillGroupServiceFull(f"group-{number}", source.uniform(0, 5))),
        (2, lambda: KillMySQLInCommit(source.uniform(0, 15))),
        (2, FlushRedis),
        (2, lambda: ReadOnlyMySQL(source.uniform(1, 12))),
        (2, lambda: PauseBackend(source.choice(["kafka", "mariadb", "redis"]), source.uniform(1, 15))),
        (2, lambda: AddAndRemoveGroupService(source.uniform(0, 5))),
        (3, lambda: PauseGroupService(f"group-{number}", source.uniform(1, 12))),
        (2, lambda: JumpClock(source.choice([-86_400, -3_600, -60, 60, 3_600, 86_400]), source.uniform(2, 6))),
        (2, lambda: RepeatLog(seed, source.uniform(3, 10))),
        (8, lambda: _link_fault(source)),
        (2, lambda: RepeatedCuts(source.choice([*TRIED, "edge->*", "group->*", "*->*"]), source.randint(2, 6))),
    )
    return source.choices([make for _, make in makers], [weight for weight, _ in makers])[0]()


def long_outages() -> list[Step]:
    """A minute without each store under load (I8): MariaDB silent, MariaDB gone, Kafka gone."""
    faults: list[Fault] = [
        PauseBackend("mariadb", OUTAGE_SECONDS),
        KillBackend("mariadb", OUTAGE_SECONDS),
        KillBackend("kafka", OUTAGE_SECONDS),
    ]
    return [Step(2.0, fault) for fault in faults]


def random_round(seed: int, number: int) -> list[Step]:
    """One round of a long run: single faults, and now and then two of different kinds at the same time."""
    source = random.Random(f"{seed}/{number}")
    steps = []
    for _ in range(PER_ROUND):
        fault = _single(source, seed)
        if source.random() < 0.25:
            other = _link_fault(source)
            if not isinstance(fault, LinkFault | RepeatedCuts):
                fault = Together(fault, other)
        steps.append(Step(source.uniform(0.0, 3.0), fault))
    return steps
