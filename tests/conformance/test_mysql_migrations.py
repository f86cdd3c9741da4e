"""`throng migrate` on MySQL: numbered per service, locked, repeatable after a crash, and what services say of tables that do not fit."""

from __future__ import annotations

import pathlib
import sys
import threading

import pytest
from click.testing import CliRunner
from mysql_stage import error_of, stage
from mysql_tables import access_to, fresh_name, migrating, set_up

from group_svc.app import GroupApp
from group_svc.settings import GroupServiceSettings
from throng.adapters.mysql_migrations import Schema, check_schema, migrate
from throng.cli.main import main
from throng.cli.migrations import mysql_schemas
from throng.domain.errors import ErrorCode
from throng.runtime.settings import load
from unread_svc.app import UnreadApp
from unread_svc.settings import UnreadSettings

ONE = "-- works-with: 1\nCREATE TABLE one (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;\nCREATE TABLE two (id INT) ENGINE=InnoDB;\n"


@pytest.fixture
def database(mariadb_server):
    """A database with its users and without tables."""
    name = fresh_name()
    set_up(mariadb_server, name)
    return name


@pytest.fixture
def write_schema(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """Makes versions of a service's migrations: number -> SQL."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(**files: str) -> Schema:
        package = f"migrations_{fresh_name()}"
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, sql in files.items():
            (folder / f"{name[1:]}.sql").write_text(sql)
        made.append(package)
        return Schema("test", package)

    yield make
    for package in made:
        sys.modules.pop(package, None)


def columns(server, name: str, table: str) -> list[str]:
    with server.cursor() as root:
        root.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY 1",
            (name, table),
        )
        return [row[0] for row in root.fetchall()]


def check(access, schema: Schema) -> None:
    with stage(access) as opened:
        opened.database.read(lambda statements: check_schema(statements, schema))


def test_the_command_makes_the_tables_of_all_services_and_may_be_repeated(mariadb_server, database, tmp_path):
    password = tmp_path / "migrate.password"
    password.write_text("password-2\n")
    password.chmod(0o600)
    url = f"mysql://{database}_migrate@127.0.0.1:{mariadb_server.port}/{database}"
    for _ in range(2):
        done = CliRunner().invoke(main, ["migrate", "--mysql-url", url, "--mysql-password-file", str(password)])
        assert (done.exit_code, done.output) == (0, "group: at migration 0001\nunread: at migration 0001\n")
    for schema in mysql_schemas():
        check(access_to(mariadb_server, database), schema)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://throng:secret@db/throng", "password"),
        ("postgres://throng@db/throng", "mysql://"),
        ("mysql://throng@db", "database is missing"),
    ],
)
def test_the_command_names_what_is_wrong_with_a_url_and_does_not_repeat_it(url, words):
    done = CliRunner().invoke(main, ["migrate", "--mysql-url", url])
    assert done.exit_code == 2
    assert words in done.output
    assert "secret" not in done.output


def test_numbers_are_kept_per_service_and_done_once(mariadb_server, database, write_schema):
    first = write_schema(_0001_one=ONE)
    migrate(migrating(mariadb_server, database), [first, *mysql_schemas()])
    second = write_schema(_0001_one=ONE, _0002_more="-- works-with: 1\nALTER TABLE one ADD COLUMN more INT NOT NULL DEFAULT 0;\n")
    migrate(migrating(mariadb_server, database), [second])
    assert columns(mariadb_server, database, "one") == ["id", "more"]
    with mariadb_server.cursor() as root:
        root.execute(f"SELECT service, number, works_with, finished FROM `{database}`.schema_migration ORDER BY 1, 2")
        assert list(root.fetchall()) == [("group", 1, 1, 1), ("test", 1, 1, 1), ("test", 2, 1, 1), ("unread", 1, 1, 1)]


def test_a_migration_that_stopped_half_way_is_finished_by_the_next_run(mariadb_server, database, write_schema):
    broken = write_schema(_0001_one=ONE + "CREATE TABLE three (id INT) ENGINE=NoSuchEngine;\n")
    error = error_of(lambda: migrate(migrating(mariadb_server, database), [broken]))
    assert error.code is ErrorCode.INTERNAL
    assert columns(mariadb_server, database, "two") == ["id"]
    mended = write_schema(_0001_one=ONE + "CREATE TABLE three (id INT) ENGINE=InnoDB;\nCREATE INDEX by_id ON three (id);\n")
    assert "older" in error_of(lambda: check(access_to(mariadb_server, database), mended)).text
    migrate(migrating(mariadb_server, database), [mended])
    assert columns(mariadb_server, database, "three") == ["id"]
    check(access_to(mariadb_server, database), mended)


def test_a_table_that_is_there_and_is_not_ours_is_not_passed_over(mariadb_server, database, write_schema):
    with mariadb_server.cursor() as root:
        root.execute(f"CREATE TABLE `{database}`.one (something_else INT)")
    error = error_of(lambda: migrate(migrating(mariadb_server, database), [write_schema(_0001_one=ONE)]))
    assert error.code is ErrorCode.INTERNAL


def test_a_second_runner_waits_and_gives_up_in_time(mariadb_server, database):
    with stage(migrating(mariadb_server, database)) as opened:
        held, release = threading.Event(), threading.Event()

        def hold(statements) -> None:
            statements.rows("SELECT GET_LOCK(CONCAT('throng.', MD5(DATABASE())), 5)")
            held.set()
            release.wait(30)

        thread = threading.Thread(target=lambda: opened.database.read(hold))
        thread.start()
        assert held.wait(10)
        error = error_of(lambda: migrate(migrating(mariadb_server, database), mysql_schemas(), lock_seconds=1))
        assert error.code is ErrorCode.UNAVAILABLE
        assert "another throng migrate" in error.text
        assert columns(mariadb_server, database, "message") == []
        release.set()
        thread.join(10)


def test_runners_at_the_same_moment_do_it_once(mariadb_server, database):
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(migrating(mariadb_server, database), mysql_schemas())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    check(access_to(mariadb_server, database), mysql_schemas()[0])


def test_a_service_on_newer_tables_that_are_made_for_it_too_starts_and_on_others_refuses(mariadb_server, database, write_schema):
    alter = "ALTER TABLE one ADD COLUMN c{0} INT NOT NULL DEFAULT 0;\n"
    old = write_schema(_0001_one=ONE)
    newer = write_schema(_0001_one=ONE, _0002_two="-- works-with: 1\n" + alter.format(2))
    newest = write_schema(
        _0001_one=ONE, _0002_two="-- works-with: 1\n" + alter.format(2), _0003_three="-- works-with: 2\n" + alter.format(3)
    )
    access = access_to(mariadb_server, database)
    assert "throng migrate" in error_of(lambda: check(access, old)).text
    migrate(migrating(mariadb_server, database), [old])
    check(access, old)
    assert "older" in error_of(lambda: check(access, newer)).text
    migrate(migrating(mariadb_server, database), [newer])
    check(access, old)
    check(access, newer)
    # The command of the version before leaves newer tables alone.
    migrate(migrating(mariadb_server, database), [old])
    migrate(migrating(mariadb_server, database), [newest])
    check(access, newer)
    error = error_of(lambda: check(access, old))
    assert error.code is ErrorCode.INTERNAL
    assert "cannot work" in error.text
    assert "cannot work" in error_of(lambda: migrate(migrating(mariadb_server, database), [old])).text


def test_every_migration_says_whom_it_works_with():
    for schema in mysql_schemas():
        migrations = schema.migrations()
        assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
        assert all(1 <= migration.works_with <= migration.number for migration in migrations)
    with pytest.raises(ValueError, match="works-with"):
        Schema("group", "group_svc.adapters.migrations_sqlite").migrations()


def settings_of(kind, server, name: str, tmp_path: pathlib.Path):
    password = tmp_path / "throng.password"
    password.write_text("password-1\n")
    password.chmod(0o600)
    url = f"mysql://{name}@127.0.0.1:{server.port}/{name}"
    values = {"store": "mysql", "mysql_url": url, "mysql_password_file": password, "port": 0, "redis_url": f"embedded://{name}"}
    return load(kind, flags=values, environment={})


@pytest.mark.parametrize(("app", "kind"), [(GroupApp, GroupServiceSettings), (UnreadApp, UnreadSettings)])
def test_services_do_not_start_on_old_tables_and_start_once_they_are_made(mariadb_server, database, tmp_path, app, kind):
    from prometheus_client import CollectorRegistry

    service = app(settings_of(kind, mariadb_server, database, tmp_path), registry=CollectorRegistry())
    try:
        error = error_of(service.start)
    finally:
        service.stop()
    assert "throng migrate" in error.text
    migrate(migrating(mariadb_server, database), mysql_schemas())
    registry = CollectorRegistry()
    service = app(settings_of(kind, mariadb_server, database, tmp_path), registry=registry)
    try:
        service.start()
        name = "group" if app is GroupApp else "unread"
        assert registry.get_sample_value(f"throng_{name}_mysql_connects_total") >= 1
        assert registry.get_sample_value(f"throng_{name}_mysql_connections_in_use") == 0
    finally:
        service.stop()
