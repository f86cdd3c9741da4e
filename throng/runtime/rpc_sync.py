"""gRPC server and channel for services made of threads (group_svc, unread_svc)."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_interception import Interception
from throng.runtime.rpc_limits import CLIENT_OPTIONS, MAX_WAITING_CALLS, SERVER_OPTIONS
from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.runtime.rpc_status import status_code, trailing_metadata
from throng.runtime.rpc_tokens import TokenChannel, TokenCheck

_log = structlog.get_logger("throng.rpc")


class _Interceptor(Interception, grpc.ServerInterceptor):
    """Checks tokens, counts calls, and turns a ThrongError into its status and anything else into INTERNAL without a trace to the
    caller."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        return self._handled(continuation(details), details)

    def _refusal(self, method: str) -> Any:
        def call(_requests: Any, context: Any) -> Iterator[Any]:
            code = _abort(method, self._check.refused(method, context.peer()), context)
            self._metrics.ended(method, code, None)
            context.abort(context.code(), context.details())
            yield

        return grpc.stream_stream_rpc_method_handler(call)

    def _unary(self, method: str, behaviour: Callable[[Any, Any], Any], *, timed: bool) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: Any) -> Any:
            started = time.monotonic()
            code = "OK"
            if not context.is_active():  # its caller gave up while it waited for a thread
                self._metrics.ended(method, "CANCELLED", None)
                context.abort(grpc.StatusCode.CANCELLED, "the caller gave up")
            try:
                return behaviour(request, context)
            except Exception as error:
                code = _abort(method, error, context)
                if code == "CANCELLED":
                    raise
                context.abort(context.code(), context.details())  # plain raise would log every refusal with its trace
            finally:
                self._metrics.ended(method, code, time.monotonic() - started if timed else None)

        return call

    def _stream(self, method: str, behaviour: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
        def call(request: Any, context: Any) -> Iterator[Any]:
            code = "OK"
            try:
                yield from behaviour(request, context)
            except Exception as error:
                code = _abort(method, error, context)
                if code == "CANCELLED":
                    raise
                context.abort(context.code(), context.details())  # plain raise would log every refusal with its trace
            finally:
                self._metrics.ended(method, code, None)

        return call


def _abort(method: str, error: Exception, context: Any) -> str:
    """Ends the call with the status of `error`; returns the code's name when the call had ended already."""
    if context.code() is not None or not context.is_active():
        return "CANCELLED"
    if not isinstance(error, ThrongError):
        _log.error("rpc_failed", method=method, exc_info=error)
        error = ThrongError(ErrorCode.INTERNAL, "a defect of Throng; see its log")
    code = status_code(error)
    context.set_trailing_metadata(trailing_metadata(error))
    context.set_code(code)
    context.set_details(error.text)
    return str(code.name)


class SyncServer:
    """A gRPC server with health, reflection, error mapping and metrics."""

    def __init__(self, metrics: RpcMetrics, *, threads: int, security: RpcSecurity = PLAIN) -> None:
        """`threads` work at a time; `rpc_limits.MAX_WAITING_CALLS` more wait, further ones are refused."""
        self._security = security
        self._pool = futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self.server = grpc.server(
            self._pool,
            interceptors=[_Interceptor(metrics, TokenCheck(security.tokens))],
            options=SERVER_OPTIONS,
            maximum_concurrent_rpcs=threads + MAX_WAITING_CALLS,
        )
        self._health = health.HealthServicer()
        self._names: list[str] = []

    def add(self, register: Callable[[Any, Any], None], servicer: object, full_name: str) -> None:
        """Adds a service: the generated `add_…_to_server`, its servicer, its full name such as `throng.group.v1.GroupService`."""
        register(servicer, self.server)
        self._names.append(full_name)

    def start(self, address: str) -> int:
        """Listens on host:port (port 0: any free one) and serves; returns the port.

        Raises:
            ThrongError: UNAVAILABLE when the address is taken.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server)
        port = self._security.listen(self.server, address)
        self.server.start()
        self.set_serving(serving=True)
        return port

    def set_serving(self, *, serving: bool) -> None:
        """Sets the health of all services and of the server as a whole."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ["", *self._names]:
            self._health.set(name, status)

    def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, lets those under way end, at most so long. End streams yourself first: they use up the grace."""
        self.set_serving(serving=False)
        self.server.stop(grace_seconds).wait()
        self._pool.shutdown(wait=True, cancel_futures=True)


def channel(addresses: Sequence[str], security: RpcSecurity = PLAIN) -> grpc.Channel:
    """Makes a channel over one or several host:port, with round robin; nothing is dialled yet.

    Raises:
        ThrongError: INVALID_ARGUMENT, see `RpcSecurity.channel_options`.
    """
    if security.tls:
        options = [*CLIENT_OPTIONS, *security.channel_options(addresses)]
        opened = grpc.secure_channel(target(addresses), security.channel_credentials(), options=options)
    else:
        opened = grpc.insecure_channel(target(addresses), options=CLIENT_OPTIONS)
    return TokenChannel(opened, security.tokens[0]) if security.tokens else opened


def target(addresses: Sequence[str]) -> str:
    """The gRPC name of one or several host:port; `dns:///name:port` is passed through.

    Several must be IP addresses of one kind: gRPC resolves one name only, to any number of addresses.

    Raises:
        ThrongError: INVALID_ARGUMENT for several host names.
    """
    if len(addresses) == 1:
        return addresses[0] if "://" in addresses[0] else f"dns:///{addresses[0]}"
    kinds = {_ip_version(address.rpartition(":")[0]) for address in addresses}
    if kinds not in ({4}, {6}):
        raise ThrongError(
            ErrorCode.INVALID_ARGUMENT,
            f"{', '.join(addresses)}: several addresses must be IP addresses of one kind; "
            "where they have names, give one name that stands for all of them, as dns:///NAME:PORT",
        )
    return f"ipv{kinds.pop()}:{','.join(addresses)}"


def _ip_version(host: str) -> int:
    """4 or 6; 0: a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).version
    except ValueError:
        return 0
