"""The four services of one installation in this process, each with its own settings, on real gRPC and a real port for clients."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, generate_latest

from edge.app import EdgeApp
from edge.settings import EdgeSettings
from group_svc.app import GroupApp
from group_svc.settings import GroupServiceSettings
from router_svc.app import RouterApp
from router_svc.settings import RouterSettings
from throng.adapters.jwt_tokens import TokenIssuer
from throng.runtime import rpc_sync
from throng.runtime.aio_thread import AioThread
from throng.runtime.lifecycle import Parts
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.runtime.settings import load
from throng.testing.certificates import write_private
from throng.testing.servers import free_port
from unread_svc.app import UnreadApp
from unread_svc.settings import UnreadSettings

READY_SECONDS = 20.0
Flags = Mapping[str, Mapping[str, Any]]


class Installation:
    """`more` holds further settings by service: `edge`, `group`, `router`, `unread`."""

    def __init__(self, folder: pathlib.Path, more: Flags | None = None) -> None:
        self.folder = folder
        self.more = more or {}
        self.key_file = folder / "token.key"
        write_private(self.key_file, uuid.uuid4().hex.encode() * 2)
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in ("edge", "group", "router", "unread")}
        self.registries = {name: CollectorRegistry() for name in self.addresses}
        self.aio = AioThread()
        self.edge: Any = None
        self._parts = Parts()
        self._channels: list[grpc.Channel] = []
        self._redis = f"embedded://{uuid.uuid4().hex}"

    def flags(self, name: str) -> dict[str, Any]:
        """Settings of one service."""
        at = self.addresses
        port = int(at[name].rsplit(":", 1)[1])
        stored = {"redis_url": self._redis, "data_dir": str(self.folder), "port": port}
        others = {f"{other}_addresses": at[other] for other in ("group", "router", "unread")}
        own: dict[str, dict[str, Any]] = {
            "unread": {**stored, "group_addresses": at["group"]},
            "router": {"redis_url": self._redis, "port": port},
            "group": {
                **stored,
                "router_addresses": at["router"],
                "unread_addresses": at["unread"],
                "default_group": "lobby",
            },
            "edge": {
                "port": 0,
                "internal_port": port,
                "edge_id": "edge-1",
                "jwt_secret_file": str(self.key_file),
                "drain_window_ms": 0,
                **others,
            },
        }
        return own[name] | dict(self.more.get(name, {}))

    def start(self) -> Installation:
        """Starts all, and waits until clients are admitted."""
        self.aio.start()
        registries = self.registries
        unread = load(UnreadSettings, flags=self.flags("unread"), environment={})
        self._parts.start(UnreadApp(unread, registry=registries["unread"]))
        router = load(RouterSettings, flags=self.flags("router"), environment={})
        self._parts.start(RouterApp(router, self.aio, registry=registries["router"]))
        group = load(GroupServiceSettings, flags=self.flags("group"), environment={})
        self._parts.start(GroupApp(group, registry=registries["group"]))
        self.edge = self.make_edge()
        self._parts.start(self.edge)
        assert self.edge.wait_ready(READY_SECONDS), "the edge does not admit clients"
        return self

    def make_edge(self, **more: Any) -> EdgeApp:
        """An edge of this installation, with settings of its own; whoever makes a further one starts and stops it."""
        registry = CollectorRegistry() if more else self.registries["edge"]
        return EdgeApp(load(EdgeSettings, flags=self.flags("edge") | more, environment={}), self.aio, registry=registry)

    def stop(self) -> None:
        """Stops all, also what started half-way."""
        for channel in self._channels:
            channel.close()
        self._parts.stop()
        self.aio.stop()

    def channel(self, name: str, security: RpcSecurity = PLAIN) -> Any:
        """A channel to a service; it is closed at `stop`."""
        channel = rpc_sync.channel([self.addresses[name]], security)
        self._channels.append(channel)
        return channel

    def token(self, user: str) -> str:
        """A JWT for a user."""
        return TokenIssuer.from_file(self.key_file).issue(user, ttl_seconds=600)

    def metrics(self) -> str:
        """What all services tell Prometheus."""
        return "".join(generate_latest(registry).decode() for registry in self.registries.values())
