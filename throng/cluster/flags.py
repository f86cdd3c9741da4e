"""Gives every service its ports, and makes its flags: which addresses it is told, directly or through a fault proxy."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from throng.cluster.backends import Backends
from throng.cluster.links import Links
from throng.cluster.plan import SERVICES, ClusterPlan
from throng.cluster.secured import BackendTls
from throng.cluster.service_process import Addresses
from throng.testing.servers import free_port

_PARTITIONS_EACH = 2
"""Of the uplink per group service: each batch of a partition costs about as much as three records (docs/kafka.md)."""


@dataclass(slots=True)
class Layout:
    """Addresses and flags of all services, by name, fixed for the life of a cluster."""

    addresses: dict[str, Addresses] = field(default_factory=dict)
    flags: dict[str, dict[str, str]] = field(default_factory=dict)


def lay_out(
    plan: ClusterPlan,
    folder: pathlib.Path,
    key_file: pathlib.Path,
    links: Links,
    backends: Backends,
    secured: Mapping[str, Mapping[str, str]],
) -> Layout:
    """Chooses ports and makes flags; nothing is started but proxies. `secured` is what `make_rpc_files` made, empty: nothing."""
    layout = Layout()
    for kind in SERVICES:
        for number, name in enumerate(plan.names(kind)):
            layout.addresses[name] = _addresses(plan, kind, number, name, links)
    make = _Flags(plan, folder, key_file, links, backends, layout.addresses, BackendTls(secured) if secured else None)
    for kind in SERVICES:
        for name in plan.names(kind):
            layout.flags[name] = make.of(kind, name) | dict(secured.get(kind, {})) | dict(plan.flags.get(kind, {}))
    return layout


def _addresses(plan: ClusterPlan, kind: str, number: int, name: str, links: Links) -> Addresses:
    grpc, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    if kind != "edge":
        return Addresses(grpc=grpc, metrics=metrics)
    host = "127.0.0.1" if plan.host in ("0.0.0.0", "::") else plan.host
    direct = f"{host}:{plan.port + number if plan.port else free_port()}"
    return Addresses(grpc=grpc, metrics=metrics, http=links.address("client", name, direct), direct_http=direct)


class _Flags:
    def __init__(
        self,
        plan: ClusterPlan,
        folder: pathlib.Path,
        key_file: pathlib.Path,
        links: Links,
        backends: Backends,
        addresses: dict[str, Addresses],
        tls: BackendTls | None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._key_file = key_file
        self._links = links
        self._backends = backends
        self._at = addresses
        self._tls = tls

    def of(self, kind: str, name: str) -> dict[str, str]:
        """Settings of one process."""
        return {"edge": self._edge, "router": self._router, "group": self._group, "unread": self._unread}[kind](name)

    def _services(self, source: str, *kinds: str) -> dict[str, str]:
        """`group_addresses` and the like, for those kinds."""
        return {
            f"{kind}_addresses": ",".join(self._links.address(source, name, self._at[name].grpc) for name in self._plan.names(kind))
            for kind in kinds
        }

    def _listen(self, name: str) -> dict[str, str]:
        return {"host": "127.0.0.1", "port": self._at[name].grpc.rpartition(":")[2]}

    def _tls_to(self, backend: str, name: str) -> dict[str, str]:
        return {} if self._tls is None else self._tls.flags(name.partition("-")[0], backend)

    def _redis(self, name: str) -> dict[str, str]:
        return {"redis_url": self._backends.redis_url(name), **self._tls_to("redis", name)}

    def _uplink(self, name: str) -> dict[str, str]:
        if self._plan.uplink != "kafka":
            return {"uplink": "grpc"} if name.startswith("edge") else {}
        partitions = str(_PARTITIONS_EACH * self._plan.groups)
        one_broker = {"kafka_replication_factor": "1", "kafka_min_insync_replicas": "1", "kafka_partitions": partitions}
        servers = self._backends.kafka_servers(name)
        return {"uplink": "kafka", "kafka_servers": servers, **one_broker, **self._tls_to("kafka", name)}

    def _store(self, name: str) -> dict[str, str]:
        if self._plan.store != "mysql":
            return {"data_dir": str(self._folder)}
        at = {"mysql_url": self._backends.mysql_url(name), "mysql_password_file": str(self._backends.mysql_users.password_file())}
        return {"store": "mysql", **at, **self._tls_to("mysql", name)}

    def _edge(self, name: str) -> dict[str, str]:
        at = self._at[name]
        return {
            "edge_id": name,
            "host": self._plan.host,
            "port": at.direct_http.rpartition(":")[2],
            "internal_host": "127.0.0.1",
            "internal_port": at.grpc.rpartition(":")[2],
            "internal_address": self._links.address("router", name, at.grpc),
            "public_url": f"ws://{at.http}",
            "jwt_secret_file": str(self._key_file),
            "dev_login": "true",
            "default_groups": self._plan.default_group,
            "drain_window_ms": "500",
            **self._services(name, "group", "router", "unread"),
            **self._uplink(name),
        }

    def _router(self, name: str) -> dict[str, str]:
        return {**self._listen(name), **self._redis(name)}

    def _group(self, name: str) -> dict[str, str]:
        return {
            **self._listen(name),
            "internal_address": self._links.address("group", name, self._at[name].grpc),
            **self._redis(name),
            "default_group": self._plan.default_group,
            **self._services(name, "router", "unread"),
            **self._uplink(name),
            **self._store(name),
        }

    def _unread(self, name: str) -> dict[str, str]:
        return {
            **self._listen(name),
            **self._redis(name),
            **self._services(name, "group"),
            **self._store(name),
        }
