"""What secures the servers of a cluster: users of MySQL with no more rights than they need, and TLS to Kafka, MariaDB and Redis."""

from __future__ import annotations

import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

from throng.testing.certificates import write_private

SERVERS = "servers"
"""Whose certificate Kafka, MariaDB and Redis show, among the names given to `make_rpc_files`."""

_ROWS = "SELECT, INSERT, UPDATE, DELETE"
_TABLES = f"{_ROWS}, CREATE, ALTER, DROP, INDEX, REFERENCES"


class MySQLUsers:
    """The two users of docs/mysql.md. Their passwords are new at every start and lie in files that only we can read."""

    SERVICES = "throng"
    MIGRATION = "throng_migrate"

    def __init__(self, folder: pathlib.Path, database: str, *, tls_only: bool) -> None:
        self._folder = folder
        self._database = database
        self._requires = "SSL" if tls_only else "NONE"

    def password_file(self, user: str = SERVICES) -> pathlib.Path:
        """Where the password of a user stands."""
        return self._folder / f"mysql-{user}.password"

    def make(self, cursor: Any) -> None:
        """Makes both users, by an administrator's cursor, or gives those that are there the new passwords and these rights."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for user, rights in ((self.SERVICES, _ROWS), (self.MIGRATION, _TABLES)):
            password = secrets.token_hex(24)
            write_private(self.password_file(user), password.encode() + b"\n")
            account = f"'{user}'@'127.0.0.1'"
            cursor.execute(f"CREATE USER IF NOT EXISTS {account}")
            cursor.execute(f"ALTER USER {account} IDENTIFIED BY '{password}' REQUIRE {self._requires}")
            cursor.execute(f"GRANT {rights} ON `{self._database}`.* TO {account}")


class BackendTls:
    """TLS between services and servers: what the servers are started with, and what services are told.

    `files` are those of `make_rpc_files`, by service; `SERVERS` is one of them.
    """

    def __init__(self, files: Mapping[str, Mapping[str, str]]) -> None:
        self._files = files
        own = files[SERVERS]
        self._ca, self._cert, self._key = own["rpc_ca_file"], own["rpc_cert_file"], own["rpc_key_file"]

    def mariadb_options(self) -> list[str]:
        """Flags of mariadbd."""
        return [f"--ssl-ca={self._ca}", f"--ssl-cert={self._cert}", f"--ssl-key={self._key}"]

    def redis_options(self, port: int) -> list[str]:
        """Flags of redis-server: a port of its own for TLS, on which clients must show certificates."""
        files = ["--tls-ca-cert-file", self._ca, "--tls-cert-file", self._cert, "--tls-key-file", self._key]
        return ["--tls-port", str(port), "--tls-auth-clients", "yes", *files]

    def kafka_settings(self, folder: pathlib.Path) -> dict[str, str]:
        """Settings of the broker for its listeners with TLS, on which clients must show certificates; writes its key store."""
        folder.mkdir(parents=True, exist_ok=True)
        store = folder / "keystore.pem"
        write_private(store, pathlib.Path(self._key).read_bytes() + pathlib.Path(self._cert).read_bytes())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._ca,
            "ssl.client.auth": "required",
        }

    def flags(self, kind: str, backend: str) -> dict[str, str]:
        """Settings of a kind of service for `kafka`, `mysql` or `redis`."""
        own = self._files[kind]
        given = {f"{backend}_{name}_file": own[f"rpc_{name}_file"] for name in ("ca", "cert", "key")}
        return given | ({"kafka_tls": "true"} if backend == "kafka" else {})
