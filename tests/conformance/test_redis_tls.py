"""Redis by TLS: the server's certificate is checked, ours is shown where it is asked for, and a password goes with it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis_users import RedisUsers
from server_fixtures import started

from throng.adapters.redis_access import RedisAccess
from throng.domain.errors import ErrorCode
from throng.testing.certificates import CertificateAuthority, TlsFiles, write_tls_files
from throng.testing.servers import RedisServer
from throng.testing.servers.process import free_port

PASSWORD = "a-pa55word"


@dataclass(frozen=True)
class Stage:
    """A server by TLS, which wants a certificate and a password, and files of a client that it lets in."""

    access: RedisAccess
    folder: pathlib.Path


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Iterator[Stage]:
    ca = CertificateAuthority()
    server_files = write_tls_files(tmp_path, "server", ca, ca.issue("127.0.0.1"))
    client_files = write_tls_files(tmp_path, "client", ca, ca.issue("client"))
    port = free_port()
    with started(lambda: RedisServer(tmp_path / "redis", options=_options(port, server_files))):
        yield Stage(
            RedisAccess(
                f"rediss://127.0.0.1:{port}",
                timeout_seconds=2.0,
                password=PASSWORD,
                ca_file=client_files.ca_file,
                cert_file=client_files.cert_file,
                key_file=client_files.key_file,
            ),
            tmp_path,
        )


def _options(port: int, files: TlsFiles) -> list[str]:
    return [
        *("--tls-port", str(port), "--tls-auth-clients", "yes", "--requirepass", PASSWORD),
        *("--tls-cert-file", str(files.cert_file), "--tls-key-file", str(files.key_file), "--tls-ca-cert-file", str(files.ca_file)),
    ]


def test_everything_works_by_tls(stage: Stage) -> None:
    with RedisUsers(stage.access) as users:
        assert users.all_well()
        assert users.all_well()


def test_a_server_that_another_authority_vouches_for_is_not_talked_to(stage: Stage) -> None:
    stranger = CertificateAuthority("stranger")
    files = write_tls_files(stage.folder, "stranger", stranger, stranger.issue("client"))
    with RedisUsers(dataclasses.replace(stage.access, ca_file=files.ca_file)) as users:
        assert users.codes() == {ErrorCode.UNAVAILABLE}


def test_without_our_certificate_the_server_talks_to_nobody(stage: Stage) -> None:
    with RedisUsers(dataclasses.replace(stage.access, cert_file=None, key_file=None)) as users:
        assert users.codes() == {ErrorCode.UNAVAILABLE}


def test_a_name_that_the_certificate_does_not_hold_is_refused(stage: Stage) -> None:
    elsewhere = stage.access.url.replace("127.0.0.1", "localhost")
    with RedisUsers(dataclasses.replace(stage.access, url=elsewhere)) as users:
        assert users.codes() == {ErrorCode.UNAVAILABLE}
