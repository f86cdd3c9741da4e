"""Composition root of the edge: the hub thread and the business thread, put together, started and stopped in order.

hub thread (own loop):      Tornado, hub, sessions
business thread (shared):   calls to group_svc and unread_svc, uplink stream, route reports, Deliver streams
"""

from __future__ import annotations

import asyncio
import functools
import os
import pathlib
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from edge.adapters.client_codec import make_codecs
from edge.adapters.hub_gate import HubGate
from edge.adapters.proto_values import to_event
from edge.adapters.route_reporter import DrainOrder, EdgeIdentity, LoadSample, RouteReporter
from edge.business import Business
from edge.core.hub import Hub
from edge.core.hub_counters import HubCounters
from edge.core.hub_settings import HubSettings
from edge.core.resume_tokens import KEY_PURPOSE
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity as SessionIdentity
from edge.core.session_settings import SessionSettings
from edge.core.sessions import EdgeSessions
from edge.descriptors import plan_descriptors
from edge.door import HubDoor
from edge.front import Front
from edge.http.admission import UpgradeRules
from edge.http.handshake_budget import HandshakeBudget
from edge.http.readiness import Readiness
from edge.http.services import HttpLimits, HttpServices, PageConfig
from edge.http.site import load_site
from edge.load import CpuShare
from edge.metrics import CountedParts, EdgeMetrics, PartsCollector, Registration
from edge.native.library import NativeBulkSend, NativeMissingError, choose_bulk_send
from edge.servicer import EdgeServicer
from edge.settings import EdgeSettings
from throng import __version__
from throng.adapters.jwt_tokens import JwtTokenVerifier, TokenIssuer, TokenKey, load_public_key, load_secret
from throng.adapters.system_clock import SystemClock
from throng.domain.close_codes import CloseCode
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock
from throng.ports.uplink import UplinkProducer
from throng.runtime.aio_thread import AioThread
from throng.runtime.file_limit import raise_file_limit

_CALL_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_FLUSH_SECONDS = 2.0
_LOOK_SECONDS = 0.02
_BUILT_PAGE = pathlib.Path(__file__).parent / "static"
_log = structlog.get_logger("throng.edge")


class EdgeApp:
    """One edge: a `Part`. `http_address`, `operations_address` and `grpc_address` hold what was bound, `edge_id` and `incarnation`
    who it is."""

    name = "edge"

    def __init__(
        self,
        settings: EdgeSettings,
        aio: AioThread,
        *,
        uplink_producer: UplinkProducer | None = None,
        registry: CollectorRegistry | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Takes what it needs; nothing is opened yet.

        Raises:
            ThrongError: INVALID_ARGUMENT when the uplink is `memory` and no producer is given.
        """
        if (settings.uplink == "memory") != (uplink_producer is not None):
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the uplink memory needs a producer in the same process, and only it")
        self._settings = settings
        self._aio = aio
        self._producer = uplink_producer
        self._registry = registry or CollectorRegistry()
        self._clock = clock or SystemClock()
        self._metrics = EdgeMetrics(self._registry, clock=self._clock)
        self._cpu = CpuShare(clock=self._clock)
        self.readiness = Readiness()
        self._ready = threading.Event()
        self._hub_thread = AioThread("edge-hub")
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="edge-metrics")
        self._hub_counters = HubCounters()
        self._session_counters = SessionCounters()
        self._bulk_send: NativeBulkSend | None = None
        self._business: Business | None = None
        self._door: HubDoor | None = None
        self._front: Front | None = None
        self._registration: Registration | None = None
        self._stopped = False
        self.http_address = ""
        self.operations_address = ""
        self.grpc_address = ""
        self.edge_id = ""
        self.incarnation = 0

    # Start ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when clients are served; they are admitted as soon as a router has applied the routes (`wait_ready`).

        Raises:
            ThrongError: an address is taken, a key file cannot be used, or a native part is wanted that is not there.
        """
        settings = self._settings
        key = load_secret(settings.jwt_secret_file) if settings.jwt_secret_file is not None else _public_key(settings)
        self._bulk_send = _choose_bulk_send(settings)
        self._bind()
        self.incarnation = self._clock.now_ms()
        self._hub_thread.start()
        self._aio.run(self._open_business(), _CALL_SECONDS)
        self._hub_thread.run(self._open_hub(), _CALL_SECONDS)
        self._aio.run(self._serve_routers(), _CALL_SECONDS)
        self._hub_thread.run(self._serve_clients(key), _CALL_SECONDS)
        addresses = {"http": self.http_address, "grpc": self.grpc_address, "operations": self.operations_address}
        _log.info("edge_started", edge_id=self.edge_id, **addresses)

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Waits until new clients may come, at most so long; tells whether they may."""
        return self._ready.wait(timeout_seconds)

    def _bind(self) -> None:
        settings = self._settings
        wanted, limit = settings.max_connections, raise_file_limit()
        plan = plan_descriptors(limit, wanted_connections=wanted, reserved=settings.reserved_descriptors)
        if plan.max_connections < wanted and "max_connections" in settings.model_fields_set:
            _log.warning("connections_capped", max_connections=plan.max_connections, wanted=wanted, open_files=limit)
        _log.info("connections_allowed", max_connections=plan.max_connections, open_files=limit)
        self._front = Front(settings, plan, self._hub_counters)
        self._front.bind()
        self.http_address = self._front.address
        self.operations_address = self._front.operations_address
        self.edge_id = settings.edge_id or _default_edge_id(self._front.port, shared=settings.reuse_port)

    async def _open_business(self) -> None:
        self._business = Business(self._settings, self._metrics, self._producer)

    async def _open_hub(self) -> None:
        business = self._need_business()
        settings = self._settings
        loop = asyncio.get_running_loop()
        business.upstream.attach(loop)
        self._session_counters.on_fan_out_done = self._metrics.fan_out_done
        hub_settings = HubSettings(
            max_frame_bytes=settings.max_frame_bytes, heartbeat_interval_seconds=settings.heartbeat_interval_ms / 1000
        )
        self._door = HubDoor(
            lambda door: Hub(
                handler=door,
                settings=hub_settings,
                clock=self._clock,
                counters=self._hub_counters,
                bulk=self._bulk_send,
            ),
            lambda hub: EdgeSessions(
                hub,
                business.upstream,
                make_codecs(),
                self._clock,
                _session_settings(settings),
                self._session_counters,
                SessionIdentity(EdgeId(self.edge_id), self.incarnation),
            ),
            delayed=self._metrics.loop_delayed,
        )
        self._door.start(loop)

    async def _serve_routers(self) -> None:
        business, sessions = self._need_business(), self._need_door().sessions
        settings = self._settings
        gate = HubGate(sessions, asyncio.get_running_loop())
        gate.attach(self._hub_thread.loop)
        servicer = EdgeServicer(
            self.edge_id,
            self.incarnation,
            gate,
            read_event=functools.partial(to_event, wants_json=sessions.wants_json),
            drain=self._drain_soon,
            events_received=self._metrics.events_received,
        )
        port = await business.serve(servicer)
        self.grpc_address = f"{settings.internal_host}:{port}"
        identity = EdgeIdentity(
            edge_id=self.edge_id,
            incarnation=self.incarnation,
            internal_address=settings.internal_address or self.grpc_address,
            public_url=settings.public_url or f"ws://{_reachable(self.http_address)}",
            weight=settings.weight,
        )
        business.reporter = RouteReporter(
            settings.router_addresses,
            identity,
            load=self._load,
            on_applied=self._routes_applied,
            on_order=self._obey,
            security=business.security,
        )
        business.reporter.start()
        business.watch(self._upstream_changed)
        self._count(business, gate)

    def _count(self, business: Business, gate: HubGate) -> None:
        reporter, producer, door = business.reporter, business.own_producer, self._need_door()
        parts = CountedParts(
            hub=self._hub_counters,
            sessions=self._session_counters,
            calls_under_way=lambda: business.upstream.calls_under_way,
            calls_refused=lambda: business.upstream.refused_calls,
            requests_shed=lambda: business.upstream.shed_requests,
            waiting_events=lambda: gate.waiting_events,
            uplink_records=lambda: producer.records_in_flight if producer is not None else 0,
            router_connected=lambda: reporter is not None and reporter.connected,
            router_reconnects=lambda: reporter.reconnects if reporter is not None else 0,
            answers_waiting=lambda: door.sessions.answers_waiting,
            rooms_by_size=door.sessions.rooms_by_size,
        )
        self._registration = Registration(self._registry, PartsCollector(parts))

    async def _serve_clients(self, key: TokenKey) -> None:
        settings, front = self._settings, self._need_front()
        business, door = self._need_business(), self._need_door()
        issuer = TokenIssuer(key, clock=self._clock, audience=settings.audience) if settings.dev_login else None
        services = HttpServices(
            edge_id=self.edge_id,
            door=door,
            verifier=JwtTokenVerifier(key, clock=self._clock, audience=settings.audience),
            issuer=issuer,
            rules=UpgradeRules(
                settings.allowed_origins,
                settings.allow_access_token_query,
                settings.max_groups_in_url,
                settings.permessage_deflate,
            ),
            limits=HttpLimits(max_connections=front.max_connections, login_ttl_seconds=settings.dev_login_ttl_seconds),
            readiness=self.readiness,
            budget=HandshakeBudget(settings.handshakes_per_second, clock=self._clock, lateness=lambda: door.lateness_seconds),
            site=load_site(settings.static_dir or _BUILT_PAGE),
            config=PageConfig(version=__version__, default_groups=settings.default_groups),
            assign=business.router.assign,
            own_url=settings.public_url,
            upgraded=self._metrics.handshake,
            render_metrics=self._render_metrics,
        )
        front.open(services)
        if self.readiness.ready:
            front.listen()

    # While it runs --------------------------------------------------------------------------------------------------

    def _load(self) -> LoadSample:
        return LoadSample(
            connections=self._hub_counters.connections,
            cpu_share=self._cpu.take(),
            fanout_lag_ms=self._metrics.fan_out_lag_ms(),
            draining=self.readiness.draining,
            max_connections=self._need_front().max_connections,
        )

    def _routes_applied(self, group_ids: Sequence[GroupId] | None) -> None:
        self.readiness.routes_applied = True
        self._note_readiness()
        sessions = self._need_door().sessions
        self._need_business().upstream.post_to_hub(lambda: sessions.on_routes_applied(group_ids))

    def _upstream_changed(self, reachable: bool) -> None:
        self.readiness.upstream_reachable = reachable
        self._note_readiness()

    def _note_readiness(self) -> None:
        """Any thread."""
        if not self.readiness.ready:
            self._ready.clear()
        elif self._hub_thread.loop.is_running():
            self._hub_thread.loop.call_soon_threadsafe(self._let_clients_come)

    def _let_clients_come(self) -> None:
        if self.readiness.ready:
            self._need_front().listen()
            self._ready.set()

    async def _render_metrics(self) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._scrapes, generate_latest, self._registry)

    def _drain_soon(self, window_ms: int | None) -> int:
        """Begins a drain. Business loop."""
        self.readiness.draining = True
        self._note_readiness()
        business, door = self._need_business(), self._need_door()
        if business.reporter is not None:
            business.reporter.report_load()
        window = self._settings.drain_window_ms if window_ms is None else window_ms
        business.upstream.post_to_hub(self._need_front().leave)
        business.upstream.post_to_hub(lambda: door.drain(window))
        return self._hub_counters.connections

    def _obey(self, order: DrainOrder) -> None:
        """An operator wants the edge empty, or back. Business loop."""
        if order.drain and not self.readiness.draining:
            self._drain_soon(order.window_ms)
        elif not order.drain and self.readiness.draining and not self._stopped:
            self.readiness.draining = False
            self._need_business().upstream.post_to_hub(self._need_door().sessions.undrain)
            self._note_readiness()
            reporter = self._need_business().reporter
            if reporter is not None:
                reporter.report_load()

    # Stop -----------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Not ready, weight 0, clients leave over the drain window, the rest is closed with 4000, cursors are flushed, streams
        end, servers end. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        self.readiness.draining = True
        self._note_readiness()
        if self._business is not None:
            self._aio.run(self._business.not_serving(), _CALL_SECONDS)
        if self._door is not None:
            self._send_clients_away(self._door)
        if self._business is not None:
            if self._business.own_producer is not None:
                self._business.own_producer.close(_FLUSH_SECONDS)
            self._aio.run(self._business.close(), _CALL_SECONDS)
        if self._hub_thread.loop.is_running():
            self._hub_thread.run(self._close_hub(), _CALL_SECONDS)
        if self._front is not None:
            self._front.release()
        self._hub_thread.stop()
        self._scrapes.shutdown(wait=True, cancel_futures=True)
        if self._registration is not None:
            self._registration.end()

    def _send_clients_away(self, door: HubDoor) -> None:
        window_ms = self._settings.drain_window_ms
        self._hub_thread.run(_called(self._need_front().leave), _CALL_SECONDS)
        if self._hub_counters.connections and window_ms:
            self._hub_thread.run(_called(lambda: door.drain(window_ms)), _CALL_SECONDS)
            self._wait_for_no_connections(window_ms / 1000 + 0.5)
        if self._hub_counters.connections:
            self._hub_thread.run(_called(lambda: door.hub.close_all(CloseCode.DRAINING, "the edge stops")), _CALL_SECONDS)
            self._wait_for_no_connections(_CLOSE_SECONDS)
        self._hub_thread.run(self._flush(door), _CALL_SECONDS)

    async def _flush(self, door: HubDoor) -> None:
        flushed = asyncio.Event()
        door.sessions.stop(flushed.set)
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await flushed.wait()
        except TimeoutError:
            _log.warning("cursors_not_flushed", edge_id=self.edge_id)

    def _wait_for_no_connections(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._hub_counters.connections and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    async def _close_hub(self) -> None:
        if self._front is not None:
            await self._front.close()
        if self._door is not None:
            self._door.stop()

    def _need_business(self) -> Business:
        assert self._business is not None
        return self._business

    def _need_front(self) -> Front:
        assert self._front is not None
        return self._front

    def _need_door(self) -> HubDoor:
        assert self._door is not None
        return self._door


async def _called(callback: Callable[[], object]) -> None:
    callback()


def _choose_bulk_send(settings: EdgeSettings) -> NativeBulkSend | None:
    try:
        chosen = choose_bulk_send(settings.native_fan_out)
    except NativeMissingError as error:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, str(error)) from error
    _log.info("fan_out_chosen", by="the compiled loop" if chosen is not None else "a loop of Python")
    return chosen


def _public_key(settings: EdgeSettings) -> TokenKey:
    assert settings.jwt_public_key_file is not None
    return load_public_key(settings.jwt_public_key_file)


def _default_edge_id(port: int, *, shared: bool) -> str:
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:44] or "edge"
    return f"{host}:{port}.{os.getpid()}" if shared else f"{host}:{port}"


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{socket.gethostname()}:{port}" if host in ("0.0.0.0", "::", "") else address


def _session_settings(settings: EdgeSettings) -> SessionSettings:
    resume_secret = settings.resume_secret_file or settings.jwt_secret_file
    return SessionSettings(
        max_connections_per_user=settings.max_connections_per_user,
        min_send_interval_ms=settings.min_send_interval_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        max_frame_bytes=settings.max_frame_bytes,
        reconnect_base_ms=settings.reconnect_base_ms,
        reconnect_max_ms=settings.reconnect_max_ms,
        idle_timeout_ms=settings.idle_timeout_ms,
        resume_key=load_secret(resume_secret).derive(KEY_PURPOSE) if resume_secret is not None else b"",
    )
