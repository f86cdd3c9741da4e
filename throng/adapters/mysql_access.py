"""Where MySQL is and how it is entered: hosts, user, database, TLS, limits."""

from __future__ import annotations

import pathlib
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from throng.domain.errors import ErrorCode, ThrongError

_DEFAULT_PORT = 3306
_DATABASE = re.compile(r"[A-Za-z0-9_$-]{1,64}")


@dataclass(frozen=True, slots=True)
class Host:
    """One server of MySQL; the name goes with TLS."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class MySQLAccess:
    """All that a pool needs to know.

    Attributes:
        hosts: servers of one database, the first is tried first; one of them is the primary.
        password: never shown.
        ca_file: PEM of the authority that signed the servers' certificates; None: no TLS.
        cert_file, key_file: PEM of a certificate of our own, for servers that ask for one.
        pool_size: connections at most.
        timeout_seconds: how long a connection, a statement or a free connection of the pool is waited for, each.
    """

    hosts: tuple[Host, ...]
    user: str
    database: str
    password: str = field(default="", repr=False)
    ca_file: pathlib.Path | None = None
    cert_file: pathlib.Path | None = None
    key_file: pathlib.Path | None = None
    pool_size: int = 8
    timeout_seconds: float = 2.5

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context; the server must prove its name.

        Raises:
            ThrongError: INVALID_ARGUMENT when a file cannot be used.
        """
        if self.ca_file is None:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            if self.cert_file is not None:
                context.load_cert_chain(str(self.cert_file), None if self.key_file is None else str(self.key_file))
        except OSError as error:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the TLS files for MySQL cannot be used") from error
        return context


def parse_url(url: str) -> tuple[tuple[Host, ...], str, str]:
    """Reads `mysql://user@host1:3306,host2:3306/database` as hosts, user, database.

    Raises:
        ValueError: a sentence for the operator, without the url.
    """
    parts = urlsplit(url)
    if parts.scheme != "mysql":
        raise ValueError("it must look like mysql://user@host:3306,otherhost:3306/database")
    user, at, hosts = parts.netloc.rpartition("@")
    if not at or not user:
        raise ValueError("a user is missing: mysql://user@host:3306/database")
    if ":" in user:
        raise ValueError("a password does not belong into the url; put it into a file and name that")
    database = parts.path.removeprefix("/")
    if not _DATABASE.fullmatch(database):
        raise ValueError("a database is missing: mysql://user@host:3306/database")
    if parts.query or parts.fragment:
        raise ValueError("it must end with the database; the rest has settings of its own")
    return tuple(_host(text) for text in hosts.split(",")), unquote(user), database


def _host(text: str) -> Host:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/]+)(?::(\d{1,5}))?", text.strip())
    if match is None or (match[2] and not 0 < int(match[2]) < 65_536):
        raise ValueError(f"{text!r} is not host:port")
    return Host(match[1].strip("[]"), int(match[2] or _DEFAULT_PORT))
