"""A sender: order, resends and retries, and answers that contradict each other."""

from __future__ import annotations

import pytest

from throng.bench.findings import Findings, Kind
from throng.bench.sender import ANSWER_TIMEOUT_NS, Sender, State
from throng.domain.errors import ErrorCode

SECOND = 1_000_000_000


class Stage:
    """A sender that is online."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.sender = Sender("s1", "g", self.findings, max_attempts=2, jitter=lambda: 0.5)
        self.sender.on_online()

    def write(self, *names: str) -> None:
        for name in names:
            self.sender.write(name, f"text {name}", 1, 0)

    def sent(self, now_ns: int) -> list[str]:
        found = []
        while (message := self.sender.due(now_ns)) is not None:
            found.append(message.client_msg_id)
        return found

    def message(self, name: str):
        return next(one for one in self.sender.messages if one.client_msg_id == name)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_messages_go_out_in_order_and_are_acked(stage: Stage) -> None:
    stage.write("a", "b")
    assert stage.sent(1) == ["a", "b"]
    assert stage.sender.on_ack("g", "a", 1, 7, 2) is stage.message("a")
    assert stage.sender.unanswered == 1
    assert stage.sender.full is False


def test_after_a_reconnect_what_has_no_answer_is_sent_again_in_order(stage: Stage) -> None:
    stage.write("a", "b", "c")
    stage.sent(1)
    stage.sender.on_ack("g", "b", 1, 2, 2)
    stage.sender.on_offline()
    assert stage.sent(3) == []
    stage.write("d")
    stage.sender.on_online()
    assert stage.sent(4) == ["a", "c", "d"]
    assert stage.sender.resends == 2
    assert (stage.message("a").first, stage.message("a").last) == (1, 4)


def test_a_lost_ack_is_asked_for_again_and_a_second_one_is_fine(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.tick(1 + ANSWER_TIMEOUT_NS)
    assert stage.sent(2 + 2 * ANSWER_TIMEOUT_NS) == ["a"]
    stage.sender.on_ack("g", "a", 1, 5, 3)
    stage.sender.on_ack("g", "a", 1, 5, 4)
    assert stage.sender.acks_again == 1
    assert stage.findings.counts == {}


def test_a_second_ack_with_another_seq_breaks_i2(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.on_ack("g", "a", 1, 5, 3)
    stage.sender.on_ack("g", "a", 1, 6, 4)
    assert stage.findings.counts == {Kind.ACK_CHANGED: 1}


def test_an_ack_for_what_was_never_sent_is_foreign(stage: Stage) -> None:
    stage.write("a")
    stage.sender.on_ack("g", "a", 1, 5, 3)
    stage.sender.on_ack("g", "z", 1, 5, 3)
    assert stage.findings.counts == {Kind.ACK_FOREIGN: 2}


def test_a_retryable_refusal_waits_and_holds_back_what_came_later(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.on_reject("a", ErrorCode.UNAVAILABLE, 3_000, 2)
    stage.write("b")
    assert stage.sent(2 * SECOND) == []
    assert stage.sent(4 * SECOND) == ["a", "b"]


def test_retries_are_limited(stage: Stage) -> None:
    stage.write("a")
    for attempt in range(2):
        assert stage.sent((attempt + 1) * 100 * SECOND) == ["a"]
        stage.sender.on_reject("a", ErrorCode.UNAVAILABLE, 0, (attempt + 1) * 100 * SECOND)
    assert stage.message("a").state is State.REFUSED
    assert stage.sender.refusals == {"UNAVAILABLE": 1}
    assert stage.sender.rejections == {"UNAVAILABLE": 2}
    assert stage.sender.unanswered == 0


def test_a_final_refusal_is_not_retried(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.on_reject("a", ErrorCode.BLOCKED_CONTENT, 0, 2)
    assert stage.message("a").state is State.REFUSED
    assert not stage.message("a").uncertain


def test_an_ack_behind_a_definite_refusal_contradicts_it(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.on_reject("a", ErrorCode.RATE_LIMITED, 1_000, 2)
    stage.sender.on_ack("g", "a", 1, 5, 3)
    assert stage.findings.counts == {Kind.ACK_AFTER_REJECT: 1}


def test_an_ack_behind_an_unavailable_is_possible(stage: Stage) -> None:
    stage.write("a")
    stage.sent(1)
    stage.sender.on_reject("a", ErrorCode.DEADLINE_EXCEEDED, 0, 2)
    stage.sender.on_ack("g", "a", 1, 5, 3)
    assert stage.findings.counts == {}


def test_a_refused_message_counts_from_its_next_submission(stage: Stage) -> None:
    stage.write("a", "b")
    stage.sent(1)
    stage.sender.on_reject("a", ErrorCode.RATE_LIMITED, 0, 2)
    assert stage.sent(100 * SECOND) == ["a"]
    assert (stage.message("a").first, stage.message("a").last) == (3, 3)
    assert (stage.message("b").first, stage.message("b").last) == (2, 2)


def test_the_interval_of_the_group_is_kept(stage: Stage) -> None:
    stage.sender.interval_ns = SECOND
    stage.write("a", "b")
    assert stage.sent(SECOND) == ["a"]
    assert stage.sent(SECOND + SECOND // 2) == []
    assert stage.sent(3 * SECOND) == ["b"]
