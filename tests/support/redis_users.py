"""Everything that uses Redis, on one Redis: the three adapters, and one call of each kind that tests make while it misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from conformance_builders import stored

from group_svc.adapters.redis_recent_messages import RedisRecentMessages
from group_svc.ports import RecentPut
from router_svc.adapters.redis_route_registry import RedisRouteRegistry
from router_svc.ports import EdgeInfo, EdgeLoad, Session
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import EdgeId, GroupId, UserId
from throng.domain.message import Position
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.ports import Countable, Observation, WindowView

EDGE = EdgeId("edge-1")
SLACK_SECONDS = 1.0
"""What a call may take above its timeout on a machine that has other things to do."""


class RedisUsers:
    """`attempt` makes every call once; `codes` says how they ended. To be used as a context manager."""

    def __init__(self, access: RedisAccess, *, group_id: str = "g") -> None:
        self.group_id = GroupId(group_id)
        self.errors: list[str] = []
        self._access = access
        self._redis = RedisThreads(access, on_error=self.errors.append)
        self.recent = RedisRecentMessages(self._redis, bound=100)
        self.window = RedisUnreadWindow(self._redis, lifetime_seconds=1_000)
        self.runner = asyncio.Runner()
        self.registry = RedisRouteRegistry(access, ttl_seconds=60, tick_seconds=0.1, on_error=self.errors.append)
        self._seq = 0

    def __enter__(self) -> RedisUsers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.runner.run(self.registry.close())
        self.runner.close()
        self._redis.close()

    def _calls(self) -> dict[str, Callable[[], Any]]:
        self._seq += 1
        seq, group = self._seq, self.group_id
        session = Session(EDGE, 1, 1)
        info = EdgeInfo(EDGE, 1, "127.0.0.1:1", "ws://edge")
        registry, run = self.registry, self.runner.run
        return {
            "recent.put": lambda: self.recent.put(group, 1, [stored(seq)], []),
            "recent.put_many": lambda: _raise_any(self.recent.put_many([RecentPut(group, 1, [stored(seq)])])),
            "recent.put_heads": lambda: self.recent.put_heads([(group, Position(1, seq))]),
            "recent.get_heads": lambda: self.recent.get_heads([group]),
            "recent.read_before": lambda: self.recent.read_before(group, before_seq=0, limit=1),
            "window.observe": lambda: self.window.observe([Observation(group, 1, seq - 1, seq, [Countable(seq, UserId("u"))])]),
            "window.install": lambda: self.window.install(group, WindowView(1, seq, 0, 1, (Countable(seq, UserId("u")),))),
            "window.read": lambda: self.window.read([(group, 0)]),
            "registry.register": lambda: run(registry.register(info)),
            "registry.put_routes": lambda: run(registry.put_routes(session, seq, {group: 1})),
            "registry.heartbeat": lambda: run(registry.heartbeat(session, EdgeLoad())),
            "registry.read_routes": lambda: run(registry.read_routes([group])),
            "registry.list_edges": lambda: run(registry.list_edges()),
        }

    def attempt(self) -> dict[str, ErrorCode | None]:
        """How each call ended; None: well. Anything but a ThrongError, and more time than the timeout, fails the test."""
        outcomes: dict[str, ErrorCode | None] = {}
        for name, call in self._calls().items():
            started = time.monotonic()
            try:
                call()
                outcomes[name] = None
            except ThrongError as error:
                outcomes[name] = error.code
            seconds = time.monotonic() - started
            assert seconds < self._access.timeout_seconds + SLACK_SECONDS, f"{name} took {seconds:.2f} s"
        return outcomes

    def all_well(self) -> bool:
        """Every call succeeds."""
        return not any(self.attempt().values())

    def codes(self) -> set[ErrorCode | None]:
        """The different ways in which the calls end."""
        return set(self.attempt().values())


def _raise_any(outcomes: list[ThrongError | None]) -> None:
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 15.0) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
