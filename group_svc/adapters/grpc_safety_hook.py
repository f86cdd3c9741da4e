"""Adapter `grpc` of `SafetyHook`: asks a service of the installer's (hop 3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from group_svc.metrics import GroupMetrics
from group_svc.ports import SafetyVerdict
from throng.api.common.v1 import message_pb2
from throng.api.safety.v1 import safety_pb2, safety_pb2_grpc
from throng.domain.message import Submission
from throng.runtime import rpc_sync

_log = structlog.get_logger("group.safety")
_FAILURES_IN_A_ROW = 20
_AWAY_SECONDS = 2.0
_VERDICTS = {safety_pb2.VERDICT_ALLOWED: SafetyVerdict.ALLOWED, safety_pb2.VERDICT_BLOCKED: SafetyVerdict.BLOCKED}


class GrpcSafetyHook:
    """One channel without TLS and without our token: the hook is none of our circle, it stands beside us or on a trusted network.

    After 20 calls in a row without an answer nobody waits for it any more: for 2 s everything is UNDECIDED at once, then the next
    call tries again.
    """

    def __init__(self, address: str, metrics: GroupMetrics, *, timeout_seconds: float) -> None:
        """Dials nothing yet."""
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._channel = rpc_sync.channel([address])
        self._check = safety_pb2_grpc.SafetyHookServiceStub(self._channel).CheckMessage
        self._lock = threading.Lock()
        self._failures = 0
        self._away_until = float("-inf")

    def ask(self, submission: Submission, decided: Callable[[SafetyVerdict], None]) -> None:
        """Calls the hook; see the port."""
        started = time.monotonic()
        if started < self._away_until:
            self._count(SafetyVerdict.UNDECIDED)
            decided(SafetyVerdict.UNDECIDED)
            return
        request = safety_pb2.CheckMessageRequest(
            group_id=submission.group_id,
            user_id=submission.user_id,
            client_msg_id=submission.client_msg_id,
            body=message_pb2.Message.FromString(submission.body),
        )
        try:
            call: Any = self._check.future(request, timeout=self._timeout_seconds)
        except ValueError:  # the channel is closed
            decided(SafetyVerdict.UNDECIDED)
            return
        call.add_done_callback(lambda done: self._ended(done, started, decided))

    def _ended(self, call: Any, started: float, decided: Callable[[SafetyVerdict], None]) -> None:
        try:
            verdict = _VERDICTS.get(call.result().verdict, SafetyVerdict.UNDECIDED)
        except (grpc.RpcError, grpc.FutureCancelledError):
            verdict = SafetyVerdict.UNDECIDED
        self._metrics.safety_hook_seconds.observe(time.monotonic() - started)
        self._count(verdict)
        self._note(failed=verdict is SafetyVerdict.UNDECIDED)
        decided(verdict)

    def _count(self, verdict: SafetyVerdict) -> None:
        self._metrics.safety_hook_verdicts[verdict].inc()

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures < _FAILURES_IN_A_ROW or time.monotonic() < self._away_until:
                return
            self._failures = _FAILURES_IN_A_ROW - 1
            self._away_until = time.monotonic() + _AWAY_SECONDS
        _log.warning("safety_hook_away", pause_seconds=_AWAY_SECONDS)

    def stop(self) -> None:
        """Ends the calls under way as UNDECIDED and closes the channel. Idempotent."""
        self._channel.close()
