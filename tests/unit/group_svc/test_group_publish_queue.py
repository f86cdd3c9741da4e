"""What waits for a router: bounded, heads in place of blocks, urgent things first (I8, I9)."""

from __future__ import annotations

from group_fakes import GROUP, ORIGIN, stored
from prometheus_client import CollectorRegistry

from edge.adapters.proto_values import to_event
from group_svc.adapters.event_codec import block_bytes
from group_svc.adapters.publish_queue import PublishQueue
from group_svc.adapters.stored_message_codec import to_message
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication, BlockPublication, GroupPublication, MemberPublication
from throng.api.common.v1 import error_pb2, message_pb2
from throng.api.edge.v1 import edge_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, Member, Role
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import Origin, Position
from throng.testing.fake_clock import FakeClock


def block(*seqs: int, group_id: GroupId = GROUP) -> BlockPublication:
    return BlockPublication(group_id, 1, seqs[0] - 1, tuple(stored(seq) for seq in seqs))


def queue(**bounds: int) -> tuple[PublishQueue, CollectorRegistry]:
    registry = CollectorRegistry()
    return PublishQueue(FakeClock(), GroupMetrics(registry), **bounds), registry


def events(taken) -> list[edge_pb2.EdgeEvent]:
    return [edge_pb2.EdgeEvent.FromString(publication.event) for publication in taken]


def test_block_bytes_are_those_of_the_contract() -> None:
    publication = block(*range(300, 310))
    parsed = message_pb2.Block.FromString(block_bytes(publication))
    assert (parsed.group_id, parsed.epoch, parsed.prev_seq) == ("g", 1, 299)
    assert list(parsed.messages) == [to_message(message) for message in publication.messages]


def test_publications_carry_what_routers_read() -> None:
    waiting, _ = queue()
    refused = AnswerPublication(ORIGIN, GROUP, "id", None, error=ThrongError(ErrorCode.MUTED, "no", retry_after_ms=5))
    waiting.put([block(1, 2), AnswerPublication(ORIGIN, GROUP, "id", Position(1, 2), sent_at_ms=9), refused])
    to_group, reject, ack = waiting.take(0.0)
    assert (to_group.group_id, to_group.epoch, to_group.head_seq, to_group.edge_id) == ("g", 1, 2, "")
    assert (ack.edge_id, ack.incarnation, ack.group_id) == ("edge-1", 7, "")
    told = events([ack, reject])
    assert (told[0].answer.conn_id, told[0].answer.ack.seq, told[0].answer.ack.sent_at_ms) == ("c1", 2, 9)
    assert (told[1].answer.reject.code, told[1].answer.reject.retry_after_ms) == (error_pb2.ERROR_CODE_MUTED, 5)


def test_acks_for_one_edge_go_together_in_order_and_others_apart() -> None:
    waiting, _ = queue()
    elsewhere = Origin(EdgeId("edge-2"), 3, ConnId("c9"), 4)
    acks = [AnswerPublication(ORIGIN, GROUP, f"id-{seq}", Position(2, seq), sent_at_ms=seq + 1) for seq in range(1, 252)]
    waiting.put([*acks[:100], AnswerPublication(elsewhere, GROUP, "x", Position(2, 500), sent_at_ms=1), *acks[100:]])
    taken = waiting.take(0.0)
    assert [(one.edge_id, one.incarnation) for one in taken] == [("edge-1", 7), ("edge-1", 7), ("edge-2", 3)]
    first, second, alone = events(taken)
    assert (len(first.acks.seqs), len(second.acks.seqs), alone.answer.conn_id) == (200, 51, "c9")
    rows = [row for event in (first, second) for row in to_event(event.SerializeToString(), wants_json=lambda group_id: False).rows]
    assert rows == [("c1", ORIGIN.request_id, "g", f"id-{seq}", 2, seq, seq + 1) for seq in range(1, 252)]


def test_acks_that_find_no_room_are_counted_each_i8() -> None:
    waiting, registry = queue(max_items=1)
    waiting.put([block(1)])
    waiting.put([AnswerPublication(ORIGIN, GROUP, f"id-{seq}", Position(1, seq)) for seq in range(3)])
    assert len(waiting.take(0.0)) == 1
    assert registry.get_sample_value("throng_group_queue_overflows_total", {"queue": "publish"}) == 3


def test_without_room_blocks_become_the_newest_head_and_answers_are_dropped_i8() -> None:
    waiting, registry = queue(max_items=2)
    other = GroupId("h")
    waiting.put([block(1), block(2)])
    waiting.put([block(3), block(4), block(5, group_id=other), AnswerPublication(ORIGIN, GROUP, "id", Position(1, 3))])
    told = events(waiting.take(0.0))
    assert [event.WhichOneof("event") for event in told] == ["block", "block", "head", "head"]
    assert [(event.group_id, event.head.head_seq) for event in told[2:]] == [("g", 4), ("h", 5)]
    assert len(waiting) == 0
    assert registry.get_sample_value("throng_group_queue_overflows_total", {"queue": "publish"}) == 4


def test_bytes_are_bounded_too_i8() -> None:
    waiting, _ = queue(max_bytes=100)
    for seq in range(1, 50):
        waiting.put([block(seq)])
    assert len(events(waiting.take(0.0))) < 5
    waiting.put([block(50)])
    assert events(waiting.take(0.0))[0].WhichOneof("event") == "block"


def test_a_removal_overtakes_a_flood_i9() -> None:
    waiting, _ = queue(max_items=3)
    waiting.put([block(seq) for seq in range(1, 10)])
    waiting.put([MemberPublication(GROUP, Member(UserId("eve"), Role.NONE)), GroupPublication(Group(GROUP, "new name"))])
    told = events(waiting.take(0.0))
    assert (told[0].member_change.user_id, told[0].member_change.role) == ("eve", 0)
    assert told[1].group_changed.name == "new name"


def test_batches_are_bounded() -> None:
    waiting, _ = queue()
    waiting.put([block(seq) for seq in range(1, 2_501)])
    sizes = []
    while taken := waiting.take(0.0):
        sizes.append(len(taken))
    assert sizes == [1_000, 1_000, 500]
