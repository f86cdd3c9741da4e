"""`RouteRegistry` over Redis, real or embedded: one pipeline per call, Lua where a write must be fenced (hops 5 and 6)."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from router_svc.adapters.redis_changes import watch_changes
from router_svc.adapters.redis_format import (
    CHANGES_CHANNEL,
    EDGES_KEY,
    edge_groups_key,
    edge_key,
    format_routes_changed,
    format_routes_pruned,
    group_key,
    parse_record,
    parse_route,
)
from router_svc.ports import Change, EdgeInfo, EdgeLoad, EdgeRecord, Route, RoutesChanged, RoutesPruned, Session, Standing
from throng.adapters.redis_client import connect_async, read_script, translated
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId

_SCRIPTS = ("register", "heartbeat", "note_groups", "deregister", "put_route", "drop_route")
_BATCH = 200
"""Groups per pipeline: bounds how long one of them occupies Redis."""

Fill = Callable[[Any], object]


class _Script:
    """A Lua file and its SHA-1, by which pipelines call it."""

    def __init__(self, name: str) -> None:
        self.text = read_script("router_svc.adapters.lua", f"{name}.lua")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisRouteRegistry:
    """`RouteRegistry`; make and use it inside the loop."""

    def __init__(self, url: str, *, ttl_seconds: float, timeout_seconds: float = 1.0, tick_seconds: float = 1.0) -> None:
        """Sends nothing yet.

        Args:
            url: `redis://…` or `embedded://NAME`.
            ttl_seconds: how long an edge lives without a report.
            timeout_seconds: for every call.
            tick_seconds: proof of life on the change channel; three missing ones break it.
        """
        self._client = connect_async(url, timeout_seconds=timeout_seconds)
        # Retrying is the callers' business: they know whether a newer write has made this one pointless.
        self._client.set_retry(Retry(NoBackoff(), 0))
        self._ttl_seconds = ttl_seconds
        self._ttl_ms = max(1, round(ttl_seconds * 1000))
        self._timeout_seconds = timeout_seconds
        self._tick_seconds = tick_seconds
        self._scripts = {name: _Script(name) for name in _SCRIPTS}

    async def register(self, info: EdgeInfo) -> Session:
        """See the port."""

        def fill(pipe: Any) -> None:
            pipe.evalsha(
                self._scripts["register"].sha,
                1,
                edge_key(info.edge_id),
                CHANGES_CHANNEL,
                info.edge_id,
                info.incarnation,
                info.address,
                info.public_url,
                info.weight,
                self._ttl_ms,
            )
            pipe.sadd(EDGES_KEY, info.edge_id)

        (registered, number), _ = await self._execute(fill)
        if not registered:
            raise ThrongError(
                ErrorCode.CONFLICT,
                "a newer incarnation of this edge is alive",
                fields={"edge_id": info.edge_id, "incarnation": number.decode()},
            )
        return Session(info.edge_id, info.incarnation, int(number))

    async def heartbeat(self, session: Session, load: EdgeLoad) -> tuple[Standing, int]:
        """See the port."""

        def fill(pipe: Any) -> None:
            pipe.evalsha(
                self._scripts["heartbeat"].sha,
                2,
                edge_key(session.edge_id),
                edge_groups_key(session.edge_id),
                CHANGES_CHANNEL,
                session.edge_id,
                session.incarnation,
                session.number,
                self._ttl_ms,
                load.connections,
                f"{load.cpu_share:.4f}",
                load.fanout_lag_ms,
                int(load.draining),
            )
            # A sweep elsewhere may just have taken the edge for gone.
            pipe.sadd(EDGES_KEY, session.edge_id)

        (standing, groups), _ = await self._execute(fill)
        return Standing(standing.decode()), int(groups)

    async def put_routes(self, session: Session, version: int, counts: Mapping[GroupId, int]) -> Standing:
        """See the port."""
        for chunk in _chunks(list(counts.items())):
            change = RoutesChanged(session.edge_id, session.incarnation, version, dict(chunk))
            standing = (await self._execute(functools.partial(self._fill_put, session, change)))[0]
            if standing != b"current":
                return Standing(standing.decode())
        return Standing.CURRENT

    def _fill_put(self, session: Session, change: RoutesChanged, pipe: Any) -> None:
        held = [group_id for group_id, count in change.counts.items() if count]
        lost = [group_id for group_id, count in change.counts.items() if not count]
        pipe.evalsha(
            self._scripts["note_groups"].sha,
            2,
            edge_key(session.edge_id),
            edge_groups_key(session.edge_id),
            session.incarnation,
            session.number,
            self._ttl_ms,
            change.version,
            len(held),
            *held,
            *lost,
        )
        sha = self._scripts["put_route"].sha
        for group_id, count in change.counts.items():
            pipe.evalsha(sha, 1, group_key(group_id), session.edge_id, session.incarnation, change.version, count)
        pipe.publish(CHANGES_CHANNEL, format_routes_changed(change))

    async def prune(self, edge_id: EdgeId, *, below_version: int) -> int:
        """See the port."""
        key = edge_groups_key(edge_id)
        await self._execute(lambda pipe: pipe.publish(CHANGES_CHANNEL, format_routes_pruned(RoutesPruned(edge_id, below_version))))
        removed = 0
        for start in itertools.count(0, _BATCH):
            page = functools.partial(_zrange_below, key, below_version, start)
            (groups,) = await self._execute(page)
            if groups:
                await self._drop([(group_id.decode(), edge_id, below_version) for group_id in groups])
                removed += len(groups)
            if len(groups) < _BATCH:
                break
        if removed:
            await self._execute(lambda pipe: pipe.zremrangebyscore(key, "-inf", f"({below_version}"))
        return removed

    async def deregister(self, session: Session) -> Standing:
        """See the port."""

        def fill(pipe: Any) -> None:
            pipe.evalsha(
                self._scripts["deregister"].sha,
                1,
                edge_key(session.edge_id),
                CHANGES_CHANNEL,
                session.edge_id,
                session.incarnation,
                session.number,
            )
            pipe.time()

        standing, now = await self._execute(fill)
        if standing == b"current":
            # Everything written until now; a session that has begun since has a higher number.
            await self.prune(session.edge_id, below_version=_microseconds(now))
        return Standing(standing.decode())

    async def list_edges(self) -> list[EdgeRecord]:
        """See the port."""
        (members,) = await self._execute(lambda pipe: pipe.smembers(EDGES_KEY))
        edge_ids = sorted(member.decode() for member in members)

        def fill(pipe: Any) -> None:
            for edge_id in edge_ids:
                pipe.hgetall(edge_key(edge_id))
                pipe.pttl(edge_key(edge_id))

        answers = await self._execute(fill) if edge_ids else []
        records = []
        for edge_id, fields, ttl_ms in zip(edge_ids, answers[::2], answers[1::2], strict=True):
            text = {name.decode(): value.decode() for name, value in fields.items()}
            if "incarnation" in text and ttl_ms > 0:
                records.append(parse_record(edge_id, text, expires_in_seconds=ttl_ms / 1000))
        return records

    async def read_routes(self, group_ids: Sequence[GroupId]) -> list[list[Route]]:
        """See the port."""
        routes: list[list[Route]] = []
        for chunk in _chunks(group_ids):
            answers = await self._execute(functools.partial(_read_groups, chunk))
            routes += [[parse_route(edge_id, value) for edge_id, value in fields.items()] for fields in answers]
        return routes

    async def drop_routes(self, routes: Sequence[tuple[GroupId, Route]]) -> None:
        """See the port."""
        await self._drop([(group_id, route.edge_id, route.version + 1) for group_id, route in routes])

    async def _drop(self, routes: Sequence[tuple[str, EdgeId, int]]) -> None:
        sha = self._scripts["drop_route"].sha
        for chunk in _chunks(routes):
            await self._execute(functools.partial(_drop_each, sha, chunk))

    async def sweep(self) -> int:
        """See the port."""
        members, now = await self._execute(lambda pipe: (pipe.smembers(EDGES_KEY), pipe.time()))
        edge_ids = [EdgeId(member.decode()) for member in members]
        # Looked at after the clock: an edge that registers again in between gets a higher session than what is swept.
        alive = await self._execute(lambda pipe: [pipe.exists(edge_key(edge_id)) for edge_id in edge_ids]) if edge_ids else []
        gone = [edge_id for edge_id, exists in zip(edge_ids, alive, strict=True) if not exists]
        for edge_id in gone:
            await self.prune(edge_id, below_version=_microseconds(now))
        if gone:
            # One that registered meanwhile is entered again by its next heartbeat.
            await self._execute(lambda pipe: pipe.srem(EDGES_KEY, *gone))
        return len(gone)

    def watch(self) -> AsyncGenerator[Change, None]:
        """See the port."""
        return watch_changes(
            self._client,
            tick_seconds=self._tick_seconds,
            timeout_seconds=self._timeout_seconds,
            ttl_seconds=self._ttl_seconds,
        )

    async def close(self) -> None:
        """See the port."""
        await self._client.aclose()

    async def _execute(self, fill: Fill) -> list[Any]:
        """Runs one pipeline. When Redis does not know the scripts (new, restarted, flushed), loads them and runs it again whole:
        everything in it may be repeated."""
        with translated():
            async with asyncio.timeout(self._timeout_seconds + 0.5):
                results = await self._run(fill)
                if any(isinstance(result, redis.exceptions.NoScriptError) for result in results):
                    await self._run(lambda pipe: [pipe.script_load(script.text) for script in self._scripts.values()])
                    results = await self._run(fill)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return results

    async def _run(self, fill: Fill) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            fill(pipe)
            results: list[Any] = await pipe.execute(raise_on_error=False)
            return results


def _chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _microseconds(redis_time: tuple[int, int]) -> int:
    return redis_time[0] * 1_000_000 + redis_time[1]


def _zrange_below(key: str, below_version: int, start: int, pipe: Any) -> None:
    pipe.zrangebyscore(key, "-inf", f"({below_version}", start=start, num=_BATCH)


def _read_groups(group_ids: Sequence[GroupId], pipe: Any) -> None:
    for group_id in group_ids:
        pipe.hgetall(group_key(group_id))


def _drop_each(sha: str, routes: Sequence[tuple[str, EdgeId, int]], pipe: Any) -> None:
    for group_id, edge_id, below_version in routes:
        pipe.evalsha(sha, 1, group_key(group_id), edge_id, below_version)
