"""Reports what this edge holds to a router (design 7): one stream to any of them, in the business loop.

identity, snapshot, then deltas at once, load each second (the heartbeat) and a digest each 10 s. When the stream breaks, or
the router applies nothing for 9 s, the next address is dialled after a jittered backoff, and everything is said again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog

from edge.adapters.route_table import RouteTable
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.domain.ids import GroupId
from throng.runtime import rpc_aio
from throng.runtime.rpc_security import PLAIN, RpcSecurity

_log = structlog.get_logger("throng.edge")


@dataclass(frozen=True, slots=True)
class EdgeIdentity:
    """Who this edge is and where it is reached."""

    edge_id: str
    incarnation: int
    internal_address: str
    public_url: str
    weight: int


@dataclass(frozen=True, slots=True)
class LoadSample:
    """How busy this edge is."""

    connections: int
    cpu_share: float
    fanout_lag_ms: int
    draining: bool
    max_connections: int = 0


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """What an operator wants: `drain` over `window_ms` (None: the edge's setting), or to serve again."""

    drain: bool
    window_ms: int | None


@dataclass(frozen=True, slots=True)
class ReportPace:
    """How often things are reported, seconds; tests turn them down."""

    load_seconds: float = 1.0
    digest_seconds: float = 10.0
    silence_seconds: float = 9.0
    write_timeout_seconds: float = 3.0
    backoff_base_seconds: float = 0.2
    backoff_max_seconds: float = 3.0
    applied_gap_seconds: float = 1.0


class _Stream:
    """One life of the ReportRoutes stream."""

    def __init__(self, call: Any, pace: ReportPace) -> None:
        self._call = call
        self._pace = pace
        self._last_id = 0
        self.applied_id = 0
        self.snapshot_wanted = False
        self.announcements: list[tuple[int, list[GroupId] | None]] = []
        """Reports that brought routes, and of which groups; None: all that are held."""
        self.heard_at = asyncio.get_running_loop().time()

    async def write(self, **report: Any) -> int:
        """Writes one report; returns its id."""
        self._last_id += 1
        request = router_pb2.ReportRoutesRequest(report_id=self._last_id, **report)
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes while the write ends, and stop would never return.
        async with asyncio.timeout(self._pace.write_timeout_seconds):
            await self._call.write(request)
        return self._last_id

    async def read(self, on_response: Callable[[Any], None]) -> None:
        """Reads responses until the stream ends."""
        while True:
            response = await self._call.read()
            if response is grpc.aio.EOF:
                return
            self.heard_at = asyncio.get_running_loop().time()
            on_response(response)


class RouteReporter:
    """Runs in the business loop: `start`, `report` and `stop` are called there."""

    def __init__(
        self,
        router_addresses: Sequence[str],
        identity: EdgeIdentity,
        *,
        load: Callable[[], LoadSample],
        on_applied: Callable[[Sequence[GroupId] | None], None],
        on_order: Callable[[DrainOrder], None] = lambda order: None,
        pace: ReportPace | None = None,
        security: RpcSecurity = PLAIN,
    ) -> None:
        """`on_applied` runs in the business loop whenever new routes have come to stand in the registry, with their groups or None
        for all that are held; `on_order` once for each order of an operator."""
        self._addresses = list(router_addresses)
        self._identity = identity
        self._load = load
        self._on_applied = on_applied
        self._on_order = on_order
        self._obeyed_order_id = 0
        self._pace = pace or ReportPace()
        self._security = security
        self._table = RouteTable()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_announcement = 0.0
        self._load_due = 0.0
        self.connected = False
        self.reconnects = 0

    def start(self) -> None:
        """Begins to report."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def report(self, changes: Sequence[tuple[GroupId, int]]) -> None:
        """Takes over counts; they go out at once."""
        self._table.update(changes)
        if self._table.changed:
            self._wake.set()

    def report_load(self) -> None:
        """Says at once how busy the edge is, such as that it drains now."""
        self._load_due = 0.0
        self._wake.set()

    async def stop(self) -> None:
        """Ends the stream; the registry drops the edge. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        attempt = 0
        turn = random.randrange(len(self._addresses))
        while True:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            applied = False
            try:
                applied = await self._hold(address)
            except (grpc.RpcError, TimeoutError, asyncio.InvalidStateError) as error:
                code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
                _log.warning("route_report_broken", router=address, code=code)
            except Exception as error:
                _log.error("route_report_failed", router=address, exc_info=error)
            finally:
                self.connected = False
            attempt = 0 if applied else attempt + 1
            self.reconnects += 1
            bound = min(self._pace.backoff_max_seconds, self._pace.backoff_base_seconds * 2 ** min(attempt, 8))
            await asyncio.sleep(bound * random.uniform(0.3, 1.0))

    async def _hold(self, address: str) -> bool:
        """Keeps one stream until it breaks; returns whether anything was applied on it."""
        channel = rpc_aio.channel([address], self._security)
        call: Any = None
        reader: asyncio.Task[None] | None = None
        try:
            call = router_pb2_grpc.RouterServiceStub(channel).ReportRoutes()
            stream = _Stream(call, self._pace)
            await stream.write(
                identity=router_pb2.EdgeIdentity(
                    edge_id=self._identity.edge_id,
                    incarnation=self._identity.incarnation,
                    internal_address=self._identity.internal_address,
                    public_url=self._identity.public_url,
                    weight=self._identity.weight,
                )
            )
            reader = asyncio.get_running_loop().create_task(stream.read(lambda response: self._respond(stream, response)))
            await self._send_snapshot(stream)
            await self._send_load(stream)
            await self._keep_reporting(stream, reader)
            return stream.applied_id > 0
        finally:
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            if call is not None:
                call.cancel()
            await channel.close(None)

    async def _keep_reporting(self, stream: _Stream, reader: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        pace = self._pace
        self._load_due = loop.time() + pace.load_seconds
        digest_due = loop.time() + pace.digest_seconds
        while not reader.done():
            now = loop.time()
            if now - stream.heard_at > pace.silence_seconds:
                raise TimeoutError
            self._wake.clear()
            if stream.snapshot_wanted:
                stream.snapshot_wanted = False
                await self._send_snapshot(stream)
            while self._table.changed:
                await self._send_delta(stream)
            if now >= self._load_due:
                self._load_due = now + pace.load_seconds
                await self._send_load(stream)
            if now >= digest_due:
                digest_due = now + pace.digest_seconds
                await stream.write(digest=router_pb2.RouteDigest(group_count=len(self._table), xor_hash=self._table.xor_hash))
            self._announce(stream, now)
            await self._wait(reader, min(self._load_due, digest_due, self._announcement_due(stream)) - loop.time())
        reader.result()

    async def _wait(self, reader: asyncio.Task[None], seconds: float) -> None:
        """Waits until something changed, the stream ended or time has passed."""
        waker = asyncio.get_running_loop().create_task(self._wake.wait())
        try:
            await asyncio.wait({waker, reader}, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()

    async def _send_snapshot(self, stream: _Stream) -> None:
        report_id = 0
        for groups, complete in self._table.snapshot():
            report_id = await stream.write(snapshot=router_pb2.RouteSnapshot(groups=_counts(groups), complete=complete))
        stream.announcements.append((report_id, None))

    async def _send_delta(self, stream: _Stream) -> None:
        changes, gained = self._table.take_changes()
        report_id = await stream.write(delta=router_pb2.RouteDelta(groups=_counts(changes)))
        if gained:
            stream.announcements.append((report_id, gained))

    async def _send_load(self, stream: _Stream) -> None:
        sample = self._load()
        await stream.write(
            load=router_pb2.EdgeLoad(
                connections=sample.connections,
                cpu_share=sample.cpu_share,
                fanout_lag_ms=sample.fanout_lag_ms,
                draining=sample.draining,
                max_connections=sample.max_connections,
            )
        )

    def _respond(self, stream: _Stream, response: router_pb2.ReportRoutesResponse) -> None:
        stream.applied_id = max(stream.applied_id, response.applied_report_id)
        if response.snapshot_wanted:
            stream.snapshot_wanted = True
            self._wake.set()
        order = response.order
        if order.order_id > self._obeyed_order_id:
            self._obeyed_order_id = order.order_id
            _log.info("edge_ordered", drain=order.drain, window_ms=order.window_ms)
            self._on_order(DrainOrder(order.drain, order.window_ms or None))
        if self._announceable(stream):
            if not self.connected:
                self.connected = True
                self._next_announcement = 0.0
            self._wake.set()

    @staticmethod
    def _announceable(stream: _Stream) -> bool:
        return bool(stream.announcements) and stream.announcements[0][0] <= stream.applied_id

    def _announcement_due(self, stream: _Stream) -> float:
        return self._next_announcement if self._announceable(stream) else float("inf")

    def _announce(self, stream: _Stream, now: float) -> None:
        """Has heads compared when routes were gained, at most once a second: what was published before they stood is pulled."""
        if now < self._announcement_due(stream):
            return
        gained: dict[GroupId, None] = {}
        everything = False
        while self._announceable(stream):
            _, groups = stream.announcements.pop(0)
            everything = everything or groups is None
            gained.update(dict.fromkeys(groups or ()))
        self._next_announcement = now + self._pace.applied_gap_seconds
        self._on_applied(None if everything else list(gained))


def _counts(groups: Sequence[tuple[GroupId, int]]) -> list[router_pb2.GroupCount]:
    return [router_pb2.GroupCount(group_id=group_id, connections=connections) for group_id, connections in groups]
