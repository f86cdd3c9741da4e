"""What a gRPC server does with each call before its method runs, in either colour: the token is checked, the method is wrapped."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import grpc

from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_tokens import TokenCheck


class Interception(abc.ABC):
    """Decides what becomes of a call; how a method is wrapped is said by the servers of `rpc_sync.py` and `rpc_aio.py`."""

    def __init__(self, metrics: RpcMetrics, check: TokenCheck) -> None:
        self._metrics = metrics
        self._check = check

    def _handled(self, handler: Any, details: Any) -> Any:
        """The handler that a call gets instead of its own; None: there is no such method."""
        if handler is None:
            return handler
        method = details.method.rsplit(".", 1)[-1]
        if not self._check.allows(details):
            return self._refusal(method)
        if details.method.startswith("/grpc."):
            return handler
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            wrapped: Any = self._stream(method, behaviour)
        else:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
            wrapped = self._unary(method, behaviour, timed=not handler.request_streaming)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    @abc.abstractmethod
    def _refusal(self, method: str) -> Any:
        """A handler that reads nothing of the call and ends it; it fits methods of every kind."""

    @abc.abstractmethod
    def _unary(self, method: str, behaviour: Callable[[Any, Any], Any], *, timed: bool) -> Callable[[Any, Any], Any]:
        """A method with one answer, counted and its errors translated; `timed`: how long it takes is noted."""

    @abc.abstractmethod
    def _stream(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """A method with a stream of answers, counted and its errors translated."""
