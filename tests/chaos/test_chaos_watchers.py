"""The schedule repeats itself by its seed, covers every link and part, and the watchers see what they are there for."""

from __future__ import annotations

import pathlib
import re
from typing import Any, cast

import pytest
import yaml
from chaos_stage import ChaosStage
from door_probe import Answer, DoorProbe
from faults import Fault, KillBackend, KillGroupServiceFull, PauseBackend, Together, cut
from memory_watch import MemoryWatch
from removed_member import RemovedMember
from schedule import TRIED, every_fault, long_outages, random_round
from told import NOT_FIRED, TOLD, Made, long_faults, not_told, told_of
from unread_audit import expected
from watcher import RULES, quickened

from throng.api.common.v1 import message_pb2

CHAOS_PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/chaos.md"
NO_STAGE = cast(ChaosStage, None)


def names(rounds: list[list[Any]]) -> list[list[str]]:
    return [[fault.name for fault in one] for one in rounds]


def test_a_seed_makes_the_same_schedule_again() -> None:
    assert names(every_fault(7)) == names(every_fault(7))
    assert names(every_fault(7)) != names(every_fault(8))
    first, again = random_round(7, 3), random_round(7, 3)
    assert [(step.after_seconds, step.fault.name, step.fault.hold_seconds) for step in first] == [
        (step.after_seconds, step.fault.name, step.fault.hold_seconds) for step in again
    ]
    assert [step.fault.name for step in first] != [step.fault.name for step in random_round(7, 4)]


@pytest.mark.parametrize("seed", range(4))
def test_the_short_version_makes_every_fault(seed: int) -> None:
    made = {name for one in names(every_fault(seed)) for names_ in one for name in names_.split(" + ")}
    for part in ("edge-", "router-", "group-", "unread-1", "kafka", "redis", "mariadb in mid-commit"):
        assert any(name.startswith(f"kill {part}") for name in made), part
    for link in TRIED:
        assert {f"cut {link}", f"stall {link}"} <= made
    assert {"flush redis", "mysql read-only", "pause mariadb", "rebalance", "repeated and delayed log records"} <= made
    assert any("past its session" in name for name in made)
    assert sum("clock" in name for name in made) == 2
    assert sum(name.startswith("slow") for name in made) == 5
    assert [step.fault.hold_seconds for step in long_outages()] == [60.0] * 3


def stored(seq: int, sender: str = "ann", *, recalled_by: int = 0, recall: int = 0) -> message_pb2.Message:
    if recall:
        return message_pb2.Message(seq=seq, sender_id=sender, recall=message_pb2.Recall(target_seq=recall))
    if recalled_by:
        return message_pb2.Message(seq=seq, sender_id=sender, recalled_by_seq=recalled_by)
    return message_pb2.Message(seq=seq, sender_id=sender, text=message_pb2.Text(text="x"))


def test_the_model_of_unread_counts() -> None:
    history = [stored(1), stored(2, "bob"), stored(3, recalled_by=4), stored(4, recall=3), *(stored(seq) for seq in range(5, 110))]
    assert expected(history, "bob", 107) == (2, False)
    assert expected(history, "ann", 0) == (1, False), "one's own do not count"
    assert expected(history, "bob", 2) == (99, True)
    assert expected(history, "bob", 10) == (99, False)
    assert expected(history[:5], "bob", 0) == (2, False), "what was recalled, and the recall, do not count"


def test_a_removed_member_complains_of_what_comes_too_late() -> None:
    member = RemovedMember(NO_STAGE, "gone", "g")
    member.take({"block": {"messages": [{"seq": "7"}]}}, 100.0)
    assert member.complaint() == "", "it was not removed yet"
    member.removed_at = 95.0
    assert member.complaint() == ""
    member.removed_at = 93.0
    assert "gone received [7] 7.0 s after" in member.complaint()
    member.received.clear()
    member.take({"notice": {"headSeq": "8"}}, 100.0)
    assert "[8]" in member.complaint()


def test_a_probe_tells_refusals_of_a_time() -> None:
    probe = DoorProbe(NO_STAGE, "p", "g", on_ack=lambda seq, count: None)
    probe.answers += [Answer("a", 1.0, 0.1, 5, "", 0), Answer("b", 2.0, 0.1, 0, "X", 500), Answer("c", 9.0, 0.1, 0, "X", 0)]
    assert [answer.client_msg_id for answer in probe.refusals(0.0, 5.0)] == ["b"]


def test_memory_is_compared_within_the_life_of_a_process() -> None:
    watch = MemoryWatch(dict)
    watch.samples += [(1.0, "edge-1", 10, 90.0), (2.0, "edge-1", 10, 130.0), (3.0, "edge-1", 11, 20.0), (4.0, "edge-1", 11, 80.0)]
    assert watch.growth(0.0, 5.0) == {"edge-1": (60.0, 130.0)}
    assert watch.growth(0.0, 2.5) == {"edge-1": (40.0, 130.0)}


def test_of_several_faults_the_last_is_mended_first() -> None:
    course: list[str] = []

    class Noted(Fault):
        def inject(self, stage: ChaosStage) -> None:
            course.append(f"break {self.name}")

        def heal(self, stage: ChaosStage) -> None:
            course.append(f"mend {self.name}")

    both = Together(Noted("a"), Noted("b"))
    both.inject(NO_STAGE)
    both.heal(NO_STAGE)
    assert course == ["break a", "break b", "mend b", "mend a"]


def test_an_outage_lasts_until_what_was_down_serves_again() -> None:
    assert KillBackend("kafka", 5.0).outage_seconds(12.0) == 12.0
    assert PauseBackend("mariadb", 11.0).outage_seconds(11.5) == 11.0
    assert KillGroupServiceFull("group-1", 1.0).outage_seconds(12.0) == 1.0, "the store serves before the process that was killed"
    assert KillBackend("redis", 5.0).outage_seconds(12.0) == cut("edge->router", 12.0).outage_seconds(12.0) == 0.0
    assert Together(PauseBackend("mariadb", 3.0), cut("client->edge", 12.0)).outage_seconds(12.5) == 3.0


class Named(Fault):
    def inject(self, stage: ChaosStage) -> None: ...

    def heal(self, stage: ChaosStage) -> None: ...


def alerts() -> set[str]:
    groups = yaml.safe_load((RULES / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def test_every_alert_is_fired_by_a_fault_or_it_is_said_why_not() -> None:
    short = {alert for one in every_fault(1) for fault in one for alert in told_of(fault)}
    assert short == set().union(*TOLD.values()), "a fault of the table is not made"
    fired = short | {alert for _, alert in long_faults()}
    assert fired.isdisjoint(NOT_FIRED)
    assert fired | set(NOT_FIRED) == alerts()


def test_the_page_names_the_fault_of_every_alert() -> None:
    rows = re.findall(r"^\| ((?:`Throng\w+`(?:, )?)+) \|", CHAOS_PAGE.read_text(encoding="utf-8"), re.M)
    named = [alert for row in rows for alert in re.findall(r"Throng\w+", row)]
    assert sorted(named) == sorted(alerts())


def test_what_was_not_told_is_named() -> None:
    made = [
        Made(Named("kill redis"), 10.0, 12.0),
        Made(Named("cut router->redis + cut client->edge"), 20.0, 24.0),
        Made(Named("flush redis"), 30.0, 31.0),
    ]
    drift, lost = "ThrongRouterOutOfStep", "ThrongRedisAway"
    assert not_told(made, {drift: [(21.0, 22.0)], lost: [(11.0, 14.0)]}) == []
    assert not_told(made, {drift: [(25.0, 26.0)], lost: [(5.0, 6.0), (26.5, 27.0)]}) == [], "one of two faults is enough"
    missing = not_told(made, {drift: [(5.0, 19.0), (28.0, 30.0)], "ThrongAckSlow": [(10.0, 40.0)]})
    assert missing == [
        "ThrongRedisAway did not fire upon kill redis or cut router->redis + cut client->edge",
        "ThrongRouterOutOfStep did not fire upon cut router->redis + cut client->edge",
    ]


def test_windows_of_rules_become_seconds() -> None:
    rules = "\n".join(quickened(path.read_text(encoding="utf-8")) for path in RULES.glob("*.yaml"))
    assert set(re.findall(r"\[(\w+)\]", rules)) == {"4s", "5s", "6s", "60s"}
    assert not re.search(r"^ +for:", rules, re.M)
    assert rules.count("last_over_time") == rules.count("[60s]") == 1
