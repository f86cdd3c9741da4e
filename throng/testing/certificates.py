"""Throw-away certificates: a CA made on the spot, certificates that it signs, and all files of a secured cluster.

For tests and for clusters on one machine. A production installation brings its own CA.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import pathlib
import secrets
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICE_NAME = "throng"
"""What the certificate of every service of a cluster is issued for, so that it holds at any address."""

_CLOCK_SKEW = datetime.timedelta(minutes=5)
_LIFE_DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, both PEM (PKCS 8, not encrypted)."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


class CertificateAuthority:
    """A CA that lives in memory; whoever wants its certificates trusted gives away `certificate_pem`."""

    def __init__(self, name: str = "Throng throw-away CA", *, life_days: int = _LIFE_DAYS) -> None:
        """Makes the key pair and a certificate that is valid for `life_days`."""
        self._life = datetime.timedelta(days=life_days)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True).add_extension(self._identifier, critical=False)
        self.certificate_pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, *names: str) -> Certificate:
        """Signs a certificate for host names and IP addresses, good for both ends of a connection; the first is its subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).add_extension(issuer, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Certificate(certificate.public_bytes(serialization.Encoding.PEM), key_pem)

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + self._life)
        )


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files of one end of a connection, for whatever reads PEM from files."""

    ca_file: pathlib.Path
    cert_file: pathlib.Path
    key_file: pathlib.Path


def write_tls_files(folder: pathlib.Path, name: str, ca: CertificateAuthority, certificate: Certificate) -> TlsFiles:
    """Writes NAME-ca.pem, NAME.pem and NAME.key (readable by the owner alone) into the folder."""
    files = TlsFiles(folder / f"{name}-ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    files.ca_file.write_bytes(ca.certificate_pem)
    files.cert_file.write_bytes(certificate.certificate_pem)
    write_private(files.key_file, certificate.key_pem)
    return files


def write_private(path: pathlib.Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whatever was there before."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def make_rpc_files(
    folder: pathlib.Path, services: tuple[str, ...] = ("edge", "group", "router", "unread")
) -> dict[str, dict[str, str]]:
    """Makes all files that secure the calls between services: one CA, a certificate per service, one shared token.

    The CA's key is forgotten: nothing can be added later; make everything anew instead.

    Args:
        folder: is made when it is missing, for the owner alone.
        services: names; each gets its own certificate, and all of them answer to `SERVICE_NAME`.

    Returns:
        By service, the settings (`rpc_ca_file` and so on) that make it use them.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = CertificateAuthority("Throng cluster CA")
    token_file = folder / "rpc.token"
    write_private(token_file, secrets.token_hex(32).encode() + b"\n")
    settings = {}
    for service in services:
        certificate = ca.issue(SERVICE_NAME, f"{service}.{SERVICE_NAME}", "localhost", "127.0.0.1")
        files = write_tls_files(folder, service, ca, certificate)
        settings[service] = {
            "rpc_ca_file": str(files.ca_file),
            "rpc_cert_file": str(files.cert_file),
            "rpc_key_file": str(files.key_file),
            "rpc_server_name": SERVICE_NAME,
            "rpc_token_file": str(token_file),
        }
    return settings


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
