"""Two MySQL servers: the pool goes to the one that takes writes, and to none that does not."""

from __future__ import annotations

import pytest
from conformance_builders import candidate, seq_of, submission
from mysql_stage import access_by, error_of, patiently, stage
from mysql_tables import fresh_name, make_tables_on
from server_fixtures import started

from throng.domain.errors import ErrorCode
from throng.domain.group import Group
from throng.domain.ids import GroupId
from throng.testing.servers import FaultProxy, MariaDBServer

G1 = GroupId("g1")


@pytest.fixture(scope="module")
def second_server(tmp_path_factory):
    with started(lambda: MariaDBServer(tmp_path_factory.mktemp("mariadb-second"))) as server:
        yield server


@pytest.fixture
def servers(mariadb_server, second_server):
    yield mariadb_server, second_server
    for server in (mariadb_server, second_server):
        read_only(server, False)


@pytest.fixture
def name(servers):
    """The same tables on both; the group on the second is called so."""
    name = fresh_name()
    for server, title in zip(servers, ("first", "second"), strict=True):
        make_tables_on(server, name)
        with stage(access_by(name, server.port)) as opened:
            opened.members.create_group(Group(G1, title), owner_id=None)
    return name


def read_only(server: MariaDBServer, value: bool) -> None:
    with server.cursor() as root:
        root.execute(f"SET GLOBAL read_only = {int(value)}")


def commit_one(opened) -> int:
    return seq_of(opened.messages.commit([candidate(submission())], now_ms=1)[0])


def test_a_dead_primary_is_left_once_the_other_takes_writes(servers, name):
    first, second = servers
    read_only(second, True)
    with FaultProxy(("127.0.0.1", first.port)) as way, stage(access_by(name, way.port, second.port)) as opened:
        assert commit_one(opened) == 1
        assert opened.members.get_group(G1).name == "first"
        way.cut()
        for call in (lambda: commit_one(opened), lambda: opened.members.get_group(G1)):
            error = error_of(call)
            assert error.code is ErrorCode.UNAVAILABLE
        assert "no writes" in patient_error(opened).text
        read_only(second, False)
        assert patiently(lambda: commit_one(opened)) == 1
        assert opened.members.get_group(G1).name == "second"
        # The old primary is back: whoever works stays where it is.
        way.restore()
        assert commit_one(opened) == 2
        assert opened.members.get_group(G1).name == "second"


def patient_error(opened):
    """A refusal that comes from trying the hosts."""
    return error_of(lambda: opened.members.get_group(G1))


def test_a_primary_that_turned_read_only_is_left_in_the_same_call(servers, name):
    first, second = servers
    with stage(access_by(name, first.port, second.port)) as opened:
        assert commit_one(opened) == 1
        read_only(first, True)
        assert commit_one(opened) == 1
        assert opened.events.retried["read_only"] == 1
        assert opened.members.get_group(G1).name == "second"


def test_the_first_host_may_be_the_read_only_one(servers, name):
    first, second = servers
    read_only(first, True)
    with stage(access_by(name, first.port, second.port)) as opened:
        assert commit_one(opened) == 1
        assert opened.members.get_group(G1).name == "second"


def test_a_host_that_refuses_connections_is_passed_over(servers, name):
    _, second = servers
    with FaultProxy(("127.0.0.1", second.port)) as nowhere:
        nowhere.cut()
        with stage(access_by(name, nowhere.port, second.port)) as opened:
            assert commit_one(opened) == 1
