"""From the evidence of workers to the verdict, percentiles and recovery times."""

from __future__ import annotations

from array import array

import pytest

from throng.bench.findings import Finding, Kind
from throng.bench.judge import GroupCase, Held, Stored, Written
from throng.bench.latencies import Latencies
from throng.bench.report import Verdict
from throng.bench.sender import State
from throng.bench.series import SLOT_NS, STALE_LIMIT_NS, Slot, merge_slots, recovery, skipped_slots
from throng.bench.shares import Evidence, GroupEvidence
from throng.bench.verdict import Circumstances, Judged, judge

MS = 1_000_000


def numbers(kind: str, *values: int) -> bytes:
    return array(kind, values).tobytes()


def group_evidence(*shown_ms: int, held: int = 2, online: bool = True) -> GroupEvidence:
    return GroupEvidence(
        1,
        0,
        numbers("Q", 101, 102),
        numbers("q", 1 * MS, 2 * MS),
        numbers("q", *(ms * MS for ms in shown_ms)),
        [Held("r", 1, 0, held, online, 0, 0, 0)],
    )


def evidence(group: GroupEvidence, **changes: object) -> Evidence:
    nothing = Latencies().pack()
    values: dict[str, object] = {
        "groups": {"g": group},
        "slots": [Slot(0, submitted=2, acked=2)],
        "counts": {},
        "examples": [],
        "ack_latency": nothing,
        "lag": nothing,
        "loop_lag": nothing,
        "schedule_lag": nothing,
        "cpu_share": 0.1,
        "own_limits": {},
        "problems": {},
        "closes": {},
        "rejections": {},
        "refusals": {},
        "totals": {},
    }
    return Evidence(**values | changes)  # type: ignore[arg-type]


def verdict_of(*parts: Evidence, circumstances: Circumstances | None = None) -> Judged:
    case = GroupCase("g", 1, 0, 2, 2, [Stored(seq, "s", f"m{seq}", 100 + seq, "run") for seq in (1, 2)])
    case.written = [Written("s", f"m{seq}", seq, 100 + seq, State.ACKED, 1, seq, seq, seq, False, 0, True) for seq in (1, 2)]
    around = circumstances or Circumstances(2, 2)
    return judge({"g": case}, parts, around, run_id="run", catch_up_limit_seconds=0.0)


def slow(ms: int) -> tuple[dict[int, int], int]:
    latencies = Latencies()
    latencies.add(ms * MS)
    return latencies.pack()


def test_all_is_well() -> None:
    judged = verdict_of(evidence(group_evidence(5, 9)))
    assert judged.verdict is Verdict.PASSED
    assert (judged.messages.submitted, judged.messages.acked, judged.messages.unanswered) == (2, 2, 0)


def test_the_last_receiver_is_the_last_of_all_processes() -> None:
    judged = verdict_of(evidence(group_evidence(5, 9)), evidence(group_evidence(8, 4), slots=[]))
    assert judged.latency.last_receiver.count == 2
    assert judged.latency.last_receiver.max_ms == 7.0


def test_a_fault_wins_over_everything() -> None:
    lost = evidence(group_evidence(5, 0, held=1), cpu_share=2.0)
    judged = verdict_of(lost, circumstances=Circumstances(2, 2, aborted=True))
    assert judged.verdict is Verdict.PRODUCT_FAULT
    assert "missing (I6): 1" in judged.reason


def test_what_a_worker_found_counts() -> None:
    finding = Finding(Kind.FOREIGN, "other", 3, "r", "text")
    judged = verdict_of(evidence(group_evidence(5, 9), counts={Kind.FOREIGN: 1}, examples=[finding]))
    assert judged.verdict is Verdict.PRODUCT_FAULT
    assert judged.findings.examples == [finding]


@pytest.mark.parametrize(
    "changes",
    [{"cpu_share": 0.95}, {"loop_lag": slow(300)}, {"schedule_lag": slow(400)}, {"own_limits": {"Too many open files": 1}}],
)
def test_a_saturated_client_is_told(changes: dict[str, object]) -> None:
    judged = verdict_of(evidence(group_evidence(5, 9), **changes))
    assert judged.verdict is Verdict.LOAD_CLIENT_SATURATED
    assert len(judged.client.reasons) == 1


def test_receivers_without_a_connection_make_it_unreachable() -> None:
    judged = verdict_of(evidence(group_evidence(5, 0, held=1, online=False)))
    assert judged.verdict is Verdict.SERVER_UNREACHABLE
    assert "1 receivers had no connection" in judged.reason


def test_clients_that_never_entered_make_it_unreachable() -> None:
    judged = verdict_of(evidence(group_evidence(5, 9)), circumstances=Circumstances(1, 2))
    assert judged.verdict is Verdict.SERVER_UNREACHABLE


def test_a_server_that_accepts_nothing_does_not_pass() -> None:
    refused = evidence(group_evidence(5, 9), slots=[Slot(0, submitted=2, refused=2)], refusals={"UNAVAILABLE": 2})
    judged = verdict_of(refused)
    assert judged.verdict is Verdict.SERVER_UNREACHABLE
    assert judged.reason == "no message was ever accepted"


def test_an_early_end_is_told_and_after_a_cut_nobody_is_blamed() -> None:
    around = Circumstances(2, 2, aborted=True, cut=True)
    assert verdict_of(evidence(group_evidence(5, 0, held=1)), circumstances=around).verdict is Verdict.ABORTED


def test_exit_codes_differ() -> None:
    assert len({verdict.exit_code for verdict in Verdict}) == len(Verdict)
    assert 2 not in {verdict.exit_code for verdict in Verdict}


def test_percentiles() -> None:
    latencies = Latencies()
    for ms in range(100):
        latencies.add(ms * MS)
    latencies.add(120_000 * MS)
    found = latencies.percentiles()
    assert (found.count, found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (101, 51.0, 91.0, 100.0, 120_000.0)
    other = Latencies()
    other.merge(latencies.pack())
    assert other.percentiles() == found


def test_slots_of_processes_are_added_and_the_worst_is_kept() -> None:
    slots: dict[int, Slot] = {}
    merge_slots(slots, [Slot(3, acked=1, lag_ns_max=5, receivers_online=2)])
    merge_slots(slots, [Slot(3, acked=2, lag_ns_max=9, receivers_online=1)])
    assert slots == {3: Slot(3, acked=3, lag_ns_max=9, receivers_online=3)}


def test_a_loop_that_was_late_does_not_lose_its_clients() -> None:
    slots: dict[int, Slot] = {}
    merge_slots(slots, [Slot(index, receivers_online=5) for index in range(6)])
    ended = Slot(2, acked=3, receivers_online=4, senders_online=2, unanswered=1, stale_ns=7)
    merge_slots(slots, [ended, *skipped_slots(ended, 5)])
    assert [slots[index].receivers_online for index in range(6)] == [5, 5, 9, 9, 9, 5]
    assert slots[4] == Slot(4, receivers_online=9, senders_online=2, unanswered=1, stale_ns=7)
    assert skipped_slots(ended, 3) == []


def outage() -> list[Slot]:
    """A fault at slot 10; receivers are away until slot 25; ACKs and deliveries of new messages begin in slot 20 and 30."""
    slots = []
    for index in range(60):
        slot = Slot(index, receivers_online=2 if index < 10 or index >= 25 else 1)
        slot.newest_acked_ns = index * SLOT_NS if index < 10 or index >= 20 else 0
        slot.newest_shown_ns = index * SLOT_NS if index < 10 or index >= 30 else 0
        slot.stale_ns = STALE_LIMIT_NS + 1 if 20 <= index < 32 else 0
        slots.append(slot)
    return slots


def test_recovery_times() -> None:
    found = recovery(outage(), start_ns=0, at_ns=10 * SLOT_NS, receivers=2)
    assert found.first_ack_seconds == pytest.approx(1.1)
    assert found.first_delivery_seconds == pytest.approx(2.1)
    assert found.all_at_head_seconds == pytest.approx(2.3)


def test_a_message_that_waits_in_a_block_is_lacked_by_nobody() -> None:
    slots = [Slot(index, receivers_online=2, stale_ns=1_100_000_000) for index in range(20)]
    assert recovery(slots, start_ns=0, at_ns=0, receivers=2).all_at_head_seconds == 0.0


def test_without_recovery_there_is_no_time() -> None:
    found = recovery(outage()[:20], start_ns=0, at_ns=10 * SLOT_NS, receivers=2)
    assert (found.first_ack_seconds, found.first_delivery_seconds, found.all_at_head_seconds) == (None, None, None)


def test_where_nothing_ceased_receivers_were_always_at_head() -> None:
    assert recovery(outage()[40:], start_ns=0, at_ns=40 * SLOT_NS, receivers=2).all_at_head_seconds == 0.0
