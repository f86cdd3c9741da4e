"""Who may speak gRPC with whom: TLS with certificates on both ends, and shared tokens, read from files at start."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.secret_files import read_public_file, read_secret_bytes, read_secret_lines

MIN_TOKEN_CHARACTERS = 32
MAX_TOKEN_CHARACTERS = 1_024
MAX_TOKENS = 8
_SOON = datetime.timedelta(days=14)
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
_log = structlog.get_logger("throng.rpc")


@dataclass(frozen=True, slots=True)
class RpcSecurity:
    """What one process proves to others and wants proven; empty: neither.

    Attributes:
        ca_pem: certificates of the CAs whose certificates are accepted, from servers and clients alike; empty: no TLS.
        certificate_pem: own certificate, with the chain above it.
        key_pem: its private key.
        server_name: name that servers' certificates must hold, instead of the host of the address.
        tokens: accepted shared tokens; the first one is sent. Empty: none is sent or asked for.
    """

    ca_pem: bytes = field(default=b"", repr=False)
    certificate_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes = field(default=b"", repr=False)
    server_name: str = ""
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @property
    def tls(self) -> bool:
        """Connections are encrypted, and both ends show certificates."""
        return bool(self.ca_pem)

    def listen(self, server: Any, address: str) -> int:
        """Has a gRPC server of either colour listen on host:port; returns the port. Clients without a certificate get nothing.

        Raises:
            ThrongError: UNAVAILABLE when the address is taken.
        """
        try:
            if not self.tls:
                return int(server.add_insecure_port(address))
            pair = (self.key_pem, self.certificate_pem)
            credentials = grpc.ssl_server_credentials([pair], root_certificates=self.ca_pem, require_client_auth=True)
            return int(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise ThrongError(ErrorCode.UNAVAILABLE, f"cannot listen on {address}; is the port taken?") from error

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a client shows and wants to be shown."""
        return grpc.ssl_channel_credentials(self.ca_pem, self.key_pem, self.certificate_pem)

    def channel_options(self, addresses: Sequence[str]) -> list[tuple[str, Any]]:
        """Further options of a TLS channel to these addresses.

        Raises:
            ThrongError: INVALID_ARGUMENT for several addresses without a `server_name`: one channel expects one name.
        """
        if self.server_name:
            return [("grpc.ssl_target_name_override", self.server_name)]
        if len(addresses) > 1:
            raise ThrongError(
                ErrorCode.INVALID_ARGUMENT,
                "rpc_server_name must be set where several addresses are given and TLS is used",
                fields={"field": "rpc_server_name"},
            )
        return []


PLAIN = RpcSecurity()
"""No TLS and no token: for one machine, or where the network is the wall."""


def load_security(
    *,
    ca_file: pathlib.Path | None,
    cert_file: pathlib.Path | None,
    key_file: pathlib.Path | None,
    server_name: str = "",
    token_file: pathlib.Path | None = None,
) -> RpcSecurity:
    """Reads and checks the files; a token without TLS, which anyone on the way can read, is warned of.

    Raises:
        ThrongError: INVALID_ARGUMENT with one sentence that names the file and never holds what is in it.
    """
    tokens = () if token_file is None else _read_tokens(token_file)
    if ca_file is None or cert_file is None or key_file is None:
        if (ca_file, cert_file, key_file) != (None, None, None):
            raise _invalid("rpc_ca_file, rpc_cert_file and rpc_key_file must be set together, or none of them")
        if tokens:
            _log.warning("rpc_token_without_tls", file=str(token_file))
        return RpcSecurity(tokens=tokens)
    ca_pem, certificate_pem, key_pem = read_public_file(ca_file), read_public_file(cert_file), read_secret_bytes(key_file)
    for authority in _certificates(ca_pem, ca_file):
        _check_dates(authority, ca_file)
    certificate = _certificates(certificate_pem, cert_file)[0]
    _check_dates(certificate, cert_file)
    if _public_bytes(certificate.public_key()) != _public_bytes(_private_key(key_pem, key_file).public_key()):
        raise _invalid(f"the key in {key_file} does not belong to the certificate in {cert_file}")
    return RpcSecurity(ca_pem, certificate_pem, key_pem, server_name, tokens)


def _read_tokens(path: pathlib.Path) -> tuple[str, ...]:
    tokens = read_secret_lines(path)
    if len(tokens) > MAX_TOKENS:
        raise _invalid(f"the token file {path} holds more than {MAX_TOKENS} tokens")
    for number, token in enumerate(tokens, 1):
        if not MIN_TOKEN_CHARACTERS <= len(token) <= MAX_TOKEN_CHARACTERS or not _PRINTABLE.issuperset(token):
            raise _invalid(
                f"token {number} in {path} must be {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS} printable ASCII characters "
                "without blanks"
            )
    return tokens


def _certificates(pem: bytes, path: pathlib.Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise _invalid(f"{path} does not hold a certificate in PEM") from None


def _private_key(pem: bytes, path: pathlib.Path) -> Any:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise _invalid(f"{path} does not hold a private key in PEM without passphrase") from None


def _check_dates(certificate: x509.Certificate, path: pathlib.Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now >= certificate.not_valid_after_utc:
        raise _invalid(f"a certificate in {path} has expired")
    if now < certificate.not_valid_before_utc:
        raise _invalid(f"a certificate in {path} is not valid yet; is the clock right?")
    if certificate.not_valid_after_utc - now < _SOON:
        _log.warning("rpc_certificate_expires", file=str(path), at=certificate.not_valid_after_utc.isoformat())


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _invalid(text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text)
