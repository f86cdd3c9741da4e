"""Publications as throng.router.v1.Publication, with the EdgeEvent that edges read as bytes inside (hop 5)."""

from __future__ import annotations

from collections.abc import Sequence

from group_svc.adapters.group_codec import to_group, to_role
from group_svc.adapters.stored_message_codec import to_envelope
from group_svc.ports import (
    AnswerPublication,
    BlockPublication,
    MemberPublication,
    PublicationItem,
)
from throng.adapters.protobuf_wire import bytes_tag, varint
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2, message_pb2
from throng.api.edge.v1 import edge_pb2
from throng.api.router.v1 import router_pb2
from throng.domain.errors import ErrorCode
from throng.domain.ids import ConnId, EdgeId, GroupId
from throng.domain.message import Origin, Position
from throng.runtime.rpc_status import from_detail

_MESSAGES_TAG = bytes_tag(message_pb2.Block, "messages")


def block_bytes(block: BlockPublication) -> bytes:
    """Serializes throng.common.v1.Block: bodies are copied as they are stored, not parsed."""
    head = message_pb2.Block(group_id=block.group_id, epoch=block.epoch, prev_seq=block.prev_seq)
    parts = [head.SerializeToString()]
    for stored in block.messages:
        envelope = to_envelope(stored).SerializeToString()
        parts += (_MESSAGES_TAG, varint(len(envelope) + len(stored.body)), envelope, stored.body)
    return b"".join(parts)


def to_publication(item: PublicationItem, *, now_ms: int) -> router_pb2.Publication:
    """Makes the proto of one publication."""
    if isinstance(item, BlockPublication):
        event = edge_pb2.EdgeEvent(group_id=item.group_id, published_at_ms=now_ms, block=block_bytes(item))
        return router_pb2.Publication(
            group_id=item.group_id, epoch=item.epoch, head_seq=item.messages[-1].seq, event=event.SerializeToString()
        )
    if isinstance(item, AnswerPublication):
        event = edge_pb2.EdgeEvent(group_id=item.group_id, published_at_ms=now_ms, answer=to_answer(item))
        return router_pb2.Publication(
            edge_id=item.origin.edge_id, incarnation=item.origin.incarnation, event=event.SerializeToString()
        )
    if isinstance(item, MemberPublication):
        change = edge_pb2.MemberChange(
            user_id=item.member.user_id,
            role=to_role(item.member.role),
            muted_until_ms=item.member.muted_until_ms,
            members_version=item.members_version,
        )
        event = edge_pb2.EdgeEvent(group_id=item.group_id, published_at_ms=now_ms, member_change=change)
        return router_pb2.Publication(group_id=item.group_id, event=event.SerializeToString())
    group = item.group
    event = edge_pb2.EdgeEvent(group_id=group.group_id, published_at_ms=now_ms, group_changed=to_group(group))
    return router_pb2.Publication(group_id=group.group_id, event=event.SerializeToString())


def to_acks(items: Sequence[AnswerPublication], *, now_ms: int) -> router_pb2.Publication:
    """Makes the proto of ACKs that go to one life of one edge; each item has a position."""
    positions = [item.position for item in items if item.position is not None]
    acks = edge_pb2.Acks(
        conn_ids=[item.origin.conn_id for item in items],
        request_ids=[item.origin.request_id for item in items],
        group_ids=[item.group_id for item in items],
        client_msg_ids=[item.client_msg_id for item in items],
        epochs=[position.epoch for position in positions],
        seqs=[position.seq for position in positions],
        sent_at_ms=[item.sent_at_ms for item in items],
    )
    event = edge_pb2.EdgeEvent(published_at_ms=now_ms, acks=acks)
    origin = items[0].origin
    return router_pb2.Publication(edge_id=origin.edge_id, incarnation=origin.incarnation, event=event.SerializeToString())


def to_head(group_id: GroupId, epoch: int, head_seq: int, *, now_ms: int) -> router_pb2.Publication:
    """Makes the proto of what is left of blocks for which there was no room."""
    event = edge_pb2.EdgeEvent(group_id=group_id, published_at_ms=now_ms, head=edge_pb2.Head(epoch=epoch, head_seq=head_seq))
    return router_pb2.Publication(group_id=group_id, epoch=epoch, head_seq=head_seq, event=event.SerializeToString())


def from_answer(edge_id: EdgeId, answer: edge_pb2.Answer) -> AnswerPublication:
    """Reads the proto of an answer to one of our own callers."""
    origin = Origin(edge_id, 0, ConnId(answer.conn_id), answer.request_id)
    if answer.WhichOneof("outcome") == "ack":
        ack = answer.ack
        return AnswerPublication(
            origin, GroupId(ack.group_id), ack.client_msg_id, Position(ack.epoch, ack.seq), sent_at_ms=ack.sent_at_ms
        )
    reject = answer.reject
    error = from_detail(error_pb2.ErrorDetail(code=reject.code, text=reject.text, retry_after_ms=reject.retry_after_ms))
    return AnswerPublication(origin, GroupId(reject.group_id), reject.client_msg_id, None, error=error)


def to_answer(item: AnswerPublication) -> edge_pb2.Answer:
    """Makes the proto of an answer."""
    answer = edge_pb2.Answer(conn_id=item.origin.conn_id, request_id=item.origin.request_id)
    if item.position is not None:
        ack = client_pb2.Ack(
            group_id=item.group_id,
            client_msg_id=item.client_msg_id,
            epoch=item.position.epoch,
            seq=item.position.seq,
            sent_at_ms=item.sent_at_ms,
        )
        answer.ack.CopyFrom(ack)
        return answer
    error = item.error
    reject = client_pb2.Reject(
        group_id=item.group_id,
        client_msg_id=item.client_msg_id,
        code=error_pb2.ErrorCode.ValueType(ErrorCode.INTERNAL if error is None else error.code),
        text="" if error is None else error.text,
        retry_after_ms=0 if error is None else error.retry_after_ms,
    )
    answer.reject.CopyFrom(reject)
    return answer
