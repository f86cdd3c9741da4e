"""Options of verbs that call a service: certificates and the shared token that they show to it."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import click

from throng.runtime.rpc_security import RpcSecurity, load_security

_FILES = {
    "rpc_token_file": "File with the shared token of the services.",
    "rpc_key_file": "Private key (PEM) of --rpc-cert-file.",
    "rpc_cert_file": "Certificate (PEM) to show to the {service}.",
    "rpc_ca_file": "CA certificates (PEM) for the {service}'s certificate; with it TLS is used.",
}
_NAME_HELP = "Name that the {service}'s certificate must hold.  [default: the host of its address]"


def rpc_options(command: Callable[..., Any], *, service: str = "group service") -> Callable[..., Any]:
    """Decorates a command with `--rpc-ca-file` and the like; it gets `security`, which reads the files when it is called.

    `service` is what people call the one that is spoken to; its first word names the environment variables, which are its own.
    `security()` raises ThrongError, INVALID_ARGUMENT with one sentence, for a file that cannot be used.
    """
    prefix = f"THRONG_{service.split()[0].upper()}"

    @functools.wraps(command)
    def with_security(*arguments: Any, rpc_server_name: str, **more: Any) -> Any:
        files: dict[str, Any] = {name.removeprefix("rpc_"): more.pop(name) for name in _FILES}

        def security() -> RpcSecurity:
            return load_security(**files, server_name=rpc_server_name)

        return command(*arguments, security=security, **more)

    wrapped: Callable[..., Any] = with_security
    wrapped = click.option(
        "--rpc-server-name",
        default="",
        envvar=f"{prefix}_RPC_SERVER_NAME",
        show_envvar=True,
        help=_NAME_HELP.format(service=service),
    )(wrapped)
    for name, text in _FILES.items():
        wrapped = click.option(
            f"--{name.replace('_', '-')}",
            type=click.Path(path_type=pathlib.Path, dir_okay=False),
            envvar=f"{prefix}_{name.upper()}",
            show_envvar=True,
            help=text.format(service=service),
        )(wrapped)
    return wrapped


def address_options(command: Callable[..., Any], *, of: str, folder_help: str) -> Callable[..., Any]:
    """Decorates a command with `--data-dir` and `--address`; it gets `data_dir`, and `address`, None where it was not named."""
    wrapped = click.option("--address", metavar="HOST:PORT", help=f"gRPC address of {of}; instead of the one on the data folder.")(
        command
    )
    return click.option("--data-dir", type=click.Path(path_type=pathlib.Path), default="data", show_default=True, help=folder_help)(
        wrapped
    )
