"""throng.uplink.v1.UplinkService: the log for edge processes that share no memory with this one (hop 2)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

from throng.adapters.submission_codec import from_record
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import check_client_msg_id
from throng.domain.limits import CHANGES_MAX
from throng.ports.uplink import UplinkProducer
from throng.runtime.rpc_status import to_detail

_APPEND_SECONDS = 10.0


class UplinkServicer(uplink_pb2_grpc.UplinkServiceServicer):
    """Appends batches in order, one stream per edge and thread; more than `max_streams` are refused with UNAVAILABLE."""

    def __init__(self, producer: UplinkProducer, *, max_streams: int) -> None:
        self._producer = producer
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._streams: set[Any] = set()
        self._closed = False

    def Append(  # noqa: N802
        self, request_iterator: Iterator[uplink_pb2.AppendRequest], context: Any
    ) -> Iterator[uplink_pb2.AppendResponse]:
        """Appends batches in order; answers each with the records that found no place."""
        with self._lock:
            if self._closed or len(self._streams) >= self._max_streams:
                raise unavailable("no further uplink stream is accepted here")
            self._streams.add(context)
        try:
            for request in request_iterator:
                yield self._append(request)
        finally:
            with self._lock:
                self._streams.discard(context)

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
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        for context in streams:
            context.cancel()


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
