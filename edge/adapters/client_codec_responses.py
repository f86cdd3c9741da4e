"""Responses of `edge.core` as ServerFrames (hop 7), without messages: those stay serialized and are joined in later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.core import responses
from edge.ports import UnreadCount
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.domain.group import Delivery, Group, Role

MAX_UINT32 = 0xFFFF_FFFF


def to_frame(response: responses.Response) -> client_pb2.ServerFrame:
    """Makes the frame of a response; `messages` are left out, and the group of an `Entered`."""
    return _MAKERS[type(response)](response)


def to_group_of_entered(group: Group) -> client_pb2.Entered:
    """An `Entered` with the group alone."""
    return client_pb2.Entered(group=_group(group))


def _group(group: Group) -> group_pb2.Group:
    settings = group.settings
    return group_pb2.Group(
        group_id=group.group_id,
        name=group.name,
        epoch=group.epoch,
        head_seq=group.head_seq,
        member_count=group.member_count,
        settings=group_pb2.GroupSettings(
            open=settings.open,
            send_interval_ms=settings.send_interval_ms,
            budget_per_second=settings.budget_per_second,
            block_max_messages=settings.block_max_messages,
            block_interval_ms=settings.block_interval_ms,
            delivery=_delivery(settings.delivery),
            over_budget=group_pb2.OverBudget.ValueType(settings.over_budget),
        ),
        announcement=group.announcement,
        created_at_ms=group.created_at_ms,
    )


def _delivery(delivery: Delivery) -> group_pb2.Delivery.ValueType:
    return group_pb2.Delivery.ValueType(delivery)


def _role(role: Role) -> group_pb2.Role.ValueType:
    return group_pb2.Role.ValueType(role)


def _unread(unread: UnreadCount | None) -> client_pb2.Unread | None:
    return None if unread is None else client_pb2.Unread(count=unread.count, capped=unread.capped, read_seq=unread.read_seq)


def _welcome(welcome: responses.Welcome) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(
        welcome=client_pb2.Welcome(
            user_id=welcome.user_id,
            edge_id=welcome.edge_id,
            conn_id=welcome.conn_id,
            heartbeat_interval_ms=welcome.heartbeat_interval_ms,
            max_frame_bytes=welcome.max_frame_bytes,
            min_send_interval_ms=welcome.min_send_interval_ms,
            reconnect=client_pb2.Reconnect(base_ms=welcome.reconnect_base_ms, max_ms=welcome.reconnect_max_ms),
        )
    )


def _entered(entered: responses.Entered) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(
        entered=client_pb2.Entered(
            role=_role(entered.role),
            unread=_unread(entered.unread),
            deleted_seqs=entered.deleted_seqs,
            delivery=_delivery(entered.delivery),
            reset=entered.reset,
            resume_token=entered.resume_token,
            online=entered.online,
        )
    )


def _ack(ack: responses.Ack) -> client_pb2.ServerFrame:
    """There is one for each message, and field by field takes half as long as by nested constructors."""
    frame = client_pb2.ServerFrame()
    made = frame.ack
    made.group_id = ack.group_id
    made.client_msg_id = ack.client_msg_id
    made.epoch = ack.epoch
    made.seq = ack.seq
    made.sent_at_ms = ack.sent_at_ms
    return frame


def _reject(reject: responses.Reject) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(
        reject=client_pb2.Reject(
            group_id=reject.group_id,
            client_msg_id=reject.client_msg_id,
            code=error_pb2.ErrorCode.ValueType(reject.code),
            text=reject.text,
            retry_after_ms=min(reject.retry_after_ms, MAX_UINT32),
        )
    )


def _failure(failure: responses.Failure) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(
        failure=client_pb2.Failure(
            code=error_pb2.ErrorCode.ValueType(failure.code),
            text=failure.text,
            retry_after_ms=min(failure.retry_after_ms, MAX_UINT32),
            group_id=failure.group_id,
        )
    )


def _notice(notice: responses.Notice) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(notice=client_pb2.Notice(group_id=notice.group_id, epoch=notice.epoch, head_seq=notice.head_seq))


def _block(block: responses.Block) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(block=message_pb2.Block(group_id=block.group_id, epoch=block.epoch, prev_seq=block.prev_seq))


def _pulled(pulled: responses.Pulled) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(
        pulled=client_pb2.Pulled(
            group_id=pulled.group_id,
            epoch=pulled.epoch,
            after_seq=pulled.after_seq,
            up_to_seq=pulled.after_seq + len(pulled.messages),
            head_seq=pulled.head_seq,
            deleted_seqs=pulled.deleted_seqs,
        )
    )


def _groups(groups: responses.Groups) -> client_pb2.ServerFrame:
    entries = [
        client_pb2.GroupEntry(group=_group(entry.group), role=_role(entry.member.role), unread=_unread(unread))
        for entry, unread in groups.groups
    ]
    return client_pb2.ServerFrame(groups=client_pb2.Groups(groups=entries, unread_unavailable=groups.unread_unavailable))


def _unread_counts(counts: responses.UnreadCounts) -> client_pb2.ServerFrame:
    rows = [client_pb2.UnreadCount(group_id=count.group_id, unread=_unread(count)) for count in counts.counts]
    return client_pb2.ServerFrame(unread_counts=client_pb2.UnreadCounts(counts=rows))


def _event(group_id: str, **event: Any) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(group_event=client_pb2.GroupEvent(group_id=group_id, **event))


_MAKERS: dict[type, Callable[[Any], client_pb2.ServerFrame]] = {
    responses.Welcome: _welcome,
    responses.Entered: _entered,
    responses.Ack: _ack,
    responses.Reject: _reject,
    responses.Notice: _notice,
    responses.Block: _block,
    responses.Pulled: _pulled,
    responses.Groups: _groups,
    responses.UnreadCounts: _unread_counts,
    responses.Online: lambda online: client_pb2.ServerFrame(online=client_pb2.Online(group_id=online.group_id, count=online.count)),
    responses.GroupLeft: lambda event: _event(event.group_id, left=client_pb2.Left()),
    responses.GroupRemoved: lambda event: _event(event.group_id, removed=client_pb2.Removed()),
    responses.GroupDeletedForMe: lambda event: _event(event.group_id, deleted_for_me=client_pb2.DeletedForMe(seqs=event.seqs)),
    responses.GroupChanged: lambda event: _event(event.group.group_id, changed=client_pb2.GroupChanged(group=_group(event.group))),
    responses.Resume: lambda resume: client_pb2.ServerFrame(resume=client_pb2.Resume(group_id=resume.group_id, token=resume.token)),
    responses.Drain: lambda drain: client_pb2.ServerFrame(
        drain=client_pb2.Drain(reconnect_after_ms=min(drain.reconnect_after_ms, MAX_UINT32))
    ),
    responses.Pong: lambda pong: client_pb2.ServerFrame(pong=client_pb2.Pong(time_ms=pong.time_ms)),
    responses.Failure: _failure,
}
