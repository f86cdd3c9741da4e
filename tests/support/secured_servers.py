"""Kafka, MariaDB and Redis that want TLS and passwords, started once per test process, and the files that open them."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import pytest
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion
from server_fixtures import started

from throng.testing.certificates import CertificateAuthority, TlsFiles, write_private, write_tls_files
from throng.testing.servers import KafkaServer, MariaDBServer, RedisServer, free_port

PASSWORD = "Pa55word-of-the-backend"
WRONG = "Wrong-pa55word-of-a-backend"


class BackendFiles:
    """A CA and what it signed, a foreign CA, and password files."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.ca, foreign = CertificateAuthority("ours"), CertificateAuthority("theirs")
        self.server = write_tls_files(folder, "server", self.ca, self.ca.issue("127.0.0.1"))
        self.client = write_tls_files(folder, "client", self.ca, self.ca.issue("throng"))
        self.foreign = write_tls_files(folder, "foreign", foreign, foreign.issue("throng"))
        self.misnamed = write_tls_files(folder, "misnamed", self.ca, self.ca.issue("elsewhere.example.org"))
        self.password = folder / "password"
        self.wrong = folder / "wrong"
        write_private(self.password, PASSWORD.encode() + b"\n")
        write_private(self.wrong, WRONG.encode() + b"\n")
        folder.chmod(0o755)


@pytest.fixture(scope="session")
def backend_files(tmp_path_factory: pytest.TempPathFactory) -> BackendFiles:
    return BackendFiles(tmp_path_factory.mktemp("backend-files"))


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory, backend_files: BackendFiles) -> Iterator[KafkaServer]:
    """SASL over TLS for us; a plain listener for the broker itself, on which the SCRAM user is made; TLS with certificates."""
    folder = tmp_path_factory.mktemp("kafka-tls")
    keystore = folder / "keystore.pem"
    write_private(keystore, backend_files.server.key_file.read_bytes() + backend_files.server.cert_file.read_bytes())
    ports = [free_port() for _ in range(4)]
    module = "org.apache.kafka.common.security"

    def at(host: str) -> str:
        names = ("SASL_SSL", "PLAINTEXT", "SSL")
        return ",".join(f"{name}://{host}:{port}" for name, port in zip(names, ports, strict=False))

    more = {
        "listeners": f"{at('127.0.0.1')},CONTROLLER://127.0.0.1:{ports[3]}",
        "advertised.listeners": at("127.0.0.1"),
        "controller.quorum.voters": f"1@127.0.0.1:{ports[3]}",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,SCRAM-SHA-256",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{module}.plain.PlainLoginModule required user_throng="{PASSWORD}";',
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(backend_files.server.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
    }
    with started(lambda: KafkaServer(folder, port=ports[0], settings=more)) as server:
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{ports[1]}")
        made = [
            UserScramCredentialUpsertion("throng", mechanism, PASSWORD)
            for mechanism in (ScramMechanism.SCRAM_SHA_512, ScramMechanism.SCRAM_SHA_256)
        ]
        for one in made:
            assert admin.alter_user_scram_credentials([one]) == {"throng": None}
        admin.close()
        server.certificate_address = f"127.0.0.1:{ports[2]}"  # type: ignore[attr-defined]
        yield server


def mariadb_by_tls(folder: pathlib.Path, files: TlsFiles) -> contextlib.AbstractContextManager[MariaDBServer]:
    options = [f"--ssl-ca={files.ca_file}", f"--ssl-cert={files.cert_file}", f"--ssl-key={files.key_file}"]
    return started(lambda: MariaDBServer(folder, options=options))


@pytest.fixture(scope="session")
def secured_mariadb(tmp_path_factory: pytest.TempPathFactory, backend_files: BackendFiles) -> Iterator[MariaDBServer]:
    """A user who must come by TLS, and one who must show a certificate besides."""
    with mariadb_by_tls(tmp_path_factory.mktemp("mariadb-tls"), backend_files.server) as server:
        server.create_database("chat")
        with server.cursor() as cursor:
            for user, needs in (("throng", "SSL"), ("proven", "X509")):
                cursor.execute(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE {needs}")
                cursor.execute(f"GRANT ALL ON chat.* TO '{user}'@'127.0.0.1'")
        yield server


@dataclasses.dataclass
class SecuredRedis:
    """A server with a password, by TLS at one address; a second one wants certificates besides."""

    url: str
    certificate_url: str


@pytest.fixture(scope="session")
def secured_redis(tmp_path_factory: pytest.TempPathFactory, backend_files: BackendFiles) -> Iterator[SecuredRedis]:
    with contextlib.ExitStack() as running:
        urls = []
        for wants in ("no", "yes"):
            port = free_port()
            options = [
                "--tls-port",
                str(port),
                "--tls-auth-clients",
                wants,
                "--tls-ca-cert-file",
                str(backend_files.server.ca_file),
            ]
            options += [
                "--tls-cert-file",
                str(backend_files.server.cert_file),
                "--tls-key-file",
                str(backend_files.server.key_file),
            ]
            options += ["--requirepass", PASSWORD, "--user", "throng", "on", f">{PASSWORD}", "~*", "&*", "+@all"]
            folder = tmp_path_factory.mktemp("redis-tls")
            running.enter_context(started(lambda folder=folder, options=options: RedisServer(folder, options=options)))  # type: ignore[misc]
            urls.append(f"rediss://127.0.0.1:{port}")
        yield SecuredRedis(*urls)
