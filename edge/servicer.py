"""EdgeService: what routers deliver (hop 6), and the drain that an operator asks for. Runs in the business loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import structlog
from google.protobuf.message import DecodeError

from edge.ports import EdgeEvent
from throng.api.edge.v1 import edge_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_limits import FIRST_MESSAGE_SECONDS
from throng.runtime.rpc_streams import StreamSlots

MAX_WAITING_EVENTS = 10_000
"""Events posted to the hub and not taken over yet; above it the streams are not read: flow control holds the routers back."""

MAX_EVENTS = 10_000
"""Events in one message of a Deliver stream."""

MAX_DELIVER_STREAMS = 64
"""One per router replica."""

MAX_DRAIN_WINDOW_MS = 600_000
_log = structlog.get_logger("throng.edge")


class EventGate(Protocol):
    """The way of events into the hub thread."""

    @property
    def waiting_events(self) -> int:
        """Events posted and not taken over yet."""
        ...

    def post(self, events: Sequence[EdgeEvent], on_taken: Callable[[], None] | None) -> None:
        """Hands events over in order; `on_taken` runs in the business loop when the hub has them."""
        ...


class EdgeServicer:
    """Serves routers. One Deliver stream per router replica; events of a stream are handed over in its order."""

    def __init__(
        self,
        edge_id: str,
        incarnation: int,
        gate: EventGate,
        *,
        read_event: Callable[[bytes], EdgeEvent | None],
        drain: Callable[[int | None], int],
        events_received: Callable[[int, int], None],
    ) -> None:
        """Takes its neighbours.

        Args:
            edge_id: who this edge is; routers must name it.
            incarnation: which life of it this is.
            gate: the way to the sessions.
            read_event: reads a serialized event; None for what this version does not know.
            drain: begins a drain over so many milliseconds (None: the setting); returns the connections.
            events_received: counts events that were read and that were not.
        """
        self._edge_id = edge_id
        self._incarnation = incarnation
        self._gate = gate
        self._read_event = read_event
        self._drain = drain
        self._events_received = events_received
        self._ending = asyncio.Event()
        self._slots = StreamSlots("Deliver streams", most=MAX_DELIVER_STREAMS)

    def end_streams(self) -> None:
        """Ends all Deliver streams; the server can then stop without waiting for them."""
        self._ending.set()

    async def Deliver(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[edge_pb2.DeliverResponse]:
        """Takes events over; answers each message with how many were taken since the stream began."""
        with self._slots.hold(context):
            async with contextlib.aclosing(self._deliver(request_iterator)) as responses:
                async for response in responses:
                    yield response

    async def _deliver(self, request_iterator: Any) -> AsyncGenerator[edge_pb2.DeliverResponse, None]:
        accepted = 0
        first = True
        requests = request_iterator.__aiter__()
        ending = asyncio.ensure_future(self._ending.wait())
        reading: asyncio.Future[Any] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(requests.__anext__())
                patience = FIRST_MESSAGE_SECONDS if first else None
                await asyncio.wait({reading, ending}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() and not ending.done():
                    raise ThrongError(ErrorCode.DEADLINE_EXCEEDED, "the first message must say which edge is meant, and soon")
                if not reading.done():
                    return
                try:
                    request = reading.result()
                except StopAsyncIteration:
                    return
                if first:
                    self._check_identity(request)
                    first = False
                if len(request.events) > MAX_EVENTS:
                    raise ThrongError(
                        ErrorCode.LIMIT_EXCEEDED, f"a message holds at most {MAX_EVENTS} events", fields={"limit": str(MAX_EVENTS)}
                    )
                accepted += len(request.events)
                await self._take_over(self._parse(request.events))
                yield edge_pb2.DeliverResponse(accepted_events=accepted)
        finally:
            ending.cancel()
            if reading is not None:
                reading.cancel()

    async def Drain(self, request: edge_pb2.DrainRequest, context: Any) -> edge_pb2.DrainResponse:  # noqa: N802
        """Begins a drain."""
        if request.window_ms > MAX_DRAIN_WINDOW_MS:
            raise ThrongError(
                ErrorCode.INVALID_ARGUMENT, f"window_ms must not be above {MAX_DRAIN_WINDOW_MS}", fields={"field": "window_ms"}
            )
        return edge_pb2.DrainResponse(connections=self._drain(request.window_ms or None))

    def _check_identity(self, request: edge_pb2.DeliverRequest) -> None:
        if request.edge_id != self._edge_id or request.incarnation != self._incarnation:
            raise ThrongError(
                ErrorCode.CONFLICT,
                f"this is edge {self._edge_id} in its life {self._incarnation}",
                fields={"edge_id": self._edge_id, "incarnation": str(self._incarnation)},
            )

    def _parse(self, serialized: Sequence[bytes]) -> list[EdgeEvent]:
        events: list[EdgeEvent] = []
        bad = 0
        for data in serialized:
            try:
                event = self._read_event(data)
            except (DecodeError, ValueError) as error:
                bad += 1
                _log.warning("event_unreadable", bytes=len(data), error=str(error))
                continue
            if event is None:
                bad += 1
            else:
                events.append(event)
        self._events_received(len(events), bad)
        return events

    async def _take_over(self, events: list[EdgeEvent]) -> None:
        if not events:
            return
        if self._gate.waiting_events < MAX_WAITING_EVENTS:
            self._gate.post(events, None)
            return
        taken = asyncio.Event()
        self._gate.post(events, taken.set)
        await taken.wait()
