"""The settings `rpc_…` that all services have: certificates and tokens between services."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from throng.runtime.rpc_security import RpcSecurity, load_security
from throng.runtime.settings import ServiceSettings


class RpcSettings(ServiceSettings):
    """To be inherited by the settings of every service that speaks gRPC."""

    rpc_ca_file: pathlib.Path | None = Field(
        None, description="CA certificates (PEM) that sign other services' certificates; with it all gRPC uses TLS, both ways."
    )
    rpc_cert_file: pathlib.Path | None = Field(None, description="Own certificate (PEM) for gRPC, with the chain above it.")
    rpc_key_file: pathlib.Path | None = Field(None, description="Private key (PEM) of rpc_cert_file.")
    rpc_server_name: str = Field(
        "", max_length=253, description="Name that other services' certificates must hold; empty: the host of their address."
    )
    rpc_token_file: pathlib.Path | None = Field(
        None, description="Shared tokens between services, one a line: each is accepted, the first one is sent."
    )

    @model_validator(mode="after")
    def _check_rpc_files(self) -> Self:
        given = [self.rpc_ca_file, self.rpc_cert_file, self.rpc_key_file]
        if None in given and any(given):
            raise ValueError("rpc_ca_file, rpc_cert_file and rpc_key_file must be set together, or none of them")
        if self.rpc_server_name and self.rpc_ca_file is None:
            raise ValueError("rpc_server_name needs rpc_ca_file")
        if self.rpc_ca_file is not None and not self.rpc_server_name:
            for name in type(self).model_fields:
                if name.endswith("_addresses") and _count(getattr(self, name)) > 1:
                    raise ValueError(f"rpc_server_name must be set when {name} holds several addresses and TLS is used")
        return self

    def rpc_security(self) -> RpcSecurity:
        """Reads the files.

        Raises:
            ThrongError: INVALID_ARGUMENT that names the file that cannot be used.
        """
        return load_security(
            ca_file=self.rpc_ca_file,
            cert_file=self.rpc_cert_file,
            key_file=self.rpc_key_file,
            server_name=self.rpc_server_name,
            token_file=self.rpc_token_file,
        )


def _count(addresses: str | Sequence[str]) -> int:
    parts = addresses.split(",") if isinstance(addresses, str) else addresses
    return sum(bool(part.strip()) for part in parts)
