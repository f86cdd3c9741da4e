"""Neighbours of router_svc's core: a registry and a delivery that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from router_svc.ports import Change, EdgeInfo, EdgeLoad, EdgeRecord, Outgoing, Route, Session, Standing
from throng.domain.errors import unavailable
from throng.domain.ids import EdgeId, GroupId


class ScriptedRegistry:
    """Remembers calls; fails the next `failures` ones; answers with what is set."""

    def __init__(self) -> None:
        self.failures = 0
        self.standing = Standing.CURRENT
        self.groups_held: int | None = None
        self.edges: list[EdgeRecord] = []
        self.routes: dict[GroupId, list[Route]] = {}
        self.sessions = 0
        self.calls: list[str] = []
        self.put: list[tuple[int, dict[GroupId, int]]] = []
        self.pruned_below: list[int] = []
        self.loads: list[EdgeLoad] = []
        self.dropped: list[tuple[GroupId, Route]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.changes: asyncio.Queue[Change | Exception] = asyncio.Queue()
        self._index: dict[GroupId, int] = {}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failures:
            self.failures -= 1
            raise unavailable("away")

    async def register(self, info: EdgeInfo) -> Session:
        self._called("register")
        self.standing = Standing.CURRENT
        self.sessions += 1
        return Session(info.edge_id, info.incarnation, self.sessions * 1_000)

    async def heartbeat(self, session: Session, load: EdgeLoad) -> tuple[Standing, int]:
        self._called("heartbeat")
        self.loads.append(load)
        return self.standing, len(self._index) if self.groups_held is None else self.groups_held

    async def put_routes(self, session: Session, version: int, counts: Mapping[GroupId, int]) -> Standing:
        self._called("put_routes")
        self.put.append((version, dict(counts)))
        for group_id, count in counts.items():
            if count:
                self._index[group_id] = version
            else:
                self._index.pop(group_id, None)
        return self.standing

    async def prune(self, edge_id: EdgeId, *, below_version: int) -> int:
        self._called("prune")
        self.pruned_below.append(below_version)
        stale = [group_id for group_id, version in self._index.items() if version < below_version]
        for group_id in stale:
            del self._index[group_id]
        return len(stale)

    async def deregister(self, session: Session) -> Standing:
        self._called("deregister")
        return self.standing

    async def order_weight(self, edge_id: EdgeId, weight: int) -> bool:
        self._called("order_weight")
        return True

    async def order_drain(self, edge_id: EdgeId, *, drain: bool, window_ms: int = 0) -> bool:
        self._called("order_drain")
        return True

    async def list_edges(self) -> list[EdgeRecord]:
        self._called("list_edges")
        return list(self.edges)

    async def read_routes(self, group_ids: Sequence[GroupId]) -> list[list[Route]]:
        self._called("read_routes")
        rows = [list(self.routes.get(group_id, [])) for group_id in group_ids]
        await self.reading.wait()
        return rows

    async def drop_routes(self, routes: Sequence[tuple[GroupId, Route]]) -> None:
        self._called("drop_routes")
        self.dropped += routes

    async def sweep(self) -> int:
        self._called("sweep")
        return 0

    async def watch(self) -> AsyncGenerator[Change, None]:
        self._called("watch")
        while True:
            change = await self.changes.get()
            if isinstance(change, Exception):
                raise change
            yield change

    async def close(self) -> None:
        self._called("close")


class CatchingDelivery:
    """Keeps what is delivered, per edge."""

    def __init__(self) -> None:
        self.links: dict[EdgeId, EdgeInfo] = {}
        self.delivered: dict[EdgeId, list[bytes]] = {}
        self.online: dict[EdgeId, list[dict[GroupId, int]]] = {}
        self.busy: set[EdgeId] = set()

    def ensure(self, info: EdgeInfo) -> None:
        self.links[info.edge_id] = info

    def drop(self, edge_id: EdgeId) -> None:
        self.links.pop(edge_id, None)

    def deliver(self, edge_id: EdgeId, incarnation: int, item: Outgoing) -> bool:
        link = self.links.get(edge_id)
        if link is None or (incarnation and link.incarnation != incarnation):
            return False
        self.delivered.setdefault(edge_id, []).append(item.event)
        return True

    def tell_online(self, edge_id: EdgeId, incarnation: int, counts: Mapping[GroupId, int]) -> bool:
        link = self.links.get(edge_id)
        if link is None or link.incarnation != incarnation or edge_id in self.busy:
            return False
        self.online.setdefault(edge_id, []).append(dict(counts))
        return True

    def is_failing(self, edge_id: EdgeId) -> bool:
        return False
