"""A channel to a service that runs, or one sentence about why there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc

from throng.cli.refusal import Failure
from throng.runtime import rpc_sync
from throng.runtime.rpc_security import PLAIN, RpcSecurity
from throng.runtime.rpc_status import from_rpc_error


@contextlib.contextmanager
def dialled(service: str, address: str, security: RpcSecurity = PLAIN) -> Iterator[grpc.Channel]:
    """Gives a channel to the service at `address`; `service` is what people call it.

    Raises:
        Failure: it does not answer. ThrongError: whatever the calls inside raise.
    """
    with rpc_sync.channel([address], security) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=5)
        except grpc.FutureTimeoutError as error:
            doubt = ", or it does not take these certificates" if security.tls else ", or it wants TLS (--rpc-ca-file)"
            raise Failure(f"The {service} at {address} does not answer{doubt}.") from error
        try:
            yield channel
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
