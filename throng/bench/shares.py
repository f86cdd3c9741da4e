"""What coordinator and workers say to each other: a share of the plan down, figures and at the end the evidence up."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, field

from throng.bench.findings import Finding, Kind
from throng.bench.judge import Held, Seen, Written
from throng.bench.series import Slot


@dataclass(frozen=True, slots=True)
class ClientShare:
    """A client of a worker: its user, its group and the edge it begins with."""

    user_id: str
    group_id: str
    edge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker does.

    Attributes:
        origin_ns: time of slot 0, the machine's monotonic clock.
        rate: messages per second of all its senders.
        ramp: connections opened per second.
        rate_steps: factors of the rate, each for an equal part of the sending.
        churn_per_second: receivers that leave per second, to come back a moment later.
        slow_share: which part of the receivers stops reading on `Stall`.
    """

    run_id: str
    urls: tuple[str, ...]
    jwt_secret_file: pathlib.Path
    origin_ns: int
    receivers: tuple[ClientShare, ...]
    senders: tuple[ClientShare, ...]
    rate: float
    ramp: float
    text_bytes: int
    notify: bool
    max_attempts: int
    seed: int
    rate_steps: tuple[float, ...] = ()
    churn_per_second: float = 0.0
    slow_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Begin:
    """Down: send from `start_ns` until `stop_ns`, at the latest."""

    start_ns: int
    stop_ns: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Down: write no more messages."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Down: end the connections of a share of all clients at once, without a word; they come back as the protocol says."""

    share: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Down: slow receivers stop reading."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Down: slow receivers read again."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Down: heads by group as (epoch, seq), for judging who is behind. `round` comes back in ticks."""

    round: int
    heads: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Finish:
    """Down: close everything and send the evidence."""


@dataclass(slots=True)
class Tick:
    """Up, four times a second: how it stands. `behind`: receivers below a head known; `heads`: that were not told before."""

    slots: list[Slot] = field(default_factory=list)
    entered: int = 0
    online: int = 0
    unanswered: int = 0
    behind: int = 0
    heads_round: int = 0
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: int = 0


Packed = tuple[dict[int, int], int]


@dataclass(slots=True)
class GroupEvidence:
    """Of one group in one process; arrays as bytes of 64-bit numbers by seq from `base_seq` + 1 on."""

    epoch: int
    base_seq: int
    digests: bytes
    created_ns: bytes
    shown_ns: bytes
    held: list[Held] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)

    def seen(self) -> Seen:
        """The digests as the judge wants them."""
        from array import array

        return Seen(self.epoch, self.base_seq, array("Q", self.digests))


@dataclass(slots=True)
class Evidence:
    """Up, once: everything that a worker knows.

    Attributes:
        cpu_share: of one core while messages were sent and delivered.
        schedule_lag, loop_lag: how late messages were written, and how late timers ran.
        own_limits: failures to connect that are this machine's own.
        problems, closes, rejections, refusals: counts by reason.
        totals: counts by name. slow_lag: from writing to each of the receivers that stop reading for a while.
    """

    groups: dict[str, GroupEvidence]
    slots: list[Slot]
    counts: dict[Kind, int]
    examples: list[Finding]
    ack_latency: Packed
    lag: Packed
    loop_lag: Packed
    schedule_lag: Packed
    cpu_share: float
    own_limits: dict[str, int]
    problems: dict[str, int]
    closes: dict[int, int]
    rejections: dict[str, int]
    refusals: dict[str, int]
    totals: dict[str, int]
    slow_lag: Packed = field(default_factory=lambda: ({}, 0))
