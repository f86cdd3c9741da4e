"""What a run asks of the group service: makes groups and members, and reads heads and the history for the judge."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import grpc

from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.bench.decoding import stored_digest
from throng.bench.judge import Stored
from throng.bench.plan import BenchPlan
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.limits import CHANGES_MAX, PAGE_MAX
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.runtime.rpc_status import from_rpc_error

_CALL_SECONDS = 10.0
_RETRY_SECONDS = 0.25
_LOOK_SECONDS = 0.1
_T = TypeVar("_T")


class EndedEarlyError(Exception):
    """Somebody did not want to wait for an answer of the group service."""


class GroupServiceLink:
    """Calls with a deadline; what fails for the moment is tried again until then.

    Attributes:
        ended: asked while a call waits; True ends it with `EndedEarlyError`. None: every call takes its time.
    """

    def __init__(self, addresses: str, security: RpcSecurity = PLAIN) -> None:
        """Dials nothing yet.

        Raises:
            ThrongError: INVALID_ARGUMENT for several addresses with TLS and without a name for all of them.
        """
        self.ended: Callable[[], bool] | None = None
        self._stack = contextlib.ExitStack()
        channel = self._stack.enter_context(rpc_sync.channel([part.strip() for part in addresses.split(",")], security))
        self._groups = group_pb2_grpc.GroupServiceStub(channel)
        self._messages = message_pb2_grpc.MessageServiceStub(channel)

    def close(self) -> None:
        """Ends the channel."""
        self._stack.close()

    def prepare(self, plan: BenchPlan, group_ids: Sequence[str], members: dict[str, list[str]]) -> None:
        """Makes the groups that the plan does not name, without limits on sending, and adds the users.

        Raises:
            ThrongError: whatever the service says, after retries for as long as clients may take to connect.
        """
        deadline = time.monotonic() + plan.connect_limit_seconds
        settings = common_pb2.GroupSettings(open=True, send_interval_ms=0, budget_per_second=plan.budget_per_second)
        if plan.block_max_messages is not None:
            settings.block_max_messages = plan.block_max_messages
        if plan.block_interval_ms is not None:
            settings.block_interval_ms = plan.block_interval_ms
        for group_id in group_ids:
            if group_id not in plan.group_ids:
                self._create(group_id, settings, deadline)
            users = members.get(group_id, [])
            for start in range(0, len(users), CHANGES_MAX):
                batch = [common_pb2.Member(user_id=user_id) for user_id in users[start : start + CHANGES_MAX]]
                request = group_pb2.AddMembersRequest(group_id=group_id, members=batch)
                self._call(self._groups.AddMembers, request, deadline)

    def _create(self, group_id: str, settings: common_pb2.GroupSettings, deadline: float) -> None:
        request = group_pb2.CreateGroupRequest(group_id=group_id, name=f"Bench {group_id}", settings=settings)
        try:
            self._call(self._groups.CreateGroup, request, deadline)
        except ThrongError as error:
            if error.code is not ErrorCode.GROUP_EXISTS:  # a retry after an answer that was lost
                raise

    def heads(self, group_ids: Sequence[str], *, seconds: float) -> dict[str, tuple[int, int]]:
        """Heads as (epoch, seq), as the owner of the groups says.

        Raises:
            ThrongError: not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        found: dict[str, tuple[int, int]] = {}
        for start in range(0, len(group_ids), CHANGES_MAX):
            request = group_pb2.GetHeadsRequest(group_ids=group_ids[start : start + CHANGES_MAX])
            for head in self._call(self._groups.GetHeads, request, deadline).heads:
                found[head.group_id] = (head.epoch, head.head_seq)
        return found

    def history(self, group_id: str, epoch: int, after_seq: int, up_to_seq: int, run_id: str, deadline: float) -> Iterator[Stored]:
        """Reads a range, oldest first. What is given is what came: holes and repeats are the judge's business.

        Raises:
            ThrongError: a page could not be read before `deadline` (monotonic seconds).
        """
        held = after_seq
        while held < up_to_seq:
            request = message_pb2.ListMessagesRequest(
                group_id=group_id, after_seq=held, up_to_seq=up_to_seq, limit=PAGE_MAX, epoch=epoch
            )
            page = self._call(self._messages.ListMessages, request, deadline)
            if not page.messages:
                return
            for message in page.messages:
                digest, own = stored_digest(message, run_id)
                yield Stored(message.seq, message.sender_id, message.client_msg_id, digest, own.run_id if own else "")
            if page.messages[-1].seq <= held:
                return
            held = page.messages[-1].seq

    def _call(self, method: Callable[..., _T], request: object, deadline: float) -> _T:
        while True:
            left = deadline - time.monotonic()
            try:
                return self._answer(method, request, max(0.1, min(_CALL_SECONDS, left)))
            except grpc.RpcError as error:
                found = from_rpc_error(error)
                if not found.retryable or time.monotonic() + _RETRY_SECONDS >= deadline:
                    raise found from error
            time.sleep(_RETRY_SECONDS)

    def _answer(self, method: Callable[..., _T], request: object, seconds: float) -> _T:
        """Waits for an answer, and looks meanwhile whether somebody wants an end."""
        call: grpc.Future[_T] = cast(Any, method).future(request, timeout=seconds, wait_for_ready=True)
        while True:
            if self.ended is not None and self.ended():
                call.cancel()
                raise EndedEarlyError
            try:
                return call.result(timeout=_LOOK_SECONDS)
            except grpc.FutureTimeoutError:
                continue
