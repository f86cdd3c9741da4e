"""Shared tokens on gRPC calls: sent as `authorization: Bearer …` with every call, checked before any handler runs."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import structlog

from throng.domain.errors import ErrorCode, ThrongError

_KEY = "authorization"
_PREFIX = "Bearer "
_OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check"})
"""Probes come without a token and learn nothing but whether the service serves."""

_LOG_EVERY_SECONDS = 10.0
_log = structlog.get_logger("throng.rpc")


class TokenCheck:
    """The server's side. Without tokens every call passes."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._accepted = [(_PREFIX + token).encode() for token in tokens]
        self._logged_at = float("-inf")

    def allows(self, details: Any) -> bool:
        """Whether a call may pass; every token is compared, and each in a time that says nothing about it."""
        if not self._accepted or details.method in _OPEN_METHODS:
            return True
        given = [value for key, value in details.invocation_metadata or () if key == _KEY]
        if len(given) != 1:
            return False
        shown = given[0] if isinstance(given[0], bytes) else given[0].encode("utf-8", "surrogateescape")
        return any([hmac.compare_digest(shown, accepted) for accepted in self._accepted])

    def refused(self, method: str, peer: str) -> ThrongError:
        """Makes the error of a call that may not pass, and logs it, not more than once in ten seconds."""
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _log.warning("rpc_unauthenticated", method=method, peer=peer)
        return ThrongError(ErrorCode.UNAUTHENTICATED, "the call brought no token, or one that is not accepted here")


class _Call:
    """A way to call one method, with the token added to each call."""

    def __init__(self, inner: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._inner = inner
        self._metadata = metadata

    def __call__(self, *arguments: Any, metadata: Any = None, **more: Any) -> Any:
        return self._inner(*arguments, metadata=(*(metadata or ()), *self._metadata), **more)

    def future(self, *arguments: Any, metadata: Any = None, **more: Any) -> Any:
        """As in grpc."""
        return self._inner.future(*arguments, metadata=(*(metadata or ()), *self._metadata), **more)

    def with_call(self, *arguments: Any, metadata: Any = None, **more: Any) -> Any:
        """As in grpc."""
        return self._inner.with_call(*arguments, metadata=(*(metadata or ()), *self._metadata), **more)


class _Calls:
    """The four kinds of methods of a channel. Interceptors would do the same and cost asyncio streams their own `write`."""

    def __init__(self, inner: Any, token: str) -> None:
        self._inner = inner
        self._metadata = ((_KEY, _PREFIX + token),)

    def _wrapped(self, make: Callable[..., Any], arguments: Any, more: Any) -> Any:
        return _Call(make(*arguments, **more), self._metadata)

    def unary_unary(self, *arguments: Any, **more: Any) -> Any:
        """As in grpc."""
        return self._wrapped(self._inner.unary_unary, arguments, more)

    def unary_stream(self, *arguments: Any, **more: Any) -> Any:
        """As in grpc."""
        return self._wrapped(self._inner.unary_stream, arguments, more)

    def stream_unary(self, *arguments: Any, **more: Any) -> Any:
        """As in grpc."""
        return self._wrapped(self._inner.stream_unary, arguments, more)

    def stream_stream(self, *arguments: Any, **more: Any) -> Any:
        """As in grpc."""
        return self._wrapped(self._inner.stream_stream, arguments, more)


class TokenChannel(_Calls, grpc.Channel):
    """A channel whose calls bring a token."""

    def subscribe(self, callback: Any, try_to_connect: Any = False) -> None:
        """As in grpc."""
        self._inner.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """As in grpc."""
        self._inner.unsubscribe(callback)

    def close(self) -> None:
        """As in grpc."""
        self._inner.close()

    def __enter__(self) -> TokenChannel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AioTokenChannel(_Calls, grpc.aio.Channel):
    """A channel on asyncio whose calls bring a token."""

    async def close(self, grace: float | None = None) -> None:
        """As in grpc.aio."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """As in grpc.aio."""
        state: grpc.ChannelConnectivity = self._inner.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As in grpc.aio."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As in grpc.aio."""
        await self._inner.channel_ready()

    async def __aenter__(self) -> AioTokenChannel:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
