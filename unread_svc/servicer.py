"""`UnreadService` over gRPC: cursors and counts for edges (hop 8), observations from group_svc (hop 5b)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc

from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.domain.errors import ThrongError
from throng.ports.clock import Clock
from throng.runtime.rpc_streams import StreamSlots
from unread_svc import wire
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.core.cursors import merge
from unread_svc.counter import UnreadCounter
from unread_svc.head_bound import HeadBound
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import CursorStore


class UnreadServicer(unread_pb2_grpc.UnreadServiceServicer):
    """Each method runs in a thread of the server; a ThrongError becomes the call's status.

    An observation stream holds a thread for as long as it lives; overflow policy: streams over the bound are refused with
    UNAVAILABLE, so that unary calls always find threads.
    """

    def __init__(
        self,
        counter: UnreadCounter,
        cursors: CursorStore,
        head_bound: HeadBound,
        window: BestEffortWindow,
        metrics: UnreadMetrics,
        *,
        clock: Clock,
        max_observe_streams: int,
    ) -> None:
        self._counter = counter
        self._cursors = cursors
        self._head_bound = head_bound
        self._window = window
        self._metrics = metrics
        self._clock = clock
        self._slots = StreamSlots("observation streams", most=max_observe_streams)

    def ReportCursors(  # noqa: N802
        self, request: unread_pb2.ReportCursorsRequest, context: grpc.ServicerContext
    ) -> unread_pb2.ReportCursorsResponse:
        """Stores cursors; answers when they are durable. On an error nothing is stored: the same report may be sent again."""
        started = self._clock.monotonic()
        merged = merge(wire.read_cursors(request))
        bounded = self._head_bound.apply(merged)
        if bounded:
            self._cursors.advance(bounded)
        self._metrics.cursors_reported(
            received=len(request.cursors),
            merged=len(merged),
            stored=len(bounded),
            seconds=self._clock.monotonic() - started,
        )
        return unread_pb2.ReportCursorsResponse()

    def Observe(  # noqa: N802
        self, request_iterator: Iterator[unread_pb2.ObserveRequest], context: grpc.ServicerContext
    ) -> unread_pb2.ObserveResponse:
        """Applies observations until group_svc or `end_streams` closes the stream. What cannot be applied is lost and heals."""
        accepted = 0
        with self._slot(context):
            try:
                for request in request_iterator:
                    accepted += self._observe(request)
            except grpc.RpcError:
                pass  # the other side went away, or `end_streams` was called; there is nobody to answer
        return unread_pb2.ObserveResponse(accepted=accepted)

    def _observe(self, request: unread_pb2.ObserveRequest) -> int:
        observations, malformed = wire.read_observations(request)
        if malformed:
            self._metrics.observations_malformed(malformed)
        return self._window.observe(observations)

    @contextlib.contextmanager
    def _slot(self, context: grpc.ServicerContext) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._slots.hold(context))
            except ThrongError:
                self._metrics.stream_refused()
                raise
            self._metrics.stream_opened()
            held.callback(self._metrics.stream_closed)
            yield

    def end_streams(self) -> None:
        """Ends all observation streams and takes no more; call it before the server stops."""
        for context in self._slots.close():
            context.cancel()

    def GetUnreadCounts(  # noqa: N802
        self, request: unread_pb2.GetUnreadCountsRequest, context: grpc.ServicerContext
    ) -> unread_pb2.GetUnreadCountsResponse:
        """Counts of one user, in the groups named or in all."""
        user_id, pairs = wire.read_user_and_groups(request)
        if pairs:
            return unread_pb2.GetUnreadCountsResponse(counts=wire.write_members(pairs, self._counter.count_pairs(pairs)))
        counts = self._counter.count_all(user_id)
        return unread_pb2.GetUnreadCountsResponse(counts=[wire.write_unread(group_id, count) for group_id, count in counts])

    def BatchGetUnread(  # noqa: N802
        self, request: unread_pb2.BatchGetUnreadRequest, context: grpc.ServicerContext
    ) -> unread_pb2.BatchGetUnreadResponse:
        """Counts of many pairs, as a batch of entering clients needs."""
        pairs = wire.read_pairs(request)
        counts = self._counter.count_pairs(pairs)
        return unread_pb2.BatchGetUnreadResponse(
            counts=[wire.write_unread(pair.group_id, count) for pair, count in zip(pairs, counts, strict=True)]
        )
