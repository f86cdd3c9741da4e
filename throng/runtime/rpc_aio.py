"""gRPC server and channel for services on asyncio (router_svc, the business half of an edge).

grpc.aio polls for one loop per process: everything that uses it shares one loop (`aio_thread.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_interception import Interception
from throng.runtime.rpc_limits import CLIENT_OPTIONS, MAX_AIO_CALLS, MAX_CALL_SECONDS, SERVER_OPTIONS
from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.runtime.rpc_status import status_code, trailing_metadata
from throng.runtime.rpc_sync import target
from throng.runtime.rpc_tokens import AioTokenChannel, TokenCheck

_log = structlog.get_logger("throng.rpc")


class _Interceptor(Interception, grpc.aio.ServerInterceptor):
    """The counterpart of the interceptor in `rpc_sync.py`."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        return self._handled(await continuation(details), details)

    def _refusal(self, method: str) -> Any:
        async def call(_requests: Any, context: Any) -> None:
            error = self._check.refused(method, context.peer())
            self._metrics.ended(method, status_code(error).name, None)
            await _abort(method, error, context)

        return grpc.stream_stream_rpc_method_handler(call)

    def _unary(self, method: str, behaviour: Callable[[Any, Any], Any], *, timed: bool) -> Any:
        async def call(request: Any, context: Any) -> Any:
            started = time.monotonic()
            code = "OK"
            try:
                return await _within(MAX_CALL_SECONDS if timed else None, behaviour(request, context))
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:
                code = await _abort(method, error, context)
                raise AssertionError from error  # abort has raised already
            finally:
                self._metrics.ended(method, code, time.monotonic() - started if timed else None)

        return call

    def _stream(self, method: str, behaviour: Callable[[Any, Any], AsyncIterator[Any]]) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            code = "OK"
            try:
                async for response in behaviour(request, context):
                    yield response
            except (asyncio.CancelledError, GeneratorExit):
                code = "CANCELLED"
                raise
            except Exception as error:
                code = status_code(_as_throng_error(method, error)).name
                await _abort(method, error, context)
            finally:
                self._metrics.ended(method, code, None)

        return call


async def _within(seconds: float | None, call: Awaitable[Any]) -> Any:
    """Awaits a handler, at most so long; a TimeoutError of its own stays what it is.

    Raises:
        ThrongError: DEADLINE_EXCEEDED.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await call
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ThrongError(ErrorCode.DEADLINE_EXCEEDED, f"the call took longer than {seconds:g} s") from error


def _as_throng_error(method: str, error: Exception) -> ThrongError:
    if isinstance(error, ThrongError):
        return error
    _log.error("rpc_failed", method=method, exc_info=error)
    return ThrongError(ErrorCode.INTERNAL, "a defect of Throng; see its log")


async def _abort(method: str, error: Exception, context: Any) -> str:
    """Ends the call with the status of `error`, by raising."""
    translated = _as_throng_error(method, error)
    await context.abort(status_code(translated), translated.text, trailing_metadata(translated))
    return str(status_code(translated).name)


class AioServer:
    """A gRPC server with health, reflection, error mapping and metrics; make and use it inside the loop."""

    def __init__(self, metrics: RpcMetrics, *, security: RpcSecurity = PLAIN) -> None:
        self._security = security
        self.server = grpc.aio.server(
            interceptors=(_Interceptor(metrics, TokenCheck(security.tokens)),),
            options=SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_AIO_CALLS,
        )
        self._health = health.aio.HealthServicer()
        self._names: list[str] = []

    def add(self, register: Callable[[Any, Any], None], servicer: object, full_name: str) -> None:
        """Adds a service: the generated `add_…_to_server`, its servicer, its full name such as `throng.edge.v1.EdgeService`."""
        register(servicer, self.server)
        self._names.append(full_name)

    async def start(self, address: str) -> int:
        """Listens on host:port (port 0: any free one) and serves; returns the port.

        Raises:
            ThrongError: UNAVAILABLE when the address is taken.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server)
        port = self._security.listen(self.server, address)
        await self.server.start()
        await self.set_serving(serving=True)
        return port

    async def set_serving(self, *, serving: bool) -> None:
        """Sets the health of all services and of the server as a whole."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ["", *self._names]:
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, lets those under way end, at most so long. End streams yourself first: they use up the grace."""
        await self.set_serving(serving=False)
        await self.server.stop(grace_seconds)


def channel(addresses: Sequence[str], security: RpcSecurity = PLAIN) -> grpc.aio.Channel:
    """Makes a channel over one or several host:port, with round robin; nothing is dialled yet.

    Raises:
        ThrongError: INVALID_ARGUMENT, see `RpcSecurity.channel_options`.
    """
    if security.tls:
        options = [*CLIENT_OPTIONS, *security.channel_options(addresses)]
        opened = grpc.aio.secure_channel(target(addresses), security.channel_credentials(), options=options)
    else:
        opened = grpc.aio.insecure_channel(target(addresses), options=CLIENT_OPTIONS)
    return AioTokenChannel(opened, security.tokens[0]) if security.tokens else opened
