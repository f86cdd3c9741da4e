"""Options of verbs that call a group service: certificates and the shared token that they show to it."""

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
    "rpc_cert_file": "Certificate (PEM) to show to the group service.",
    "rpc_ca_file": "CA certificates (PEM) for the group service's certificate; with it TLS is used.",
}
_NAME_HELP = "Name that the group service's certificate must hold.  [default: the host of its address]"


def rpc_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with `--rpc-ca-file` and the like; it gets `security`, which reads the files when it is called.

    `security()` raises ThrongError, INVALID_ARGUMENT with one sentence, for a file that cannot be used.
    """

    @functools.wraps(command)
    def with_security(*arguments: Any, rpc_server_name: str, **more: Any) -> Any:
        files: dict[str, Any] = {name.removeprefix("rpc_"): more.pop(name) for name in _FILES}

        def security() -> RpcSecurity:
            return load_security(**files, server_name=rpc_server_name)

        return command(*arguments, security=security, **more)

    wrapped: Callable[..., Any] = with_security
    wrapped = click.option(
        "--rpc-server-name", default="", envvar="THRONG_GROUP_RPC_SERVER_NAME", show_envvar=True, help=_NAME_HELP
    )(wrapped)
    for name, text in _FILES.items():
        wrapped = click.option(
            f"--{name.replace('_', '-')}",
            type=click.Path(path_type=pathlib.Path, dir_okay=False),
            envvar=f"THRONG_GROUP_{name.upper()}",
            show_envvar=True,
            help=text,
        )(wrapped)
    return wrapped
