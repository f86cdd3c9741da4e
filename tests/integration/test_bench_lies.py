"""`throng bench` against servers that lie: every lie is found, called by its name, and nothing else is."""

from __future__ import annotations

import pathlib

from lying_throng import LyingThrong

from throng.bench import BenchPlan, Verdict, run
from throng.bench.findings import Kind

LIES: dict[str, set[Kind]] = {
    "honest": set(),
    "twice-delivered": set(),
    "lost-tail": {Kind.MISSING},
    "twice-stored": {Kind.DUPLICATED},
    "swapped": {Kind.MISORDERED},
    "foreign": {Kind.FOREIGN},
    "ack-only": {Kind.ACK_WITHOUT_MESSAGE},
    "no-ack": {Kind.LOST_ACK},
    "two-contents": {Kind.CONFLICT},
    "other-ack": {Kind.ACK_CHANGED},
    "reject-then-ack": {Kind.ACK_AFTER_REJECT},
    "hole": {Kind.HOLE_IN_HISTORY, Kind.MISSING},
    "session": {Kind.SESSION_MISORDERED},
}


def test_every_lie_is_found_and_called_by_its_name(tmp_path: pathlib.Path) -> None:
    """I1 to I6 and I9 broken on purpose, one by one, in a group each."""
    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    with LyingThrong() as throng:
        plan = BenchPlan(
            urls=(throng.url,),
            group_address=throng.group_address,
            jwt_secret_file=secret,
            group_ids=tuple(LIES),
            receivers=2 * len(LIES),
            senders=len(LIES),
            rate=10.0 * len(LIES),
            seconds=0.8,
            settle_seconds=1.0,
        )
        report = run(plan)
    assert report.verdict is Verdict.PRODUCT_FAULT, report.summary()
    found: dict[str, set[Kind]] = {group_id: set() for group_id in LIES}
    for finding in report.findings:
        # What is another group's is found at the receivers of `foreign`.
        found["foreign" if finding.group_id == "somebody-elses" else finding.group_id].add(finding.kind)
    assert found == LIES, report.summary()
    assert report.deliveries.redundant >= 2


def test_a_server_that_tells_the_truth_passes(tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    with LyingThrong() as throng:
        target = {"urls": (throng.url,), "group_address": throng.group_address, "jwt_secret_file": secret}
        report = run(BenchPlan(**target, group_ids=("honest",), receivers=3, senders=2, rate=50.0, seconds=0.5))  # type: ignore[arg-type]
    assert report.verdict in (Verdict.PASSED, Verdict.LOAD_CLIENT_SATURATED), report.summary()
    assert report.deliveries.expected == report.deliveries.received == 75
