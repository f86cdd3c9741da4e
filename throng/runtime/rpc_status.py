"""ThrongError to gRPC status with machine-readable details (`grpc-status-details-bin`), and back."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2

from throng.api.common.v1 import error_pb2
from throng.domain.errors import ErrorCode, ThrongError

_STATUS = {
    ErrorCode.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.MALFORMED_FRAME: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.NOT_A_MEMBER: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.GROUP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.GROUP_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorCode.MUTED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.EMPTY_MESSAGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.BLOCKED_CONTENT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.GROUP_BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.CLIENT_MSG_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    ErrorCode.EPOCH_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.MESSAGE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
    ErrorCode.NOT_ENTERED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
}
_KNOWN: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}
_WITHOUT_DETAIL = {
    grpc.StatusCode.UNAVAILABLE: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.INVALID_ARGUMENT: ErrorCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED: ErrorCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorCode.PERMISSION_DENIED,
}


def to_detail(error: ThrongError) -> error_pb2.ErrorDetail:
    """Makes the proto of an error."""
    return error_pb2.ErrorDetail(
        code=error_pb2.ErrorCode.ValueType(error.code),
        text=error.text,
        retry_after_ms=error.retry_after_ms,
        fields=dict(error.fields),
    )


def from_detail(detail: error_pb2.ErrorDetail) -> ThrongError:
    """Reads the proto of an error; a code that this version does not know becomes INTERNAL."""
    code = _KNOWN.get(detail.code, ErrorCode.INTERNAL)
    return ThrongError(code, detail.text, retry_after_ms=detail.retry_after_ms, fields=dict(detail.fields))


def status_code(error: ThrongError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return _STATUS[error.code]


def trailing_metadata(error: ThrongError) -> tuple[tuple[str, bytes], ...]:
    """The details as metadata, in the form that every gRPC library reads."""
    detail = any_pb2.Any()
    detail.Pack(to_detail(error))
    status = status_pb2.Status(code=_STATUS[error.code].value[0], message=error.text, details=[detail])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def from_rpc_error(error: grpc.RpcError) -> ThrongError:
    """Turns what a call raised (grpc or grpc.aio) into a ThrongError."""
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                detail = error_pb2.ErrorDetail()
                if packed.Unpack(detail):
                    return from_detail(detail)
    code = _WITHOUT_DETAIL.get(error.code(), ErrorCode.INTERNAL)
    retry_after_ms = 1000 if code is ErrorCode.UNAVAILABLE else 0
    return ThrongError(code, f"the call ended with {error.code().name}", retry_after_ms=retry_after_ms)


__all__ = ["from_detail", "from_rpc_error", "status_code", "to_detail", "trailing_metadata"]
