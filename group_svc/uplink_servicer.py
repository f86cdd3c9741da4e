"""throng.uplink.v1.UplinkService: the log for edge processes that share no memory with this one (hop 2)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

from group_svc.core.internal_origin import is_internal
from throng.adapters.submission_codec import from_record
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import check_client_msg_id
from throng.domain.limits import CHANGES_MAX, MAX_BODY_BYTES
from throng.domain.message import Submission
from throng.ports.uplink import UplinkProducer
from throng.runtime.rpc_status import to_detail
from throng.runtime.rpc_streams import StreamSlots

_APPEND_SECONDS = 10.0


class UplinkServicer(uplink_pb2_grpc.UplinkServiceServicer):
    """Appends batches in order, one stream per edge and thread; more than `max_streams` are refused with UNAVAILABLE."""

    def __init__(self, producer: UplinkProducer, *, max_streams: int) -> None:
        self._producer = producer
        self._slots = StreamSlots("uplink streams", most=max_streams)

    def Append(  # noqa: N802
        self, request_iterator: Iterator[uplink_pb2.AppendRequest], context: Any
    ) -> Iterator[uplink_pb2.AppendResponse]:
        """Appends batches in order; answers each with the records that found no place."""
        with self._slots.hold(context):
            for request in request_iterator:
                yield self._append(request)

    def _append(self, request: uplink_pb2.AppendRequest) -> uplink_pb2.AppendResponse:
        if not 1 <= len(request.records) <= CHANGES_MAX:
            raise ThrongError(
                ErrorCode.LIMIT_EXCEEDED, f"a batch holds 1 to {CHANGES_MAX} records", fields={"limit": str(CHANGES_MAX)}
            )
        outcome = _BatchOutcome(len(request.records))
        for index, record in enumerate(request.records):
            try:
                submission = from_record(record)
                client_msg_id = check_client_msg_id(submission.client_msg_id)
                _check_size(submission)
                _check_origin(submission.origin.edge_id)
            except ThrongError as error:
                outcome.done(index, error)
                continue
            self._producer.append(
                dataclasses.replace(submission, client_msg_id=client_msg_id),
                lambda error, index=index: outcome.done(index, error),  # type: ignore[misc]
            )
        failures = [uplink_pb2.AppendFailure(index=index, error=to_detail(error)) for index, error in outcome.wait(_APPEND_SECONDS)]
        return uplink_pb2.AppendResponse(batch_id=request.batch_id, failures=failures)

    def close(self) -> None:
        """Ends all streams and refuses new ones: edges fail over or try again. Idempotent."""
        for context in self._slots.close():
            context.cancel()


def _check_size(submission: Submission) -> None:
    """The log counts records, so each must be bounded.

    Raises:
        ThrongError: TOO_LARGE.
    """
    if len(submission.body) > MAX_BODY_BYTES:
        raise ThrongError(
            ErrorCode.TOO_LARGE,
            f"body is longer than {MAX_BODY_BYTES} bytes",
            fields={"field": "body", "limit": str(MAX_BODY_BYTES)},
        )


def _check_origin(edge_id: str) -> None:
    """Answers go where the origin says: only group services, which append by themselves, may name one of them.

    Raises:
        ThrongError: INVALID_ARGUMENT.
    """
    if is_internal(edge_id):
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "edge_id names no edge", fields={"field": "origin.edge_id"})


class _BatchOutcome:
    """Collects what became of each record of a batch."""

    def __init__(self, records: int) -> None:
        self._changed = threading.Condition()
        self._open = set(range(records))
        self._errors: dict[int, ThrongError] = {}

    def done(self, index: int, error: ThrongError | None) -> None:
        with self._changed:
            self._open.discard(index)
            if error is not None:
                self._errors[index] = error
            if not self._open:
                self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> list[tuple[int, ThrongError]]:
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout_seconds)
            late = {index: unavailable("the log did not answer in time") for index in self._open}
            return sorted((self._errors | late).items())
