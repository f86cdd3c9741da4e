"""What the judge can find, each with the invariant that it breaks, and a bounded collection of findings with examples."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

MAX_EXAMPLES = 10
"""Examples kept per kind; all are counted."""


class Kind(enum.StrEnum):
    """What is wrong. `invariant` names the promise; `is_fault` tells whether the product broke it beyond doubt."""

    HOLE_IN_HISTORY = "hole_in_history"
    MISSING = "missing"
    DUPLICATED = "duplicated"
    MISORDERED = "misordered"
    FOREIGN = "foreign"
    CONFLICT = "conflict"
    WRONG_CONTENT = "wrong_content"
    ACK_CHANGED = "ack_changed"
    ACK_FOREIGN = "ack_foreign"
    ACK_WITHOUT_MESSAGE = "ack_without_message"
    ACK_AFTER_REJECT = "ack_after_reject"
    RENUMBERED = "renumbered"
    REJECTED_BUT_STORED = "rejected_but_stored"
    LOST_ACK = "lost_ack"
    UNANSWERED = "unanswered"
    SESSION_MISORDERED = "session_misordered"
    RESENDS_REORDERED = "resends_reordered"
    EPOCH_CHANGED = "epoch_changed"
    EPOCH_WENT_BACK = "epoch_went_back"
    BEYOND_HEAD = "beyond_head"
    SLOW_CATCH_UP = "slow_catch_up"

    @property
    def invariant(self) -> str:
        """Number in docs/architecture.md, or `protocol` for a promise of docs/protocol.md."""
        return _INVARIANTS[self]

    @property
    def is_fault(self) -> bool:
        """False: worth knowing, and possible without a defect."""
        return self not in _NO_FAULT


_INVARIANTS = {
    Kind.HOLE_IN_HISTORY: "I1",
    Kind.MISSING: "I6",
    Kind.DUPLICATED: "I2",
    Kind.MISORDERED: "I5",
    Kind.FOREIGN: "I9",
    Kind.CONFLICT: "I1",
    Kind.WRONG_CONTENT: "I3",
    Kind.ACK_CHANGED: "I2",
    Kind.ACK_FOREIGN: "I9",
    Kind.ACK_WITHOUT_MESSAGE: "I3",
    Kind.ACK_AFTER_REJECT: "protocol",
    Kind.RENUMBERED: "I3",
    Kind.REJECTED_BUT_STORED: "protocol",
    Kind.LOST_ACK: "protocol",
    Kind.UNANSWERED: "protocol",
    Kind.SESSION_MISORDERED: "I4",
    Kind.RESENDS_REORDERED: "I4",
    Kind.EPOCH_CHANGED: "I3",
    Kind.EPOCH_WENT_BACK: "I1",
    Kind.BEYOND_HEAD: "I3",
    Kind.SLOW_CATCH_UP: "I6",
}
_NO_FAULT = frozenset({Kind.RESENDS_REORDERED, Kind.EPOCH_CHANGED})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: what.
        group_id: where.
        seq: at which seq, as far as there is one; otherwise 0.
        who: receiver or sender (its user id), or `history`.
        text: one sentence.
        count: how many messages it is about.
    """

    kind: Kind
    group_id: str
    seq: int
    who: str
    text: str
    count: int = 1


class Findings:
    """Counts findings by kind and keeps the first few of each; bounded however much goes wrong."""

    def __init__(self) -> None:
        self.counts: dict[Kind, int] = {}
        self.examples: list[Finding] = []
        self._kept: dict[Kind, int] = {}

    def add(self, finding: Finding) -> None:
        """Notes one."""
        self.counts[finding.kind] = self.counts.get(finding.kind, 0) + finding.count
        if self._kept.get(finding.kind, 0) < MAX_EXAMPLES:
            self._kept[finding.kind] = self._kept.get(finding.kind, 0) + 1
            self.examples.append(finding)

    def merge(self, counts: dict[Kind, int], examples: Iterable[Finding]) -> None:
        """Takes what another process found."""
        for kind, count in counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        for finding in examples:
            if self._kept.get(finding.kind, 0) < MAX_EXAMPLES:
                self._kept[finding.kind] = self._kept.get(finding.kind, 0) + 1
                self.examples.append(finding)

    def count(self, *kinds: Kind) -> int:
        """How often these were found."""
        return sum(self.counts.get(kind, 0) for kind in kinds)

    @property
    def faults(self) -> list[Kind]:
        """Kinds found that are faults of the product."""
        return [kind for kind, count in self.counts.items() if count and kind.is_fault]
