"""RouterService: protos in and out (hops 5 and 6)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

import structlog

from router_svc.core.balancer import SmoothBalancer
from router_svc.core.directory import RouteDirectory
from router_svc.core.inbox import Inbox
from router_svc.core.online_counts import OnlineCounts
from router_svc.core.publishing import Publication, Publishing, publication
from router_svc.core.recent_assignments import RecentAssignments
from router_svc.core.report_session import Delta, Digest, Report, ReportPolicy, ReportSession, Snapshot
from router_svc.core.weights import effective_weights
from router_svc.metrics import RouterMetrics
from router_svc.ports import MAX_INCARNATION, EdgeDelivery, EdgeInfo, EdgeLoad, EdgeOrders, EdgeRecord, RouteRegistry
from throng.api.router.v1 import router_pb2
from throng.api.router.v1.router_pb2_grpc import RouterServiceServicer
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.ids import EdgeId, GroupId, check_identifier
from throng.ports.clock import Clock
from throng.runtime.rpc_limits import FIRST_MESSAGE_SECONDS
from throng.runtime.rpc_streams import StreamSlots

_log = structlog.get_logger("throng.router.servicer")
_MAX_PUBLICATIONS = 1_000
_MAX_GROUPS = 10_000
_MAX_AVOID = 16
_MAX_ADDRESS_CHARACTERS = 256
_MAX_URL_CHARACTERS = 2_048
_MAX_WEIGHT = 1_000
_MAX_DRAIN_WINDOW_MS = 600_000
_MAX_REPORT_STREAMS = 2_000
_MAX_PUBLISH_STREAMS = 256
_READ_AHEAD = 64
_GOOD_BYE_PAUSE_SECONDS = 0.2
_GOOD_BYE_SECONDS = 3.0


class RouterServicer(RouterServiceServicer):
    """Streams end with UNAVAILABLE when the replica stops, so that callers go to another one."""

    def __init__(
        self,
        registry: RouteRegistry,
        directory: RouteDirectory,
        delivery: EdgeDelivery,
        online: OnlineCounts,
        clock: Clock,
        metrics: RouterMetrics,
        policy: ReportPolicy,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._delivery = delivery
        self._online = online
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._publishing = Publishing(directory, delivery, clock, metrics)
        self._balancer = SmoothBalancer()
        self._recent = RecentAssignments(clock)
        self._report_slots = StreamSlots("report streams", most=_MAX_REPORT_STREAMS)
        self._publish_slots = StreamSlots("publish streams", most=_MAX_PUBLISH_STREAMS)
        self._inboxes: set[Inbox[Any]] = set()
        self._stopping = False

    def end_streams(self) -> None:
        """Ends all streams, and those that are still to come."""
        self._stopping = True
        for inbox in self._inboxes:
            inbox.interrupt(unavailable("this router stops; use another one"))

    def _open(self, requests: Any) -> Inbox[Any]:
        if self._stopping:
            raise unavailable("this router stops; use another one")
        inbox: Inbox[Any] = Inbox(requests, bound=_READ_AHEAD)
        self._inboxes.add(inbox)
        return inbox

    async def _close(self, inbox: Inbox[Any]) -> None:
        self._inboxes.discard(inbox)
        await inbox.close()

    async def ReportRoutes(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[router_pb2.ReportRoutesResponse]:
        """See router.proto."""
        with self._report_slots.hold(context):
            async with contextlib.aclosing(self._take_reports(request_iterator, context)) as responses:
                async for response in responses:
                    yield response

    async def _take_reports(self, request_iterator: Any, context: Any) -> AsyncGenerator[router_pb2.ReportRoutesResponse, None]:
        inbox = self._open(request_iterator)
        self._metrics.report_streams.inc()
        session = ReportSession(self._registry, self._directory, self._online, self._clock, self._metrics, self._policy)
        try:
            first = await _within_patience(inbox.take(1))
            if not first:
                return
            if first[0].WhichOneof("report") != "identity":
                raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the first report must be identity", fields={"field": "identity"})
            await session.identify(_edge_info(first[0].identity))
            yield router_pb2.ReportRoutesResponse(applied_report_id=first[0].report_id)
            while requests := await inbox.take(_READ_AHEAD):
                wanted = await session.apply([_report(request) for request in requests])
                yield router_pb2.ReportRoutesResponse(
                    applied_report_id=requests[-1].report_id, snapshot_wanted=wanted, order=_order(session.orders())
                )
            # The end of the requests is seen before the call is told that it was cancelled: only an edge that closed the
            # stream by itself, and is still there, says good-bye.
            await asyncio.sleep(_GOOD_BYE_PAUSE_SECONDS)
            if not context.cancelled():
                await _within_moment(session.good_bye())
        except asyncio.CancelledError:
            if session.draining:
                await _within_moment(session.good_bye())
            raise
        finally:
            self._metrics.report_streams.dec()
            session.end()
            await self._close(inbox)

    async def Publish(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[router_pb2.PublishResponse]:
        """See router.proto."""
        with self._publish_slots.hold(context):
            async with contextlib.aclosing(self._take_publications(request_iterator)) as responses:
                async for response in responses:
                    yield response

    async def _take_publications(self, request_iterator: Any) -> AsyncGenerator[router_pb2.PublishResponse, None]:
        inbox = self._open(request_iterator)
        self._metrics.publish_streams.inc()
        try:
            while requests := await inbox.take(_READ_AHEAD):
                for request in requests:
                    await self._publishing.publish(_publications(request))
                yield router_pb2.PublishResponse(batch_id=requests[-1].batch_id)
        finally:
            self._metrics.publish_streams.dec()
            await self._close(inbox)

    async def AssignEdge(  # noqa: N802
        self, request: router_pb2.AssignEdgeRequest, context: Any
    ) -> router_pb2.AssignEdgeResponse:
        """See router.proto."""
        if len(request.avoid_edge_ids) > _MAX_AVOID:
            raise ThrongError(ErrorCode.LIMIT_EXCEEDED, "too many edges to avoid", fields={"limit": str(_MAX_AVOID)})
        if request.user_id:
            check_identifier(request.user_id, "user_id")
        records = self._directory.edges()
        unreachable = {record.info.edge_id for record in records if self._delivery.is_failing(record.info.edge_id)}
        avoid = unreachable.union(EdgeId(edge_id) for edge_id in request.avoid_edge_ids)
        chosen = self._balancer.choose(effective_weights(records, self._recent.pending(records)), avoid=avoid)
        record = self._directory.edge(chosen) if chosen is not None else None
        if record is None:
            self._metrics.not_assigned.inc()
            raise unavailable("no edge takes clients now")
        self._recent.note(record)
        self._metrics.assigned.inc()
        return router_pb2.AssignEdgeResponse(edge_id=record.info.edge_id, public_url=record.info.public_url)

    async def ListEdges(  # noqa: N802
        self, request: router_pb2.ListEdgesRequest, context: Any
    ) -> router_pb2.ListEdgesResponse:
        """See router.proto."""
        records = self._directory.edges()
        weights = effective_weights(records)
        return router_pb2.ListEdgesResponse(edges=[_edge_record(record, weights[record.info.edge_id]) for record in records])

    async def SetEdgeWeight(  # noqa: N802
        self, request: router_pb2.SetEdgeWeightRequest, context: Any
    ) -> router_pb2.SetEdgeWeightResponse:
        """See router.proto."""
        if request.weight > _MAX_WEIGHT:
            raise _invalid("weight must be 0 to 1,000", "weight")
        edge_id = EdgeId(check_identifier(request.edge_id, "edge_id"))
        await self._ordered(edge_id, self._registry.order_weight(edge_id, request.weight))
        _log.info("edge_weight_ordered", edge_id=edge_id, weight=request.weight)
        return router_pb2.SetEdgeWeightResponse()

    async def DrainEdge(  # noqa: N802
        self, request: router_pb2.DrainEdgeRequest, context: Any
    ) -> router_pb2.DrainEdgeResponse:
        """See router.proto."""
        if request.window_ms > _MAX_DRAIN_WINDOW_MS:
            raise _invalid(f"window_ms must not be above {_MAX_DRAIN_WINDOW_MS}", "window_ms")
        edge_id = EdgeId(check_identifier(request.edge_id, "edge_id"))
        await self._ordered(edge_id, self._registry.order_drain(edge_id, drain=True, window_ms=request.window_ms))
        record = self._directory.edge(edge_id)
        connections = record.load.connections if record is not None else 0
        _log.info("edge_drain_ordered", edge_id=edge_id, window_ms=request.window_ms, connections=connections)
        return router_pb2.DrainEdgeResponse(connections=connections)

    async def UndrainEdge(  # noqa: N802
        self, request: router_pb2.UndrainEdgeRequest, context: Any
    ) -> router_pb2.UndrainEdgeResponse:
        """See router.proto."""
        edge_id = EdgeId(check_identifier(request.edge_id, "edge_id"))
        await self._ordered(edge_id, self._registry.order_drain(edge_id, drain=False))
        _log.info("edge_undrain_ordered", edge_id=edge_id)
        return router_pb2.UndrainEdgeResponse()

    async def _ordered(self, edge_id: EdgeId, ordering: Coroutine[Any, Any, bool]) -> None:
        if not await ordering:
            raise ThrongError(
                ErrorCode.INVALID_ARGUMENT, f"no edge {edge_id} is alive", fields={"field": "edge_id", "edge_id": edge_id}
            )
        with contextlib.suppress(ThrongError):  # the order stands; this replica hears of it by the change channel too
            await self._directory.refresh_edges()

    async def GetGroupRoutes(  # noqa: N802
        self, request: router_pb2.GetGroupRoutesRequest, context: Any
    ) -> router_pb2.GetGroupRoutesResponse:
        """See router.proto."""
        group_id = GroupId(check_identifier(request.group_id, "group_id"))
        routes = self._directory.lookup(group_id)
        if routes is None:
            routes = (await self._directory.resolve([group_id]))[group_id]
        return router_pb2.GetGroupRoutesResponse(
            routes=[
                router_pb2.GroupRoute(edge_id=route.edge_id, connections=route.connections)
                for route in sorted(routes, key=lambda route: route.edge_id)
            ],
            online=sum(route.connections for route in routes),
        )


async def _within_moment(good_bye: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(_GOOD_BYE_SECONDS):
            await good_bye
    except (ThrongError, TimeoutError) as error:
        _log.info("edge_good_bye_not_noted", reason=type(error).__name__)


async def _within_patience(first: Coroutine[Any, Any, Any]) -> Any:
    try:
        async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
            return await first
    except TimeoutError as error:
        raise ThrongError(ErrorCode.DEADLINE_EXCEEDED, "the first report must be identity, and soon") from error


def _invalid(text: str, field: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text, fields={"field": field})


def _edge_info(identity: router_pb2.EdgeIdentity) -> EdgeInfo:
    check_identifier(identity.edge_id, "edge_id")
    if not 0 < identity.incarnation <= MAX_INCARNATION:
        raise _invalid("incarnation must be milliseconds since 1970", "incarnation")
    if not identity.internal_address.rpartition(":")[2].isdigit():
        raise _invalid("internal_address must be host:port", "internal_address")
    if len(identity.internal_address) > _MAX_ADDRESS_CHARACTERS:
        raise _invalid(f"internal_address may have at most {_MAX_ADDRESS_CHARACTERS} characters", "internal_address")
    if len(identity.public_url) > _MAX_URL_CHARACTERS:
        raise _invalid(f"public_url may have at most {_MAX_URL_CHARACTERS} characters", "public_url")
    if not identity.public_url:
        raise _invalid("public_url is missing", "public_url")
    if identity.weight > _MAX_WEIGHT:
        raise _invalid("weight must be 0 to 1,000", "weight")
    return EdgeInfo(EdgeId(identity.edge_id), identity.incarnation, identity.internal_address, identity.public_url, identity.weight)


def _counts(groups: Any) -> dict[GroupId, int]:
    if len(groups) > _MAX_GROUPS:
        raise ThrongError(ErrorCode.LIMIT_EXCEEDED, "too many groups in one report", fields={"limit": str(_MAX_GROUPS)})
    return {GroupId(check_identifier(each.group_id, "group_id")): each.connections for each in groups}


def _report(request: router_pb2.ReportRoutesRequest) -> Report:
    kind = request.WhichOneof("report")
    if kind == "delta":
        return Delta(_counts(request.delta.groups))
    if kind == "snapshot":
        return Snapshot(_counts(request.snapshot.groups), request.snapshot.complete)
    if kind == "digest":
        return Digest(request.digest.group_count, request.digest.xor_hash)
    if kind == "load":
        load = request.load
        return EdgeLoad(load.connections, load.cpu_share, load.fanout_lag_ms, load.draining, load.max_connections)
    raise _invalid("a report must be a delta, a snapshot, a digest or a load", "report")


def _publications(request: router_pb2.PublishRequest) -> list[Publication]:
    if not 0 < len(request.publications) <= _MAX_PUBLICATIONS:
        raise ThrongError(
            ErrorCode.LIMIT_EXCEEDED, "a batch holds 1 to 1,000 publications", fields={"limit": str(_MAX_PUBLICATIONS)}
        )
    made = []
    for each in request.publications:
        if bool(each.group_id) == bool(each.edge_id):
            raise _invalid("a publication goes to a group or to an edge", "group_id")
        if not each.event:
            raise _invalid("a publication needs an event", "event")
        if each.group_id:
            check_identifier(each.group_id, "group_id")
        made.append(
            publication(
                group_id=each.group_id,
                edge_id=each.edge_id,
                incarnation=each.incarnation,
                epoch=each.epoch,
                head_seq=each.head_seq,
                event=each.event,
            )
        )
    return made


def _order(orders: EdgeOrders) -> router_pb2.EdgeOrder | None:
    if not orders.drain_id:
        return None
    return router_pb2.EdgeOrder(order_id=orders.drain_id, drain=orders.drain, window_ms=orders.window_ms)


def _edge_record(record: EdgeRecord, weight: int) -> router_pb2.EdgeRecord:
    return router_pb2.EdgeRecord(
        identity=router_pb2.EdgeIdentity(
            edge_id=record.info.edge_id,
            incarnation=record.info.incarnation,
            internal_address=record.info.address,
            public_url=record.info.public_url,
            weight=record.info.weight,
        ),
        load=router_pb2.EdgeLoad(
            connections=record.load.connections,
            cpu_share=record.load.cpu_share,
            fanout_lag_ms=record.load.fanout_lag_ms,
            draining=record.load.draining,
            max_connections=record.load.max_connections,
        ),
        effective_weight=weight,
        reported_at_ms=record.reported_at_ms,
        ordered_weight=record.orders.weight if record.orders is not None else 0,
        drain_ordered=record.orders is not None and record.orders.drain,
    )
