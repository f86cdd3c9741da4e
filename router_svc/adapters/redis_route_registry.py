"""`RouteRegistry` over Redis, real or embedded: one round trip per call, Lua where a write must be fenced (hops 5 and 6)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from router_svc.adapters.redis_changes import watch_changes
from router_svc.adapters.redis_format import (
    CHANGES_CHANNEL,
    EDGES_KEY,
    edge_groups_key,
    edge_key,
    edge_orders_key,
    format_routes_changed,
    format_routes_pruned,
    group_key,
    parse_record,
    parse_route,
)
from router_svc.ports import Change, EdgeInfo, EdgeLoad, EdgeRecord, Route, RoutesChanged, RoutesPruned, Session, Standing
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_aio import RedisLoop
from throng.adapters.redis_calls import Call, Script, command
from throng.adapters.redis_errors import OnError, checked
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId

_SCRIPTS = ("note_groups", "deregister", "put_route", "drop_route")
_TELLING_SCRIPTS = ("register", "heartbeat", "order")
_BATCH = 200
"""Groups per exchange: bounds how long one of them occupies Redis."""

_ORDERS_LIVE_MS = 7 * 86_400_000
_SCRIPTS_PACKAGE = "router_svc.adapters.lua"


class RedisRouteRegistry:
    """`RouteRegistry`; make and use it inside the loop."""

    def __init__(
        self, access: RedisAccess, *, ttl_seconds: float, tick_seconds: float = 1.0, on_error: OnError | None = None
    ) -> None:
        """Sends nothing yet.

        Args:
            access: where Redis is; its timeout holds for every call.
            ttl_seconds: how long an edge lives without a report.
            tick_seconds: proof of life on the change channel; three missing ones break it.
            on_error: called with the kind of every command that failed.
        """
        self._redis = RedisLoop(access, on_error=on_error)
        self._ttl_seconds = ttl_seconds
        self._ttl_ms = max(1, round(ttl_seconds * 1000))
        self._timeout_seconds = access.timeout_seconds
        self._tick_seconds = tick_seconds
        self._scripts = {name: Script(_SCRIPTS_PACKAGE, f"{name}.lua") for name in _SCRIPTS}
        self._scripts |= {name: Script(_SCRIPTS_PACKAGE, f"{name}.lua", after="tell_edge.lua") for name in _TELLING_SCRIPTS}

    async def register(self, info: EdgeInfo) -> Session:
        """See the port."""
        args = [
            CHANGES_CHANNEL,
            info.edge_id,
            info.incarnation,
            info.address,
            info.public_url,
            info.weight,
            self._ttl_ms,
        ]
        registering = self._scripts["register"].on([edge_key(info.edge_id), edge_orders_key(info.edge_id)], args)
        (registered, number), _ = await self._run([registering, command("SADD", EDGES_KEY, info.edge_id)])
        if not registered:
            raise ThrongError(
                ErrorCode.CONFLICT,
                "a newer incarnation of this edge is alive",
                fields={"edge_id": info.edge_id, "incarnation": number.decode()},
            )
        return Session(info.edge_id, info.incarnation, int(number))

    async def heartbeat(self, session: Session, load: EdgeLoad) -> tuple[Standing, int]:
        """See the port."""
        args = [
            CHANGES_CHANNEL,
            session.edge_id,
            session.incarnation,
            session.number,
            self._ttl_ms,
            load.connections,
            f"{load.cpu_share:.4f}",
            load.fanout_lag_ms,
            int(load.draining),
            load.max_connections,
            _ORDERS_LIVE_MS,
        ]
        edge_id = session.edge_id
        beating = self._scripts["heartbeat"].on([edge_key(edge_id), edge_groups_key(edge_id), edge_orders_key(edge_id)], args)
        # A sweep elsewhere may just have taken the edge for gone.
        (standing, groups), _ = await self._run([beating, command("SADD", EDGES_KEY, session.edge_id)])
        return Standing(standing.decode()), int(groups)

    async def put_routes(self, session: Session, version: int, counts: Mapping[GroupId, int]) -> Standing:
        """See the port."""
        for chunk in _chunks(list(counts.items())):
            change = RoutesChanged(session.edge_id, session.incarnation, version, dict(chunk))
            standing = (await self._run(self._put_calls(session, change)))[0]
            if standing != b"current":
                return Standing(standing.decode())
        return Standing.CURRENT

    def _put_calls(self, session: Session, change: RoutesChanged) -> list[Call]:
        held = [group_id for group_id, count in change.counts.items() if count]
        lost = [group_id for group_id, count in change.counts.items() if not count]
        args = [session.incarnation, session.number, self._ttl_ms, change.version, len(held), *held, *lost]
        noting = self._scripts["note_groups"].on([edge_key(session.edge_id), edge_groups_key(session.edge_id)], args)
        put = self._scripts["put_route"]
        return [
            noting,
            *(
                put.on([group_key(group_id)], [session.edge_id, session.incarnation, change.version, count])
                for group_id, count in change.counts.items()
            ),
            # Told once all of it stands there.
            _tell(session.edge_id, format_routes_changed(change), stage=1),
        ]

    async def prune(self, edge_id: EdgeId, *, below_version: int) -> int:
        """See the port."""
        key = edge_groups_key(edge_id)
        await self._run([_tell(edge_id, format_routes_pruned(RoutesPruned(edge_id, below_version)))])
        removed = 0
        for start in itertools.count(0, _BATCH):
            page = command("ZRANGEBYSCORE", key, "-inf", f"({below_version}", "LIMIT", start, _BATCH)
            (groups,) = await self._run([page])
            if groups:
                await self._drop([(group_id.decode(), edge_id, below_version) for group_id in groups])
                removed += len(groups)
            if len(groups) < _BATCH:
                break
        if removed:
            await self._run([command("ZREMRANGEBYSCORE", key, "-inf", f"({below_version}")])
        return removed

    async def deregister(self, session: Session) -> Standing:
        """See the port."""
        key = edge_key(session.edge_id)
        args = [CHANGES_CHANNEL, session.edge_id, session.incarnation, session.number]
        standing, now = await self._run([self._scripts["deregister"].on([key], args), Call(("TIME",), key)])
        if standing == b"current":
            # Everything written until now; a session that has begun since has a higher number.
            await self.prune(session.edge_id, below_version=_microseconds(now))
        return Standing(standing.decode())

    async def order_weight(self, edge_id: EdgeId, weight: int) -> bool:
        """See the port."""
        return await self._order(edge_id, "weight", weight)

    async def order_drain(self, edge_id: EdgeId, *, drain: bool, window_ms: int = 0) -> bool:
        """See the port."""
        return await self._order(edge_id, "drain" if drain else "serve", window_ms)

    async def _order(self, edge_id: EdgeId, what: str, number: int) -> bool:
        args = [CHANGES_CHANNEL, edge_id, what, number, _ORDERS_LIVE_MS]
        (done,) = await self._run([self._scripts["order"].on([edge_key(edge_id), edge_orders_key(edge_id)], args)])
        return bool(done)

    async def list_edges(self) -> list[EdgeRecord]:
        """See the port."""
        (members,) = await self._run([command("SMEMBERS", EDGES_KEY)])
        edge_ids = sorted(member.decode() for member in members)
        calls = [
            call
            for edge_id in edge_ids
            for call in (
                command("HGETALL", edge_key(edge_id)),
                command("PTTL", edge_key(edge_id)),
                command("HGETALL", edge_orders_key(edge_id)),
            )
        ]
        answers = await self._run(calls)
        records = []
        for edge_id, fields, ttl_ms, orders in zip(edge_ids, answers[::3], answers[1::3], answers[2::3], strict=True):
            text = {name.decode(): value.decode() for name, value in (fields | orders).items()}
            if "incarnation" in text and ttl_ms > 0:
                records.append(parse_record(edge_id, text, expires_in_seconds=ttl_ms / 1000))
        return records

    async def read_routes(self, group_ids: Sequence[GroupId]) -> list[list[Route]]:
        """See the port."""
        routes: list[list[Route]] = []
        for chunk in _chunks(group_ids):
            answers = await self._run([command("HGETALL", group_key(group_id)) for group_id in chunk])
            routes += [[parse_route(edge_id, value) for edge_id, value in fields.items()] for fields in answers]
        return routes

    async def drop_routes(self, routes: Sequence[tuple[GroupId, Route]]) -> None:
        """See the port."""
        await self._drop([(group_id, route.edge_id, route.version + 1) for group_id, route in routes])

    async def _drop(self, routes: Sequence[tuple[str, EdgeId, int]]) -> None:
        drop = self._scripts["drop_route"]
        for chunk in _chunks(routes):
            await self._run([drop.on([group_key(group_id)], [edge_id, below]) for group_id, edge_id, below in chunk])

    async def sweep(self) -> int:
        """See the port."""
        (members,) = await self._run([command("SMEMBERS", EDGES_KEY)])
        edge_ids = [EdgeId(member.decode()) for member in members]
        # The clock is that of the edge's node, which gives its sessions, read before the look: an edge that registers again in
        # between gets a higher session than what is swept.
        keys = [edge_key(edge_id) for edge_id in edge_ids]
        answers = await self._run([call for key in keys for call in (Call(("TIME",), key), command("EXISTS", key))])
        gone = [(edge_id, now) for edge_id, now, exists in zip(edge_ids, answers[::2], answers[1::2], strict=True) if not exists]
        for edge_id, now in gone:
            await self.prune(edge_id, below_version=_microseconds(now))
        if gone:
            # One that registered meanwhile is entered again by its next heartbeat.
            await self._run([command("SREM", EDGES_KEY, *(edge_id for edge_id, _ in gone))])
        return len(gone)

    def watch(self) -> AsyncGenerator[Change, None]:
        """See the port."""
        return watch_changes(
            self._redis,
            tick_seconds=self._tick_seconds,
            timeout_seconds=self._timeout_seconds,
            ttl_seconds=self._ttl_seconds,
        )

    async def close(self) -> None:
        """See the port."""
        await self._redis.close()

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        return checked(await self._redis.run(calls)) if calls else []


def _tell(edge_id: EdgeId, change: str, *, stage: int = 0) -> Call:
    """Publishes on the node of the edge, as the scripts do: between two nodes of a cluster there is no order."""
    return Call(("PUBLISH", CHANGES_CHANNEL, change), edge_key(edge_id), stage=stage)


def _chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _microseconds(redis_time: Sequence[Any]) -> int:
    return int(redis_time[0]) * 1_000_000 + int(redis_time[1])
