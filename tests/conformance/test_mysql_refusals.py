"""MySQL stores where the server is there and will not: password, database, tables, read-only, full, too many connections."""

from __future__ import annotations

import contextlib
import threading

import pymysql
import pytest
from conformance_builders import candidate, seq_of, submission
from mysql_stage import access_by, error_of, patiently, stage
from mysql_tables import empty_tables, make_tables_on
from server_fixtures import started

from throng.domain.errors import ErrorCode
from throng.domain.group import Group
from throng.domain.ids import GroupId
from throng.testing.servers import MariaDBServer

G1 = GroupId("g1")


@pytest.fixture
def name(mariadb_server):
    with empty_tables(mariadb_server) as database:
        yield database


def commit_one(opened, text: str = "hello") -> int:
    return seq_of(opened.messages.commit([candidate(submission(text=text))], now_ms=1)[0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "sesame-open"}, "Access denied"),
        ({"database": "nowhere"}, "denied to database|Unknown database|nowhere"),
        ({"user": "nobody"}, "Access denied"),
    ],
    ids=["password", "database", "user"],
)
def test_what_the_operator_must_mend_is_internal_and_tells_no_secret(mariadb_server, name, changed, words):
    with stage(access_by(name, mariadb_server.port, **changed)) as opened:
        error = error_of(lambda: opened.members.get_group(G1))
    assert error.code is ErrorCode.INTERNAL
    assert any(word in error.text for word in words.split("|"))
    told = repr(error) + str(error.__cause__) + repr(error.__cause__)
    assert "sesame" not in told
    assert "password-1" not in told


def test_a_missing_table_is_internal(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        error = error_of(lambda: opened.database.read(lambda statements: statements.rows("SELECT 1 FROM no_such_table")))
    assert error.code is ErrorCode.INTERNAL
    assert "no_such_table" in error.text


@pytest.mark.parametrize("statement", ["SELEKT 'secret words'", "SELECT CAST('secret words' AS) "])
def test_an_error_never_quotes_a_statement(mariadb_server, name, statement):
    with stage(access_by(name, mariadb_server.port)) as opened:
        error = error_of(lambda: opened.database.read(lambda statements: statements.rows(statement)))
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__
    assert error.code is ErrorCode.INTERNAL
    assert not any("secret" in repr(one) for one in chain)


def test_a_value_that_does_not_fit_is_internal_and_stores_nothing(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        error = error_of(lambda: opened.members.update_group(G1, name="x" * 300, announcement=None, settings=None))
        assert error.code is ErrorCode.INTERNAL
        assert opened.members.get_group(G1).name == "One"


def test_a_read_only_server_is_read_and_not_written(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        assert commit_one(opened) == 1
        with mariadb_server.cursor() as root:
            root.execute("SET GLOBAL read_only = 1")
            try:
                error = error_of(lambda: commit_one(opened))
                assert error.code is ErrorCode.UNAVAILABLE
                assert "no writes" in error.text
                assert error.retry_after_ms > 0
                assert len(opened.messages.read_after(G1, after_seq=0, up_to_seq=0, limit=9).messages) == 1
            finally:
                root.execute("SET GLOBAL read_only = 0")
        assert patiently(lambda: commit_one(opened)) == 2


def test_a_full_table_space_is_unavailable_and_what_was_acked_stays_i3(tmp_path):
    options = ["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"]
    with started(lambda: MariaDBServer(tmp_path, options=options)) as server:
        make_tables_on(server, "small")
        with stage(access_by("small", server.port, timeout_seconds=10.0)) as opened:
            opened.members.create_group(Group(G1, "One"), owner_id=None)
            acked: list[int] = []

            def fill() -> None:
                for _ in range(200):
                    batch = [candidate(submission(text="x" * 20_000)) for _ in range(50)]
                    acked.append(seq_of(opened.messages.commit(batch, now_ms=1)[-1]))

            assert error_of(fill).code is ErrorCode.UNAVAILABLE
            page = opened.messages.read_before(G1, before_seq=0, limit=1)
            assert page.head_seq == acked[-1] == page.messages[0].seq


def test_too_many_connections_are_unavailable(mariadb_server, name):
    with mariadb_server.cursor() as root, contextlib.ExitStack() as others:
        root.execute("SELECT @@global.max_connections")
        [(before,)] = root.fetchall()
        root.execute("SET GLOBAL max_connections = 10")
        try:
            with contextlib.suppress(pymysql.err.OperationalError):
                for _ in range(12):
                    taken = pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user=name, password="password-1")
                    others.callback(taken.close)
            with stage(access_by(name, mariadb_server.port)) as opened:
                error = error_of(lambda: opened.members.get_group(G1))
                assert error.code is ErrorCode.UNAVAILABLE
                others.close()
                assert patiently(lambda: opened.members.get_heads([G1])) == [None]
        finally:
            root.execute(f"SET GLOBAL max_connections = {before}")


def test_a_pool_in_use_makes_others_wait_then_refuses_them(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port, pool_size=2, timeout_seconds=0.5)) as opened:
        held, release = threading.Semaphore(0), threading.Event()

        def hold(statements) -> None:
            held.release()
            release.wait(30)

        threads = [threading.Thread(target=lambda: opened.database.read(hold)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert held.acquire(timeout=10)
        assert opened.database.in_use == 2
        error = error_of(lambda: opened.members.get_heads([G1]))
        assert error.code is ErrorCode.UNAVAILABLE
        assert "in use" in error.text
        release.set()
        for thread in threads:
            thread.join(10)
        assert opened.members.get_heads([G1]) == [None]
        assert opened.database.in_use == 0


def test_a_closed_database_is_unavailable(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        opened.members.get_heads([G1])
    assert error_of(lambda: opened.members.get_heads([G1])).code is ErrorCode.UNAVAILABLE
