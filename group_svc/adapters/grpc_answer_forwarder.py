"""Adapter `grpc` of `AnswerForwarder`: answers to callers that wait in other group services (hop 5)."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import structlog

from group_svc.adapters.event_codec import to_answer
from group_svc.core.internal_origin import address_of, is_internal
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication
from throng.api.group.v1 import message_pb2, message_pb2_grpc
from throng.domain.ids import EdgeId
from throng.domain.limits import CHANGES_MAX
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_log = structlog.get_logger("group.forwarder")
_CALL_SECONDS = 1.0
_WAIT_SECONDS = 0.5
_AWAY_SECONDS = 2.0
_MAX_PEERS = 64


class GrpcAnswerForwarder:
    """One thread; answers to one peer go in batches, to different peers at the same time.

    Overflow policy: the oldest answer is dropped and counted. A peer that does not take a batch within 1 s gets nothing for 2 s:
    what is for it is dropped and counted, so that it holds nobody up. Its callers get DEADLINE_EXCEEDED and repeat, which is exact.
    """

    def __init__(self, metrics: GroupMetrics, *, max_answers: int = 10_000, security: RpcSecurity = PLAIN) -> None:
        self._metrics = metrics
        self._security = security
        self._changed = threading.Condition()
        self._answers: collections.deque[AnswerPublication] = collections.deque(maxlen=max_answers)
        self._closed = False
        self._channels: collections.OrderedDict[str, grpc.Channel] = collections.OrderedDict()
        self._away_until: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="group-forwarder", daemon=True)
        metrics.watch_queue("forward", lambda: len(self._answers))

    def forward(self, answer: AnswerPublication) -> bool:
        """Queues an answer for another group service; False when its origin is none. Never blocks."""
        if not is_internal(answer.origin.edge_id):
            return False
        with self._changed:
            if len(self._answers) == self._answers.maxlen:
                self._metrics.overflows["forward"].inc()
            self._answers.append(answer)
            self._changed.notify_all()
        return True

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._answers or self._closed, _WAIT_SECONDS)
                taken = [self._answers.popleft() for _ in range(min(len(self._answers), CHANGES_MAX))]
                if not taken and self._closed:
                    return
            if taken:
                self._send(taken)

    def _send(self, answers: Sequence[AnswerPublication]) -> None:
        by_origin: dict[EdgeId, list[AnswerPublication]] = {}
        for answer in answers:
            by_origin.setdefault(answer.origin.edge_id, []).append(answer)
        calls: list[tuple[str, int, Any]] = []
        now = time.monotonic()
        for edge_id, batch in by_origin.items():
            address = address_of(edge_id)
            if address is None or now < self._away_until.get(address, 0.0):
                self._metrics.forward_lost.inc(len(batch))
                continue
            request = message_pb2.DeliverAnswersRequest(edge_id=edge_id, answers=[to_answer(answer) for answer in batch])
            stub = message_pb2_grpc.MessageServiceStub(self._channel(address))
            calls.append((address, len(batch), stub.DeliverAnswers.future(request, timeout=_CALL_SECONDS)))
        for address, count, call in calls:
            self._await(address, count, call)
        while len(self._channels) > _MAX_PEERS:
            self._channels.popitem(last=False)[1].close()

    def _channel(self, address: str) -> grpc.Channel:
        channel = self._channels.pop(address, None) or rpc_sync.channel([address], self._security)
        self._channels[address] = channel
        return channel

    def _await(self, address: str, count: int, call: Any) -> None:
        try:
            call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            self._metrics.forward_lost.inc(count)
            self._away_until = {peer: until for peer, until in self._away_until.items() if until > time.monotonic()}
            self._away_until[address] = time.monotonic() + _AWAY_SECONDS
            code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
            _log.warning("answers_not_delivered", address=address, answers=count, code=code)
        else:
            self._metrics.forwarded.inc(count)

    def stop(self, deadline_seconds: float) -> None:
        """Sends what waits, at most so long, and closes the channels. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(deadline_seconds)
        with self._changed:
            self._answers.clear()
        if self._thread.is_alive():
            self._thread.join(2 * _CALL_SECONDS)
        while self._channels:
            self._channels.popitem()[1].close()
