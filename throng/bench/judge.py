"""The judge: compares the history with what senders were told and what receivers saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from throng.bench.findings import Finding, Findings, Kind
from throng.bench.sender import State


class Stored(NamedTuple):
    """A message in the history; `own` is the run that wrote it, empty when no bench did."""

    seq: int
    sender_id: str
    client_msg_id: str
    digest: int
    own: str


class Written(NamedTuple):
    """What became of a message of a sender; see `Outgoing` for `first`, `last` and `uncertain`."""

    sender_id: str
    client_msg_id: str
    number: int
    digest: int
    state: State
    epoch: int
    seq: int
    first: int
    last: int
    uncertain: bool
    rejects: int
    reachable: bool


class Held(NamedTuple):
    """Where a receiver stands at the end."""

    user_id: str
    epoch: int
    base_seq: int
    held_seq: int
    online: bool
    redundant: int
    gaps: int
    catch_up_ns_max: int


@dataclass(slots=True)
class Seen:
    """What the receivers of one process saw of a group: digests by seq from `base_seq` + 1 on; 0: not seen."""

    epoch: int
    base_seq: int
    digests: Sequence[int]


@dataclass(slots=True)
class GroupCase:
    """All that is known of one group at the end.

    Attributes:
        base_seq: the head before the run; `history` begins behind it.
        head_seq: the head as the group's owner says it when the history is read.
        judged_seq: the head that receivers had time to reach.
        history: the whole range, as it was read.
    """

    group_id: str
    epoch: int
    base_seq: int
    head_seq: int
    judged_seq: int
    history: list[Stored] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Deliveries over all groups: `expected` = `received` + `missing` (one per message and receiver)."""

    expected: int = 0
    received: int = 0
    missing: int = 0
    unreachable: int = 0
    redundant: int = 0
    gaps: int = 0
    stored: int = 0
    offline: int = 0


def judge_group(case: GroupCase, findings: Findings, tally: Tally, *, run_id: str, catch_up_limit_seconds: float = 0.0) -> None:
    """Adds to `findings` whatever is wrong in one group, and to `tally` what was delivered."""
    _check_history(case, findings)
    _check_written(case, findings, run_id)
    _check_sessions(case, findings)
    _check_seen(case, findings)
    _check_held(case, findings, tally, catch_up_limit_seconds)
    tally.stored += len(case.history)


def _check_history(case: GroupCase, findings: Findings) -> None:
    """I1: dense from the base to the head. I2: one seq per sender and id."""
    expected = case.base_seq
    places: dict[tuple[str, str], int] = {}
    for message in case.history:
        if message.seq > expected + 1:
            text = f"the history has nothing from {expected + 1} to {message.seq - 1}"
            findings.add(Finding(Kind.HOLE_IN_HISTORY, case.group_id, expected + 1, "history", text, message.seq - expected - 1))
        elif message.seq <= expected:
            findings.add(Finding(Kind.MISORDERED, case.group_id, message.seq, "history", f"seq {message.seq} after {expected}"))
        expected = max(expected, message.seq)
        key = (message.sender_id, message.client_msg_id)
        before = places.setdefault(key, message.seq)
        if before != message.seq and message.client_msg_id:
            text = f"{message.client_msg_id} of {message.sender_id} has the seqs {before} and {message.seq}"
            findings.add(Finding(Kind.DUPLICATED, case.group_id, message.seq, "history", text))
    if expected < case.head_seq:
        text = f"the head is {case.head_seq}, the history ends at {expected}"
        findings.add(Finding(Kind.HOLE_IN_HISTORY, case.group_id, expected + 1, "history", text, case.head_seq - expected))


def _check_written(case: GroupCase, findings: Findings, run_id: str) -> None:
    """I3: what was ACKed is there, where the ACK said, as it was written; what was refused is not."""
    acked = {message.seq for message in case.written if message.state is State.ACKED and message.epoch == case.epoch}
    stored: dict[tuple[str, str], Stored] = {}
    for found in case.history:
        key = (found.sender_id, found.client_msg_id)
        # Of a message that stands twice (which is told elsewhere) the place counts that an ACK named.
        if key not in stored or found.seq in acked:
            stored[key] = found
    known = set()
    for message in case.written:
        key = (message.sender_id, message.client_msg_id)
        known.add(key)
        _check_one(case, message, stored.get(key), findings)
    for key, found in stored.items():
        if found.own == run_id and key not in known:
            text = f"{found.client_msg_id} of {found.sender_id} is in the history, and that user never wrote it"
            findings.add(Finding(Kind.WRONG_CONTENT, case.group_id, found.seq, "history", text))


def _check_one(case: GroupCase, message: Written, found: Stored | None, findings: Findings) -> None:
    def add(kind: Kind, seq: int, text: str) -> None:
        findings.add(Finding(kind, case.group_id, seq, message.sender_id, text))

    name = message.client_msg_id
    if found is not None and found.digest != message.digest:
        add(Kind.WRONG_CONTENT, found.seq, f"{name} is stored with another content or sender than was sent")
    if message.state is State.ACKED:
        if found is None:
            add(
                Kind.ACK_WITHOUT_MESSAGE,
                message.seq,
                f"{name} was ACKed as {message.epoch}/{message.seq} and is not in the history",
            )
        elif (message.epoch, message.seq) != (case.epoch, found.seq):
            text = f"{name} was ACKed as {message.epoch}/{message.seq} and stands at {case.epoch}/{found.seq}"
            add(Kind.RENUMBERED, found.seq, text)
    elif message.state is State.REFUSED:
        if found is not None and not message.uncertain:
            add(Kind.REJECTED_BUT_STORED, found.seq, f"{name} was refused each time it was sent, and stands at {found.seq}")
    elif message.reachable and message.last:
        if found is not None:
            add(Kind.LOST_ACK, found.seq, f"{name} stands at {found.seq}, and its sender was never told")
        else:
            add(Kind.UNANSWERED, 0, f"{name} was neither ACKed nor refused")


def _check_sessions(case: GroupCase, findings: Findings) -> None:
    """I4: where every submission of one message came before every submission of another, so do the seqs."""
    by_sender: dict[str, list[Written]] = {}
    for message in case.written:
        if message.state is State.ACKED and message.epoch == case.epoch:
            by_sender.setdefault(message.sender_id, []).append(message)
    for sender_id, messages in by_sender.items():
        messages.sort(key=lambda message: message.seq)
        latest = newest = None
        for message in messages:
            if latest is not None and message.last < latest.first:
                text = f"{message.client_msg_id}, sent before {latest.client_msg_id}, has seq {message.seq}, not below {latest.seq}"
                findings.add(Finding(Kind.SESSION_MISORDERED, case.group_id, message.seq, sender_id, text))
            elif newest is not None and message.number < newest.number and not message.rejects and not newest.rejects:
                text = f"{message.client_msg_id} was written before {newest.client_msg_id}; both were sent more than once"
                findings.add(Finding(Kind.RESENDS_REORDERED, case.group_id, message.seq, sender_id, text))
            if latest is None or message.first > latest.first:
                latest = message
            if newest is None or message.number > newest.number:
                newest = message


def _check_seen(case: GroupCase, findings: Findings) -> None:
    """I5: what receivers saw at a seq is what stands there."""
    stored = {message.seq: message.digest for message in case.history}
    for seen in case.seen:
        if seen.epoch != case.epoch:
            continue
        for seq, digest in enumerate(seen.digests, seen.base_seq + 1):
            if digest and seq > case.base_seq and stored.get(seq, digest) != digest:
                text = "receivers saw another message at this seq than stands in the history"
                findings.add(Finding(Kind.CONFLICT, case.group_id, seq, "receivers", text))
            elif digest and seq > case.head_seq:
                text = f"receivers saw seq {seq}, and the head is {case.head_seq}"
                findings.add(Finding(Kind.BEYOND_HEAD, case.group_id, seq, "receivers", text))


def _check_held(case: GroupCase, findings: Findings, tally: Tally, limit_seconds: float) -> None:
    """I6: receivers hold everything up to the head."""
    for receiver in case.held:
        tally.redundant += receiver.redundant
        tally.gaps += receiver.gaps
        tally.offline += not receiver.online
        if receiver.base_seq < 0:
            continue
        same = receiver.epoch == case.epoch
        expected = max(0, case.judged_seq - receiver.base_seq) if same else 0
        received = min(receiver.held_seq, case.judged_seq) - receiver.base_seq if same else 0
        missing = max(0, expected - max(0, received))
        tally.expected += expected
        tally.received += max(0, received)
        tally.missing += missing
        if missing and receiver.online:
            text = f"holds {receiver.held_seq}, the head is {case.judged_seq}"
            findings.add(Finding(Kind.MISSING, case.group_id, receiver.held_seq + 1, receiver.user_id, text, missing))
        elif missing:
            tally.unreachable += missing
        if limit_seconds and receiver.catch_up_ns_max > limit_seconds * 1e9:
            text = f"took {receiver.catch_up_ns_max / 1e9:.1f} s to hold what it had missed; {limit_seconds:g} s are allowed"
            findings.add(Finding(Kind.SLOW_CATCH_UP, case.group_id, 0, receiver.user_id, text))
