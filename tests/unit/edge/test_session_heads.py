"""A head that is found ahead is pulled when its block had time to come, never before, and soon after (I6, ADR 0016).

Heads are compared 2 s, 4 s, … after a stage was made; `PATIENCE` is what a block has of any group, `BLOCK` what its gathering takes.
"""

from __future__ import annotations

import pytest
from session_stage import FakeConnection, SessionStage

from throng.domain.ids import GroupId

PATIENCE, NEW_PATIENCE, BLOCK = 0.5, 0.25, 1.0
TICK = 0.15


def make(**settings: int) -> tuple[SessionStage, FakeConnection]:
    stage = SessionStage()
    stage.services.add_group("g", "alice", **settings)
    return stage, stage.entered()


def talk(stage: SessionStage, *group_ids: str) -> None:
    """A block comes to each of the groups half a second before heads are compared for the first time, and the next one is gathered."""
    stage.pass_time(1.5)
    for group_id in group_ids:
        stage.tell(stage.services.write(group_id))


def seqs(connection: FakeConnection) -> list[int]:
    return [message.seq for frame in connection.take() for message in frame.block.messages]


def pulls(stage: SessionStage) -> int:
    return stage.services.calls["fetch_after"]


def test_a_block_that_is_on_its_way_is_not_pulled() -> None:
    stage, alice = make()
    stage.pass_time(1)
    before = pulls(stage)
    on_its_way = stage.services.write("g")
    stage.pass_time(1 + PATIENCE - TICK)  # heads were compared by now
    stage.tell(on_its_way)
    stage.pass_time(1)
    assert pulls(stage) == before
    assert seqs(alice) == [1]


def test_a_block_that_is_gathered_for_its_interval_is_not_pulled() -> None:
    stage, alice = make()
    talk(stage, "g")
    before = pulls(stage)
    on_its_way = stage.services.write("g")
    stage.pass_time(0.5 + PATIENCE + BLOCK - TICK)
    stage.tell(on_its_way)
    stage.pass_time(0.4)
    assert pulls(stage) == before
    assert seqs(alice) == [1, 2]


def test_a_group_that_talks_on_is_never_pulled() -> None:
    """Heads are ahead at each comparison, and blocks bring everything."""
    stage, alice = make()
    stage.pass_time(0.8)
    for _ in range(30):
        block = stage.services.write("g", 4)
        stage.pass_time(BLOCK)
        stage.tell(block)
    assert stage.counters.heals == 0
    assert seqs(alice) == list(range(1, 121))


def test_a_lost_block_is_pulled_when_it_had_time_to_come() -> None:
    stage, alice = make()
    talk(stage, "g")
    stage.services.write("g")
    stage.pass_time(0.5 + PATIENCE + BLOCK - TICK)
    assert seqs(alice) == [1]
    stage.pass_time(2 * TICK)
    assert seqs(alice) == [2]


def test_a_block_lost_right_after_a_comparison_is_healed_within_four_seconds() -> None:
    """I6 in the worst case: 2 s to the next comparison, and the longest patience."""
    stage, alice = make(block_interval_ms=10_000)
    stage.pass_time(2.05)
    stage.tell(stage.services.write("g"))
    stage.services.write("g")
    stage.pass_time(2 + PATIENCE + BLOCK + 2 * TICK)
    assert seqs(alice) == [1, 2]


@pytest.mark.parametrize("settings", [{"block_interval_ms": 0}, {"block_max_messages": 1}, {"block_max_messages": 0}])
def test_groups_without_gathering_are_not_waited_for(settings: dict[str, int]) -> None:
    stage, alice = make(**settings)
    talk(stage, "g")
    stage.services.write("g")
    stage.pass_time(0.5 + PATIENCE + TICK)
    assert seqs(alice) == [1, 2]


def test_a_short_interval_is_waited_for_no_longer_than_it_is() -> None:
    stage, alice = make(block_interval_ms=300)
    talk(stage, "g")
    stage.services.write("g")
    stage.pass_time(0.5 + PATIENCE + 0.3 - TICK)
    assert seqs(alice) == [1]
    stage.pass_time(2 * TICK)
    assert seqs(alice) == [2]


def test_after_a_silence_the_first_message_is_not_waited_for() -> None:
    """Nobody gathers it: no block came since the comparison before."""
    stage, alice = make()
    talk(stage, "g")
    stage.pass_time(2)
    stage.services.write("g")
    stage.pass_time(0.5 + PATIENCE + TICK)  # the comparison after 4 s
    assert seqs(alice) == [1, 2]


def test_an_edge_to_which_no_blocks_come_waits_no_longer_for_what_it_pulled() -> None:
    stage, alice = make()
    for last in range(1, 5):
        stage.services.write("g")
        stage.pass_time(2 + PATIENCE + TICK if last == 1 else 2)
        assert seqs(alice) == [last]


def test_groups_do_not_wait_for_one_another() -> None:
    """Each of them is pulled when it is due, whichever was found first and last."""
    stage = SessionStage()
    for group_id, interval_ms in (("a", 1_000), ("b", 0), ("c", 500), ("d", 0)):
        stage.services.add_group(group_id, "alice", block_interval_ms=interval_ms)
    alice = {group_id: stage.entered(group_id=group_id) for group_id in "abcd"}
    talk(stage, *"abcd")
    for group_id in "abc":
        stage.services.write(group_id)
    found = {}
    for step in range(40):
        stage.pass_time(0.1)
        found |= {group_id: step * 0.1 - 0.4 for group_id, connection in alice.items() if 2 in seqs(connection)}
    assert {group_id: pytest.approx(at, abs=TICK) for group_id, at in found.items()} == {"a": 1.5, "b": 0.5, "c": 1.0}


def test_a_gained_group_is_pulled_soon_while_no_block_has_come() -> None:
    """I6: what was published before the route stood comes without another message."""
    stage, alice = make()
    stage.pass_time(0.5)
    stage.services.write("g")
    stage.sessions.on_routes_applied([GroupId("g")])
    stage.services.run()
    stage.pass_time(NEW_PATIENCE - TICK)
    assert seqs(alice) == []
    stage.pass_time(2 * TICK)
    assert seqs(alice) == [1]


def test_a_first_block_that_is_on_its_way_to_a_gained_group_is_not_pulled() -> None:
    stage, alice = make()
    stage.pass_time(0.5)
    on_its_way = stage.services.write("g")
    stage.sessions.on_routes_applied([GroupId("g")])
    stage.services.run()
    stage.pass_time(NEW_PATIENCE - TICK)
    stage.tell(on_its_way)
    stage.pass_time(1)
    assert pulls(stage) == 0
    assert seqs(alice) == [1]


def test_a_gained_group_whose_blocks_come_is_pulled_when_they_had_time() -> None:
    """A block has come, so the route stands: what the head is ahead is on its way, or shows as a gap."""
    stage, alice = make()
    stage.pass_time(0.5)
    stage.tell(stage.services.write("g"))
    stage.services.write("g")
    stage.sessions.on_routes_applied([GroupId("g")])
    stage.services.run()
    stage.pass_time(PATIENCE + BLOCK - TICK)
    assert seqs(alice) == [1]
    stage.pass_time(2 * TICK)
    assert seqs(alice) == [2]


def test_after_a_break_all_groups_are_pulled_at_once() -> None:
    stage, alice = make()
    stage.pass_time(0.5)
    stage.tell(stage.services.write("g"))
    stage.services.write("g")
    stage.sessions.on_routes_applied(None)
    stage.services.run()
    assert seqs(alice) == [1, 2]


def test_one_gained_group_has_no_other_compared() -> None:
    """Somebody opens a group every second: the thousands that are held already are not asked for because of it."""
    stage = SessionStage()
    for group_id in "ab":
        stage.services.add_group(group_id, "alice")
    alice = {group_id: stage.entered(group_id=group_id) for group_id in "ab"}
    stage.pass_time(0.5)
    for group_id in "ab":
        stage.services.write(group_id)
    stage.sessions.on_routes_applied([GroupId("a"), GroupId("gone")])
    stage.services.run()
    stage.pass_time(NEW_PATIENCE + TICK)
    assert [seqs(alice[group_id]) for group_id in "ab"] == [[1], []]


def test_a_room_that_is_left_meanwhile_is_not_pulled() -> None:
    stage, alice = make()
    talk(stage, "g")
    stage.services.write("g")
    stage.pass_time(1)
    before = pulls(stage)
    stage.ask(alice, 2, leave={"group_id": "g"})
    stage.pass_time(2)
    assert pulls(stage) == before
