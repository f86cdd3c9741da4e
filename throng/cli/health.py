"""`throng health`: asks the service that runs here whether it serves, for probes that cannot show a certificate or speak gRPC."""

from __future__ import annotations

import pathlib
from typing import Any

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from throng.cli import serve
from throng.cli.refusal import Failure, Refusal, refusals
from throng.runtime import rpc_sync
from throng.runtime.settings import load

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def own_address(settings: Any) -> str:
    """host:port at which a service with these settings is reached from its own machine."""
    edge = hasattr(settings, "internal_port")
    host, port = (settings.internal_host, settings.internal_port) if edge else (settings.host, settings.port)
    if not port:
        raise Refusal("The port of the service is any free one: name its address with --address.")
    return f"{_ANY.get(host, f'[{host}]' if ':' in host else host)}:{port}"


@click.command()
@click.argument("service", type=click.Choice(list(serve.SERVICES)))
@click.option("--address", metavar="HOST:PORT", help="Its gRPC address.  [default: as its own settings say]")
@click.option("--timeout", "seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="Seconds.")
@click.option("--config", type=click.Path(path_type=pathlib.Path), help="TOML file with the settings of the service.")
def health(*, service: str, address: str | None, seconds: float, config: pathlib.Path | None) -> None:
    """Ask whether SERVICE serves, by gRPC's health protocol, with the certificates that its settings name. Exit code 0: it does."""
    with refusals():
        settings: Any = load(serve.SERVICES[service].settings(), file=config)
        address = address or own_address(settings)
        with rpc_sync.channel([address], settings.rpc_security()) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                response = stub.Check(health_pb2.HealthCheckRequest(), timeout=seconds, wait_for_ready=False)
            except grpc.RpcError as error:
                raise Failure(f"The {service} service at {address} does not answer: {error.code().name}.") from error
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        raise Failure(f"The {service} service at {address} is not serving.")
    click.echo("serving")
