"""`UplinkProducer` for edge processes that share no memory with group_svc (hop 2): a stream to group_svc's log.

Batches go out in order on one stream. When it breaks, what has no response is sent again on the next one, from the oldest
on, so that the order per group stays; the reader of the log is idempotent. A record that found no place in the log within
10 s fails with UNAVAILABLE. Bounded by records in flight; overflow policy: refuse with UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import collections
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import structlog

from throng.adapters.submission_codec import to_record
from throng.api.common.v1 import error_pb2
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.limits import CHANGES_MAX
from throng.domain.message import Submission
from throng.ports.uplink import AppendDone

MAX_RECORDS_IN_FLIGHT = 20_000
_WINDOW_BATCHES = 8
_BATCH_BYTES = 1 << 20
"""Bodies in one batch; 1,000 of the largest would be 20 MB, which no server takes in one message."""

_RECORD_PATIENCE_SECONDS = 10.0
_WRITE_TIMEOUT_SECONDS = 3.0
_RESPONSE_TIMEOUT_SECONDS = 5.0
_BACKOFF_BASE_SECONDS = 0.1
_BACKOFF_MAX_SECONDS = 2.0
_CHECK_SECONDS = 0.5
_CODES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}
_log = structlog.get_logger("throng.uplink")


class _Record:
    """A submission that waits for its place in the log."""

    __slots__ = ("deadline", "done", "submission")

    def __init__(self, submission: Submission, done: AppendDone, deadline: float) -> None:
        self.submission = submission
        self.done = done
        self.deadline = deadline


class _Batch:
    """Records that were sent together; answered ones are None."""

    __slots__ = ("batch_id", "records", "sent_at")

    def __init__(self, batch_id: int, records: list[_Record], sent_at: float) -> None:
        self.batch_id = batch_id
        self.records = records
        self.sent_at = sent_at


class GrpcUplinkProducer:
    """Appends from one thread at a time; everything else happens in the asyncio loop it is given."""

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        loop: asyncio.AbstractEventLoop,
        *,
        max_records_in_flight: int = MAX_RECORDS_IN_FLIGHT,
        patience_seconds: float = _RECORD_PATIENCE_SECONDS,
    ) -> None:
        """`open_channel` is called in the loop, once."""
        self._open_channel = open_channel
        self._loop = loop
        self._max_records = max_records_in_flight
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Record] = collections.deque()
        self._in_flight = 0
        self._closed = False
        self._woken = False
        self._sent: collections.deque[_Batch] = collections.deque()
        self._again: collections.deque[_Record] = collections.deque()
        self._wake = asyncio.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._last_batch_id = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def records_in_flight(self) -> int:
        """Records appended and not answered yet."""
        return self._in_flight

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record; `done` runs in the loop, or at once when the record is refused."""
        record = _Record(submission, done, time.monotonic() + self._patience_seconds)
        with self._lock:
            accepted = not self._closed and self._in_flight < self._max_records
            wake = accepted and not self._woken
            if accepted:
                self._in_flight += 1
                self._idle.clear()
                self._waiting.append(record)
                self._woken = True
        if not accepted:
            done(unavailable("the way to the uplink is full or closed"))
        elif wake:
            self._loop.call_soon_threadsafe(self._on_wake)

    def close(self, deadline_seconds: float) -> None:
        """Flushes what is in flight, at most so long, then fails the rest with UNAVAILABLE. Not from the loop. Idempotent."""
        with self._lock:
            self._closed = True
        self._idle.wait(deadline_seconds)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5.0)

    def _on_wake(self) -> None:
        with self._lock:
            self._woken = False
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        self._wake.set()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._take_back()
        self._fail([*self._again, *self._waiting], unavailable("the edge stops"))
        self._again.clear()
        self._waiting.clear()

    async def _run(self) -> None:
        channel = self._open_channel()
        attempt = 0
        try:
            while True:
                await self._wait_for_records()
                answered = False
                try:
                    answered = await self._stream(channel)
                except (grpc.RpcError, TimeoutError, asyncio.InvalidStateError) as error:
                    code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
                    _log.warning("uplink_stream_broken", code=code, unanswered_batches=len(self._sent))
                except Exception as error:
                    _log.error("uplink_stream_failed", exc_info=error)
                self._take_back()
                self._expire()
                attempt = 0 if answered else attempt + 1
                bound = min(_BACKOFF_MAX_SECONDS, _BACKOFF_BASE_SECONDS * 2 ** min(attempt, 8))
                await asyncio.sleep(bound * random.uniform(0.3, 1.0))
        finally:
            await channel.close(None)

    async def _wait_for_records(self) -> None:
        while not self._again and not self._waiting:
            self._wake.clear()
            if not self._waiting:
                await self._wake.wait()

    async def _stream(self, channel: grpc.aio.Channel) -> bool:
        """Holds one stream until it breaks; returns whether anything was answered on it."""
        first_batch_id = self._last_batch_id + 1
        call: Any = uplink_pb2_grpc.UplinkServiceStub(channel).Append()
        reader = self._loop.create_task(self._read(call))
        try:
            while not reader.done():
                self._wake.clear()
                while len(self._sent) < _WINDOW_BATCHES and (self._again or self._waiting):
                    await self._send_batch(call)
                if self._sent and time.monotonic() - self._sent[0].sent_at > _RESPONSE_TIMEOUT_SECONDS:
                    raise TimeoutError
                self._expire()
                await self._wait(reader)
            reader.result()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            call.cancel()
        return not self._sent or self._sent[0].batch_id > first_batch_id

    async def _wait(self, reader: asyncio.Task[None]) -> None:
        waker = self._loop.create_task(self._wake.wait())
        try:
            await asyncio.wait({waker, reader}, timeout=_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()

    async def _send_batch(self, call: Any) -> None:
        records: list[_Record] = []
        size_bytes = 0
        for source in (self._again, self._waiting):
            while source and len(records) < CHANGES_MAX and size_bytes < _BATCH_BYTES:
                record = source.popleft()
                size_bytes += len(record.submission.body)
                records.append(record)
        self._last_batch_id += 1
        self._sent.append(_Batch(self._last_batch_id, records, time.monotonic()))
        request = uplink_pb2.AppendRequest(
            batch_id=self._last_batch_id, records=[to_record(record.submission) for record in records]
        )
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes while the write ends, and close would never return.
        async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
            await call.write(request)

    async def _read(self, call: Any) -> None:
        while True:
            response = await call.read()
            if response is grpc.aio.EOF:
                return
            self._answer(response)
            self._wake.set()

    def _answer(self, response: uplink_pb2.AppendResponse) -> None:
        if not self._sent or self._sent[0].batch_id != response.batch_id:
            _log.warning("uplink_response_unexpected", batch_id=response.batch_id)
            return
        batch = self._sent.popleft()
        failures = {failure.index: failure.error for failure in response.failures}
        self._leave(len(batch.records))
        for index, record in enumerate(batch.records):
            detail = failures.get(index)
            record.done(None if detail is None else _to_error(detail))

    def _take_back(self) -> None:
        """Puts what was sent without an answer back to the front, oldest first."""
        records = [record for batch in self._sent for record in batch.records]
        self._sent.clear()
        self._again.extendleft(reversed(records))

    def _expire(self) -> None:
        """Fails records that have waited too long; they stand in the order of their deadlines."""
        now = time.monotonic()
        expired: list[_Record] = []
        for source in (self._again, self._waiting):
            while source and source[0].deadline <= now:
                expired.append(source.popleft())
        if expired:
            self._fail(expired, unavailable("the uplink cannot be reached"))

    def _fail(self, records: list[_Record], error: ThrongError) -> None:
        self._leave(len(records))
        for record in records:
            record.done(error)

    def _leave(self, count: int) -> None:
        with self._lock:
            self._in_flight -= count
            if self._in_flight == 0:
                self._idle.set()


def _to_error(detail: error_pb2.ErrorDetail) -> ThrongError:
    code = _CODES.get(detail.code, ErrorCode.INTERNAL)
    return ThrongError(code, detail.text, retry_after_ms=detail.retry_after_ms, fields=dict(detail.fields))
