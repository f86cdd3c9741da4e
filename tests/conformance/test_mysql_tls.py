"""TLS to MySQL: encrypted, the server proves its name, a client may have to prove its own."""

from __future__ import annotations

import pytest
from mysql_stage import access_by, error_of, stage
from mysql_tables import make_tables_on
from server_fixtures import started

from throng.adapters.mysql_access import Host
from throng.domain.errors import ErrorCode
from throng.domain.ids import GroupId
from throng.testing.certificates import CertificateAuthority, write_tls_files
from throng.testing.servers import MariaDBServer

CIPHER = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"


@pytest.fixture(scope="module")
def authority():
    return CertificateAuthority()


@pytest.fixture(scope="module")
def server(authority, tmp_path_factory):
    """A server for 127.0.0.1, on which users `plain` (any way in) and `strict` (with a certificate alone) have tables."""
    folder = tmp_path_factory.mktemp("mariadb-tls")
    files = write_tls_files(folder, "server", authority, authority.issue("127.0.0.1"))
    options = [f"--ssl-ca={files.ca_file}", f"--ssl-cert={files.cert_file}", f"--ssl-key={files.key_file}"]
    with started(lambda: MariaDBServer(folder / "data", options=options)) as running:
        for name in ("plain", "strict"):
            make_tables_on(running, name)
        with running.cursor() as root:
            root.execute("ALTER USER 'strict'@'%' REQUIRE X509")
        yield running


@pytest.fixture(scope="module")
def client(authority, tmp_path_factory):
    return write_tls_files(tmp_path_factory.mktemp("client"), "client", authority, authority.issue("throng"))


def cipher(opened) -> str:
    return opened.database.read(lambda statements: statements.row(CIPHER))[1]


def test_with_an_authority_connections_are_encrypted(server, client):
    with stage(access_by("plain", server.port, ca_file=client.ca_file)) as opened:
        assert cipher(opened) != ""
    with stage(access_by("plain", server.port)) as opened:
        assert cipher(opened) == ""


def test_a_client_that_must_prove_itself_does_so_with_its_certificate(server, client):
    files = {"ca_file": client.ca_file, "cert_file": client.cert_file, "key_file": client.key_file}
    with stage(access_by("strict", server.port, **files)) as opened:
        assert cipher(opened) != ""
    with stage(access_by("strict", server.port, ca_file=client.ca_file)) as opened:
        assert error_of(lambda: opened.members.get_group(GroupId("g"))).code is ErrorCode.INTERNAL


def test_a_server_of_another_authority_is_refused_before_the_password_is_sent(server, tmp_path):
    stranger = CertificateAuthority("Somebody else")
    files = write_tls_files(tmp_path, "other", stranger, stranger.issue("x"))
    with stage(access_by("plain", server.port, ca_file=files.ca_file)) as opened:
        error = error_of(lambda: opened.members.get_group(GroupId("g")))
    assert error.code is ErrorCode.INTERNAL
    assert "certificate" in error.text


def test_a_server_with_another_name_is_refused(server, client):
    access = access_by("plain", server.port, ca_file=client.ca_file, hosts=(Host("localhost", server.port),))
    with stage(access) as opened:
        error = error_of(lambda: opened.members.get_group(GroupId("g")))
    assert error.code is ErrorCode.INTERNAL
    assert "does not prove its name" in error.text


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(mariadb_server, client):
    make_tables_on(mariadb_server, "tls_wanted")
    with stage(access_by("tls_wanted", mariadb_server.port, ca_file=client.ca_file)) as opened:
        error = error_of(lambda: opened.members.get_group(GroupId("g")))
    assert error.code is ErrorCode.INTERNAL
