"""throng.group.v1.MessageService: messages of groups, for internal programs and for edges (hops 2 to 5, and 8)."""

from __future__ import annotations

from typing import Any

from group_svc.adapters.event_codec import from_answer
from group_svc.adapters.proto_body_inspector import facts_of
from group_svc.adapters.stored_message_codec import to_message
from group_svc.core.body_check import check_body
from group_svc.core.directory import Directory
from group_svc.core.group_rules import check_count, check_seq, page_limit
from group_svc.core.history import History
from group_svc.core.submitter import Submitter
from group_svc.ports import AnswerWaiters, DeletedQuery, MessageStore, Page
from throng.api.common.v1 import message_pb2
from throng.api.group.v1 import message_pb2 as api
from throng.api.group.v1 import message_pb2_grpc
from throng.api.unread.v1 import unread_pb2
from throng.domain import limits
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId, UserId, check_client_msg_id, check_identifier, recall_msg_id
from throng.domain.message import MessageKind

DEFAULT_WAIT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
_REPLY_MARGIN_SECONDS = 0.05


class MessageServicer(message_pb2_grpc.MessageServiceServicer):
    """Checks requests, asks the core, and makes responses. Errors leave as ThrongError."""

    def __init__(
        self, submitter: Submitter, waiters: AnswerWaiters, history: History, store: MessageStore, directory: Directory
    ) -> None:
        self._submitter = submitter
        self._waiters = waiters
        self._history = history
        self._store = store
        self._directory = directory

    def SendMessage(self, request: api.SendMessageRequest, context: Any) -> api.SendMessageResponse:  # noqa: N802
        """Appends to the uplink and answers when the message is durable."""
        group_id, user_id = _ids(request.group_id, request.user_id)
        client_msg_id = check_client_msg_id(request.client_msg_id)
        facts = facts_of(request.body)
        if facts.kind is MessageKind.RECALL:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "use RecallMessage to take a message back", fields={"field": "recall"})
        body = request.body.SerializeToString(deterministic=True)
        check_body(facts, size_bytes=len(body))
        position, sent_at_ms = self._submitter.submit(
            group_id=group_id,
            user_id=user_id,
            client_msg_id=client_msg_id,
            kind=facts.kind,
            body=body,
            target_seq=0,
            unlimited=request.unlimited,
            timeout_seconds=_wait_seconds(context),
        )
        return api.SendMessageResponse(position=message_pb2.Position(epoch=position.epoch, seq=position.seq), sent_at_ms=sent_at_ms)

    def RecallMessage(self, request: api.RecallMessageRequest, context: Any) -> api.RecallMessageResponse:  # noqa: N802
        """Takes a message back."""
        group_id, user_id = _ids(request.group_id, request.user_id)
        if not 1 <= request.seq == check_seq(request.seq, "seq"):
            raise ThrongError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message", fields={"field": "seq"})
        body = message_pb2.Message(recall=message_pb2.Recall(target_seq=request.seq))
        position, _ = self._submitter.submit(
            group_id=group_id,
            user_id=user_id,
            client_msg_id=recall_msg_id(group_id, user_id, request.seq),
            kind=MessageKind.RECALL,
            body=body.SerializeToString(deterministic=True),
            target_seq=request.seq,
            unlimited=False,
            timeout_seconds=_wait_seconds(context),
        )
        return api.RecallMessageResponse(position=message_pb2.Position(epoch=position.epoch, seq=position.seq))

    def ListMessages(self, request: api.ListMessagesRequest, context: Any) -> api.ListMessagesResponse:  # noqa: N802
        """Reads messages by key range, from the cache of recent ones where it has them."""
        group_id = GroupId(check_identifier(request.group_id, "group_id"))
        limit = page_limit(request.limit, default=limits.PAGE_DEFAULT, most=limits.PAGE_MAX)
        page = self._read(group_id, request, limit)
        if request.epoch and request.epoch != page.epoch:
            raise ThrongError(ErrorCode.EPOCH_MISMATCH, "The group's history has begun anew.", fields={"epoch": str(page.epoch)})
        response = api.ListMessagesResponse(
            epoch=page.epoch,
            head_seq=page.head_seq,
            after_seq=page.after_seq,
            messages=[to_message(message) for message in page.messages],
        )
        if request.for_user_id and page.messages:
            user_id = UserId(check_identifier(request.for_user_id, "for_user_id"))
            response.deleted_seqs.extend(self._deleted_among(user_id, group_id, page))
        return response

    def _read(self, group_id: GroupId, request: api.ListMessagesRequest, limit: int) -> Page:
        if not request.HasField("after_seq"):
            if request.up_to_seq:
                raise ThrongError(ErrorCode.INVALID_ARGUMENT, "up_to_seq needs after_seq", fields={"field": "up_to_seq"})
            return self._history.read_before(group_id, before_seq=check_seq(request.before_seq, "before_seq"), limit=limit)
        if request.before_seq:
            raise ThrongError(
                ErrorCode.INVALID_ARGUMENT, "after_seq and before_seq exclude each other", fields={"field": "before_seq"}
            )
        if request.up_to_seq and request.up_to_seq < request.after_seq:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "up_to_seq must not be below after_seq", fields={"field": "up_to_seq"})
        return self._history.read_after(
            group_id,
            after_seq=check_seq(request.after_seq, "after_seq"),
            up_to_seq=check_seq(request.up_to_seq, "up_to_seq"),
            limit=limit,
        )

    def _deleted_among(self, user_id: UserId, group_id: GroupId, page: Page) -> list[int]:
        """The page's seqs that the user deleted, as far as they are among the newest `DELETED_MAX` above its first."""
        first, last = page.messages[0].seq, page.messages[-1].seq
        found = self._store.deleted_for_user(user_id, group_id, from_seq=first, limit=limits.DELETED_MAX)
        return [seq for seq in found if seq <= last]

    def DeleteMessageForUser(  # noqa: N802
        self, request: api.DeleteMessageForUserRequest, context: Any
    ) -> api.DeleteMessageForUserResponse:
        """Deletes a message for one user, a member."""
        group_id, user_id = _ids(request.group_id, request.user_id)
        (found,) = self._directory.get_many([(group_id, user_id)])
        if isinstance(found, ThrongError):
            raise found
        self._store.delete_for_user(user_id, group_id, check_seq(request.seq, "seq"))
        return api.DeleteMessageForUserResponse()

    def ListDeleted(self, request: api.ListDeletedRequest, context: Any) -> api.ListDeletedResponse:  # noqa: N802
        """Tells what a user deleted for themself."""
        group_id, user_id = _ids(request.group_id, request.user_id)
        limit = page_limit(request.limit, default=limits.DELETED_MAX, most=limits.DELETED_MAX)
        from_seq = check_seq(request.from_seq, "from_seq")
        return api.ListDeletedResponse(seqs=self._store.deleted_for_user(user_id, group_id, from_seq=from_seq, limit=limit))

    def BatchListDeleted(  # noqa: N802
        self, request: api.BatchListDeletedRequest, context: Any
    ) -> api.BatchListDeletedResponse:
        """Tells what many users deleted for themselves."""
        check_count(request.requests, "requests")
        queries = [DeletedQuery(*_user_in_group(one), check_seq(one.from_seq, "from_seq")) for one in request.requests]
        most = [page_limit(one.limit, default=limits.DELETED_MAX, most=limits.DELETED_MAX) for one in request.requests]
        found = self._store.deleted_for_users(queries, limit=max(most))
        return api.BatchListDeletedResponse(
            results=[api.ListDeletedResponse(seqs=seqs[-limit:]) for seqs, limit in zip(found, most, strict=True)]
        )

    def ListCountable(self, request: api.ListCountableRequest, context: Any) -> api.ListCountableResponse:  # noqa: N802
        """Tells the newest messages that count as unread."""
        group_id = GroupId(check_identifier(request.group_id, "group_id"))
        sender = check_identifier(request.exclude_sender_id, "exclude_sender_id") if request.exclude_sender_id else None
        epoch, head_seq, found = self._store.countable(
            group_id,
            after_seq=check_seq(request.after_seq, "after_seq"),
            exclude_sender=None if sender is None else UserId(sender),
            limit=page_limit(request.limit, default=limits.UNREAD_WINDOW, most=limits.UNREAD_WINDOW),
        )
        messages = [unread_pb2.CountableMessage(seq=seq, sender_id=sender_id) for seq, sender_id in found]
        return api.ListCountableResponse(messages=messages, head_seq=head_seq, epoch=epoch)

    def DeliverAnswers(self, request: api.DeliverAnswersRequest, context: Any) -> api.DeliverAnswersResponse:  # noqa: N802
        """Answers callers that wait in this process."""
        if not 1 <= len(request.answers) <= limits.CHANGES_MAX:
            raise ThrongError(
                ErrorCode.LIMIT_EXCEEDED,
                f"a batch holds 1 to {limits.CHANGES_MAX} answers",
                fields={"limit": str(limits.CHANGES_MAX)},
            )
        edge_id = EdgeId(check_identifier(request.edge_id, "edge_id"))
        return api.DeliverAnswersResponse(
            taken=sum(self._waiters.deliver(from_answer(edge_id, answer)) for answer in request.answers)
        )


def _ids(group_id: str, user_id: str) -> tuple[GroupId, UserId]:
    return GroupId(check_identifier(group_id, "group_id")), UserId(check_identifier(user_id, "user_id"))


def _user_in_group(request: api.ListDeletedRequest) -> tuple[UserId, GroupId]:
    group_id, user_id = _ids(request.group_id, request.user_id)
    return user_id, group_id


def _wait_seconds(context: Any) -> float:
    """How long the caller wants to wait; a little less, so that the answer still reaches it."""
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return DEFAULT_WAIT_SECONDS
    return min(max(remaining - _REPLY_MARGIN_SECONDS, 0.0), LONGEST_WAIT_SECONDS)
