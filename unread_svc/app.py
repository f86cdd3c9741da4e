"""Composition root of unread_svc: builds it from its adapters, starts and stops it."""

from __future__ import annotations

import grpc
from prometheus_client import CollectorRegistry

from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import check_schema
from throng.adapters.redis_client import RedisThreads
from throng.adapters.system_clock import SystemClock
from throng.api.unread.v1 import unread_pb2_grpc
from throng.ports.clock import Clock
from throng.runtime import rpc_sync
from throng.runtime.mysql_metrics import MySQLMetrics
from throng.runtime.rpc_metrics import RpcMetrics
from unread_svc.adapters.grpc_group_directory import GrpcGroupDirectory
from unread_svc.adapters.mysql_cursor_store import SCHEMA, MySQLCursorStore
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.adapters.sqlite_cursor_store import SQLiteCursorStore
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.counter import UnreadCounter
from unread_svc.head_bound import HeadBound
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import CursorStore
from unread_svc.rebuild import WindowRebuilder
from unread_svc.servicer import UnreadServicer
from unread_svc.settings import UnreadSettings

SERVICE = "throng.unread.v1.UnreadService"
CURSOR_FILE = "unread.sqlite"


def open_store(settings: UnreadSettings, metrics: MySQLMetrics) -> CursorStore:
    """Opens the file, or connects to MySQL, whose table `throng migrate` has made.

    Raises:
        ThrongError: UNAVAILABLE when it cannot be reached; INTERNAL when it refuses or its table does not fit this version.
    """
    if settings.store == "sqlite":
        return SQLiteCursorStore(settings.data_dir / CURSOR_FILE)
    database = MySQLDatabase(settings.mysql_access(), metrics)
    try:
        database.read(lambda statements: check_schema(statements, SCHEMA))
    except BaseException:
        database.close()
        raise
    metrics.watch(lambda: database.in_use)
    return MySQLCursorStore(database)


class UnreadApp:
    """One unread_svc (`throng.runtime.lifecycle.Part`). Starts without group_svc: it is dialled when it is needed.

    Attributes:
        grpc_address: host:port that was bound; empty before `start`.
    """

    name = "unread"

    def __init__(self, settings: UnreadSettings, *, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._metrics = UnreadMetrics(registry)
        self._rpc_metrics = RpcMetrics("unread", registry)
        self._store: CursorStore | None = None
        self._window: RedisUnreadWindow | None = None
        self._channel: grpc.Channel | None = None
        self._servicer: UnreadServicer | None = None
        self._server: rpc_sync.SyncServer | None = None
        self.grpc_address = ""

    def start(self) -> None:
        """Opens the stores and serves.

        Raises:
            ThrongError: the store cannot be used, or the port is taken.
        """
        settings = self._settings
        security = settings.rpc_security()
        self._store = open_store(settings, self._metrics.mysql)
        redis = RedisThreads(settings.redis_access(), on_error=self._metrics.redis.failed)
        self._window = RedisUnreadWindow(redis, lifetime_seconds=settings.window_lifetime_seconds)
        self._channel = rpc_sync.channel(settings.group_addresses, security)
        self._servicer = self._make_servicer(self._store, self._window, self._channel)
        server = rpc_sync.SyncServer(self._rpc_metrics, threads=settings.threads, security=security)
        server.add(unread_pb2_grpc.add_UnreadServiceServicer_to_server, self._servicer, SERVICE)
        self._server = server
        port = server.start(f"{settings.host}:{settings.port}")
        self.grpc_address = f"{settings.host}:{port}"

    def _make_servicer(self, store: CursorStore, redis_window: RedisUnreadWindow, channel: grpc.Channel) -> UnreadServicer:
        settings = self._settings
        metrics, clock = self._metrics, self._clock
        directory = GrpcGroupDirectory(
            channel,
            metrics,
            timeout_seconds=settings.group_timeout_seconds,
            max_calls_in_flight=settings.max_group_calls,
        )
        window = BestEffortWindow(redis_window, metrics)
        # A flight waits for a slot and then for its call, each up to the deadline; Redis comes on top.
        wait_seconds = 2 * settings.group_timeout_seconds + settings.redis_timeout_seconds
        rebuilder = WindowRebuilder(directory, window, metrics, wait_seconds=wait_seconds)
        counter = UnreadCounter(directory, store, window, rebuilder, metrics, clock=clock)
        return UnreadServicer(
            counter,
            store,
            HeadBound(directory, clock=clock),
            window,
            metrics,
            clock=clock,
            max_observe_streams=settings.max_observe_streams,
        )

    def stop(self) -> None:
        """Not ready, observation streams ended, calls under way finished or cut after the grace, stores closed. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.set_serving(serving=False)
        if self._servicer is not None:
            self._servicer.end_streams()
        if server is not None:
            server.stop(self._settings.stop_grace_seconds)
        if self._channel is not None:
            self._channel.close()
        if self._window is not None:
            self._window.close()
        if self._store is not None:
            self._store.close()
        self._servicer = self._channel = self._window = self._store = None
