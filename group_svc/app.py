"""Composition root of group_svc: names the adapters, starts and stops everything in order."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from group_svc.adapters.grpc_answer_forwarder import GrpcAnswerForwarder
from group_svc.adapters.grpc_publisher import GrpcPublisher
from group_svc.adapters.grpc_safety_hook import GrpcSafetyHook
from group_svc.adapters.grpc_unread_observer import GrpcUnreadObserver
from group_svc.adapters.memory_answer_waiters import MemoryAnswerWaiters
from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.adapters.mysql_rows import SCHEMA
from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.redis_recent_messages import RedisRecentMessages
from group_svc.adapters.sqlite_membership_store import SQLiteMembershipStore
from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from group_svc.adapters.watched_word_list import WatchedWordList
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.core.directory import Directory
from group_svc.core.safety_gate import SafetyPolicy
from group_svc.core.submitter import SharedProducer, Submitter
from group_svc.message_servicer import MessageServicer
from group_svc.metrics import GroupMetrics
from group_svc.ports import MembershipStore, MessageStore, SafetyCheck, SafetyHook
from group_svc.servicer import GroupServicer
from group_svc.settings import GroupServiceSettings, split_addresses
from group_svc.uplink_servicer import UplinkServicer
from group_svc.write_path import WritePath, WritePathPorts
from throng.adapters.memory_uplink import MemoryUplink
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import check_schema
from throng.adapters.redis_client import RedisThreads
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.adapters.system_clock import SystemClock
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.uplink.v1 import uplink_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, GroupSettings
from throng.domain.ids import GroupId
from throng.ports.clock import Clock
from throng.ports.uplink import UplinkConsumer, UplinkProducer
from throng.runtime.kafka_metrics import KafkaMetrics
from throng.runtime.mysql_metrics import MySQLMetrics
from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_sync import SyncServer

_log = structlog.get_logger("group.app")
_GRACE_SECONDS = 2.0
_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Stores:
    """The two durable stores and what closes them."""

    messages: MessageStore
    groups: MembershipStore
    close: Callable[[], None]


def open_sqlite(settings: GroupServiceSettings) -> Stores:
    """Opens `group.db` in the data folder.

    Raises:
        ThrongError: UNAVAILABLE or INTERNAL when it cannot be used.
    """
    database = SQLiteDatabase(settings.data_dir / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
    return Stores(SQLiteMessageStore(database), SQLiteMembershipStore(database), database.close)


def open_mysql(settings: GroupServiceSettings, metrics: MySQLMetrics) -> Stores:
    """Connects to MySQL, whose tables `throng migrate` has made.

    Raises:
        ThrongError: UNAVAILABLE when it cannot be reached; INTERNAL when it refuses or its tables do not fit this version.
    """
    database = MySQLDatabase(settings.mysql_access(), metrics)
    try:
        database.read(lambda statements: check_schema(statements, SCHEMA))
    except BaseException:
        database.close()
        raise
    metrics.watch(lambda: database.in_use)
    return Stores(MySQLMessageStore(database), MySQLMembershipStore(database), database.close)


@dataclass(frozen=True, slots=True)
class Uplink:
    """Both ends of the log in this process."""

    producer: UplinkProducer
    consumer: UplinkConsumer
    start: Callable[[], None] = lambda: None


def _open_uplink(settings: GroupServiceSettings, metrics: KafkaMetrics) -> Uplink:
    if settings.uplink == "memory":
        uplink = MemoryUplink(max_records=settings.uplink_max_records)
        return Uplink(uplink, uplink)
    from throng.adapters.kafka_uplink_consumer import KafkaUplinkConsumer
    from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer

    access, topic = settings.kafka_access(), settings.kafka_topic_settings()
    producer = KafkaUplinkProducer(access, topic, settings.kafka_limits(), name="throng-group-producer")
    consumer = KafkaUplinkConsumer(access, topic, settings.kafka_consumer_settings())
    metrics.watch_producer(producer.sender)
    metrics.watch_consumer(consumer)
    return Uplink(producer, consumer, producer.start)


class GroupApp:
    """group_svc as one part of a process.

    Attributes:
        grpc_address: host:port that was bound, after `start`.
        uplink_producer: the log of this process, for edges in the same process; there before `start`.
    """

    name = "group"

    def __init__(
        self,
        settings: GroupServiceSettings,
        *,
        registry: CollectorRegistry | None = None,
        clock: Clock | None = None,
        open_stores: Callable[[GroupServiceSettings], Stores] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._open_stores = open_stores or self._open_by_settings
        registry = CollectorRegistry() if registry is None else registry
        self._metrics = GroupMetrics(registry)
        self._rpc_metrics = RpcMetrics("group", registry)
        self._uplink = _open_uplink(settings, self._metrics.kafka)
        self._producer = SharedProducer(self._uplink.producer)
        self._waiters = MemoryAnswerWaiters(incarnation=self._clock.now_ms())
        self._security = settings.rpc_security()
        self._publisher = GrpcPublisher(
            split_addresses(settings.router_addresses), self._clock, self._metrics, security=self._security
        )
        self._observer = GrpcUnreadObserver(split_addresses(settings.unread_addresses), self._metrics, security=self._security)
        self._forwarder = GrpcAnswerForwarder(self._metrics, security=self._security)
        self._stopping = contextlib.ExitStack()
        self.grpc_address = ""

    def _open_by_settings(self, settings: GroupServiceSettings) -> Stores:
        return open_mysql(settings, self._metrics.mysql) if settings.store == "mysql" else open_sqlite(settings)

    @property
    def uplink_producer(self) -> UplinkProducer:
        """The log of this process."""
        return self._producer

    def start(self) -> None:
        """Opens the stores, starts the write path, serves.

        Raises:
            ThrongError: a store, the word list or the address cannot be used.
        """
        settings = self._settings
        stores = self._open_stores(settings)
        self._stopping.callback(stores.close)
        self._make_default_group(stores.groups)
        redis = RedisThreads(settings.redis_access(), on_error=self._metrics.redis.failed)
        self._stopping.callback(redis.close)
        ports = WritePathPorts(
            consumer=self._uplink.consumer,
            messages=stores.messages,
            groups=stores.groups,
            recent=RedisRecentMessages(redis),
            publisher=self._publisher,
            observer=self._observer,
            waiters=self._waiters,
            forwarder=self._forwarder,
            inspector=ProtoBodyInspector(),
            safety=self._watch_words(),
            clock=self._clock,
            hook=self._open_hook(),
        )
        path = WritePath(
            ports,
            self._metrics,
            lanes=settings.lanes,
            lane_capacity=settings.lane_capacity,
            membership_ttl_seconds=settings.membership_ttl_seconds,
            hot_group_per_second=settings.hot_group_per_second,
            hook_policy=SafetyPolicy(fail_open=settings.safety_hook_policy == "open", max_calls=settings.safety_hook_max_calls),
        )
        self._start_path(path)
        self._serve(path, stores)

    def _watch_words(self) -> SafetyCheck:
        if self._settings.word_list_file is None:
            return WordListSafety(())
        words = WatchedWordList(self._settings.word_list_file, self._metrics, check_seconds=self._settings.word_list_check_seconds)
        self._stopping.callback(words.stop)
        words.start()
        return words

    def _open_hook(self) -> SafetyHook | None:
        settings = self._settings
        if not settings.safety_hook_address:
            return None
        hook = GrpcSafetyHook(settings.safety_hook_address, self._metrics, timeout_seconds=settings.safety_hook_timeout_seconds)
        self._stopping.callback(hook.stop)
        return hook

    def _start_path(self, path: WritePath) -> None:
        """Starts what runs without callers; it stops in the reverse order: path, then the ways out."""
        self._stopping.callback(lambda: self._observer.stop(_FLUSH_SECONDS))
        self._observer.start()
        self._stopping.callback(lambda: self._publisher.stop(_FLUSH_SECONDS))
        self._publisher.start()
        self._stopping.callback(lambda: self._forwarder.stop(_FLUSH_SECONDS))
        self._forwarder.start()
        self._stopping.callback(lambda: self._uplink.consumer.close(_FLUSH_SECONDS))
        self._stopping.callback(lambda: path.stop(self._settings.drain_seconds))
        path.start()
        self._uplink.start()
        self._stopping.callback(lambda: self._producer.close(self._settings.drain_seconds))

    def _serve(self, path: WritePath, stores: Stores) -> None:
        settings = self._settings
        directory = Directory(stores.groups, path.members, self._publisher)
        submitter = Submitter(self._producer, self._waiters, self._clock, max_waiting=settings.grpc_threads // 2)
        server = SyncServer(self._rpc_metrics, threads=settings.grpc_threads, security=self._security)
        server.add(
            group_pb2_grpc.add_GroupServiceServicer_to_server,
            GroupServicer(directory, path.history, self._clock),
            "throng.group.v1.GroupService",
        )
        server.add(
            message_pb2_grpc.add_MessageServiceServicer_to_server,
            MessageServicer(submitter, self._waiters, path.history, stores.messages, directory),
            "throng.group.v1.MessageService",
        )
        uplink = UplinkServicer(self._producer, max_streams=settings.grpc_threads // 4)
        server.add(uplink_pb2_grpc.add_UplinkServiceServicer_to_server, uplink, "throng.uplink.v1.UplinkService")
        self._stopping.callback(lambda: self._end_calls(server, uplink))
        port = server.start(f"{settings.host}:{settings.port}")
        self.grpc_address = f"{settings.host}:{port}"
        self._waiters.open(settings.internal_address or f"{_reachable_host(settings.host)}:{port}")
        _log.info("group_serves", address=self.grpc_address)

    def _end_calls(self, server: SyncServer, uplink: UplinkServicer) -> None:
        """Not ready, no new streams; callers that wait for their message get a moment, then UNAVAILABLE."""
        server.set_serving(serving=False)
        uplink.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        while len(self._waiters) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._waiters.close()
        server.stop(_GRACE_SECONDS)

    def _make_default_group(self, groups: MembershipStore) -> None:
        group_id = self._settings.default_group
        if not group_id:
            return
        group = Group(GroupId(group_id), group_id, settings=GroupSettings(open=True), created_at_ms=self._clock.now_ms())
        try:
            groups.create_group(group, owner_id=None)
            _log.info("default_group_made", group_id=group_id)
        except ThrongError as error:
            if error.code is not ErrorCode.GROUP_EXISTS:
                raise

    def stop(self) -> None:
        """Ends calls, drains the uplink, writes, publishes, flushes, closes the stores. Idempotent."""
        self._stopping.pop_all().close()


def _reachable_host(host: str) -> str:
    """The host itself; for a wildcard the address of this machine's name, and where it has none, loopback."""
    if host not in ("0.0.0.0", "::"):
        return host
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
