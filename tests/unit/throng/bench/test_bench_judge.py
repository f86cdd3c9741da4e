"""The judge over made-up evidence: each fault is reported as what it is, and a run without one passes."""

from __future__ import annotations

import dataclasses

import pytest

from throng.bench.findings import Findings, Kind
from throng.bench.judge import GroupCase, Held, Seen, Stored, Tally, Written, judge_group
from throng.bench.sender import State


def stored(seq: int, name: str | None = None, *, sender: str = "s1") -> Stored:
    return Stored(seq, sender, name or f"m{seq}", 100 + seq, "run")


def written(seq: int, /, **changes: object) -> Written:
    made = Written("s1", f"m{seq}", seq, 100 + seq, State.ACKED, 1, seq, seq, seq, False, 0, True)
    return made._replace(**changes)  # type: ignore[arg-type]


def held(seq: int, **changes: object) -> Held:
    return Held("r1", 1, 0, seq, True, 0, 0, 0)._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def case() -> GroupCase:
    """Three messages, all ACKed, all seen."""
    seqs = (1, 2, 3)
    return GroupCase(
        "g", 1, 0, 3, 3, [stored(s) for s in seqs], [written(s) for s in seqs], [held(3)], [Seen(1, 0, [101, 102, 103])]
    )


def judged(case: GroupCase, **options: float) -> tuple[dict[Kind, int], Tally]:
    findings, tally = Findings(), Tally()
    judge_group(case, findings, tally, run_id="run", **options)  # type: ignore[arg-type]
    return findings.counts, tally


def test_nothing_is_wrong(case: GroupCase) -> None:
    counts, tally = judged(case)
    assert counts == {}
    assert (tally.expected, tally.received, tally.missing, tally.stored) == (3, 3, 0, 3)


def test_a_lost_tail_is_missing(case: GroupCase) -> None:
    case.held = [held(2), held(3)]
    counts, tally = judged(case)
    assert counts == {Kind.MISSING: 1}
    assert (tally.expected, tally.received, tally.missing) == (6, 5, 1)


def test_a_receiver_without_a_connection_is_not_the_products_fault_by_itself(case: GroupCase) -> None:
    case.held = [held(1, online=False)]
    counts, tally = judged(case)
    assert counts == {}
    assert (tally.missing, tally.unreachable, tally.offline) == (2, 2, 1)


def test_a_hole_in_the_history(case: GroupCase) -> None:
    del case.history[1]
    counts, _ = judged(case)
    assert counts == {Kind.HOLE_IN_HISTORY: 1, Kind.ACK_WITHOUT_MESSAGE: 1}


def test_a_history_that_ends_below_the_head(case: GroupCase) -> None:
    case.head_seq = case.judged_seq = 5
    case.held = [held(5)]
    assert judged(case)[0] == {Kind.HOLE_IN_HISTORY: 2}


def test_a_message_at_two_seqs_is_duplicated(case: GroupCase) -> None:
    case.history.append(Stored(4, "s1", "m3", 103, "run"))
    case.head_seq = 4
    counts, _ = judged(case)
    assert counts[Kind.DUPLICATED] == 1


def test_a_history_out_of_order(case: GroupCase) -> None:
    case.history[1], case.history[2] = case.history[2], case.history[1]
    counts, _ = judged(case)
    assert counts == {Kind.HOLE_IN_HISTORY: 1, Kind.MISORDERED: 1}


def test_an_ack_whose_message_never_came(case: GroupCase) -> None:
    case.written.append(written(4))
    assert judged(case)[0] == {Kind.ACK_WITHOUT_MESSAGE: 1}


def test_an_acked_message_at_another_seq_is_renumbered(case: GroupCase) -> None:
    case.written[2] = written(3, seq=9)
    assert judged(case)[0] == {Kind.RENUMBERED: 1}


def test_an_acked_message_that_a_new_epoch_does_not_hold_is_lost(case: GroupCase) -> None:
    case.epoch, case.base_seq, case.head_seq, case.judged_seq, case.history = 2, 0, 0, 0, []
    case.held = [held(0, epoch=2)]
    assert judged(case)[0] == {Kind.ACK_WITHOUT_MESSAGE: 3}


def test_a_stored_message_whose_sender_was_never_told_is_a_lost_ack(case: GroupCase) -> None:
    case.written[2] = written(3, state=State.IN_FLIGHT, epoch=0, seq=0, uncertain=True)
    assert judged(case)[0] == {Kind.LOST_ACK: 1}


def test_a_message_without_any_answer(case: GroupCase) -> None:
    case.written.append(written(4, state=State.WAITING, epoch=0, seq=0, uncertain=True))
    assert judged(case)[0] == {Kind.UNANSWERED: 1}


def test_without_a_connection_nobody_is_blamed_for_a_missing_answer(case: GroupCase) -> None:
    case.written.append(written(4, state=State.WAITING, epoch=0, seq=0, reachable=False))
    assert judged(case)[0] == {}


def test_a_refused_message_that_is_stored(case: GroupCase) -> None:
    case.written[2] = written(3, state=State.REFUSED, rejects=1)
    assert judged(case)[0] == {Kind.REJECTED_BUT_STORED: 1}


def test_a_refusal_without_certainty_may_be_stored(case: GroupCase) -> None:
    case.written[2] = written(3, state=State.REFUSED, rejects=1, uncertain=True)
    assert judged(case)[0] == {}


def test_another_content_than_was_sent(case: GroupCase) -> None:
    case.written[1] = written(2, digest=999)
    assert judged(case)[0] == {Kind.WRONG_CONTENT: 1}


def test_a_message_that_nobody_wrote(case: GroupCase) -> None:
    del case.written[1]
    assert judged(case)[0] == {Kind.WRONG_CONTENT: 1}


def test_messages_of_other_runs_are_left_alone(case: GroupCase) -> None:
    case.history.append(Stored(4, "alice", "m4", 5, ""))
    case.head_seq = 4
    assert judged(case)[0] == {}


def test_receivers_saw_another_message_than_stands_in_the_history(case: GroupCase) -> None:
    case.seen = [Seen(1, 0, [101, 999, 103])]
    assert judged(case)[0] == {Kind.CONFLICT: 1}


def test_receivers_saw_what_is_not_stored(case: GroupCase) -> None:
    case.seen = [Seen(1, 0, [101, 102, 103, 104])]
    assert judged(case)[0] == {Kind.BEYOND_HEAD: 1}


def test_a_session_out_of_order(case: GroupCase) -> None:
    case.written = [written(1, first=2, last=2), written(2, first=1, last=1), written(3)]
    assert judged(case)[0] == {Kind.SESSION_MISORDERED: 1}


def test_two_sessions_have_no_order_between_them(case: GroupCase) -> None:
    case.history[0] = stored(1, sender="s2")
    case.written = [written(1, sender_id="s2", first=9, last=9), written(2), written(3)]
    assert judged(case)[0] == {}


def test_resends_that_overlap_may_change_places_but_are_told(case: GroupCase) -> None:
    case.written = [written(1, number=2, first=2, last=4), written(2, number=1, first=1, last=3), written(3)]
    counts, _ = judged(case)
    assert counts == {Kind.RESENDS_REORDERED: 1}
    assert not Kind.RESENDS_REORDERED.is_fault


def test_a_slow_catch_up_is_a_fault_where_the_plan_says_so(case: GroupCase) -> None:
    case.held = [held(3, catch_up_ns_max=6_000_000_000)]
    assert judged(case)[0] == {}
    assert judged(dataclasses.replace(case), catch_up_limit_seconds=5.0)[0] == {Kind.SLOW_CATCH_UP: 1}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_an_invariant(kind: Kind) -> None:
    assert kind.invariant
