"""The SQLite file: migrations, transactions, errors. SQLite is the subject here, so a file in a temporary folder is used."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from throng.adapters.sqlite_database import SQLiteDatabase, read_migrations
from throng.domain.errors import ErrorCode, ThrongError

PACKAGE = "group_svc.adapters.migrations_sqlite"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "er" / "group.db"


@pytest.fixture
def database(path):
    made = SQLiteDatabase(path, migrations_package=PACKAGE)
    yield made
    made.close()


def add(database: SQLiteDatabase, user: str) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO message_deleted_for_user VALUES (?, 'g', 1)", (user,))


def users(database: SQLiteDatabase) -> list[str]:
    with database.read() as connection:
        return [row[0] for row in connection.execute("SELECT user_id FROM message_deleted_for_user ORDER BY 1")]


def code(call) -> ErrorCode:
    with pytest.raises(ThrongError) as caught:
        call()
    return caught.value.code


def test_migrations_are_numbered_from_one_without_holes():
    numbers = [number for number, _ in read_migrations(PACKAGE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_commits_are_on_disk_when_they_return_i3(database):
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_keeps_what_is_there(path, database):
    add(database, "ann")
    other = SQLiteDatabase(path, migrations_package=PACKAGE)
    assert users(other) == ["ann"]
    other.close()
    assert users(database) == ["ann"]


def test_a_file_of_a_newer_version_is_left_alone(path, database):
    with database.write() as connection:
        connection.execute("INSERT INTO schema_migration (number) VALUES (9999)")
    assert code(lambda: SQLiteDatabase(path, migrations_package=PACKAGE)) is ErrorCode.INTERNAL


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    assert code(lambda: SQLiteDatabase(tmp_path, migrations_package=PACKAGE)) is ErrorCode.UNAVAILABLE


def test_an_exception_rolls_everything_back_and_the_next_write_works(database):
    def fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO message_deleted_for_user VALUES ('ann', 'g', 1)")
            connection.execute("INSERT INTO message_deleted_for_user VALUES ('ann', 'g', 1)")

    assert code(fail) is ErrorCode.INTERNAL
    assert users(database) == []
    add(database, "bob")
    assert users(database) == ["bob"]


@pytest.mark.parametrize("rolled_back", [False, True], ids=["by us", "by SQLite itself"])
def test_a_commit_that_fails_leaves_nothing_and_the_next_write_works(database, rolled_back):
    def fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO message_deleted_for_user VALUES ('ann', 'g', 1)")
            if rolled_back:
                connection.execute("ROLLBACK")
            else:
                connection.execute("CREATE TABLE child (id INTEGER REFERENCES chat_group (group_id) DEFERRABLE INITIALLY DEFERRED)")
                connection.execute("INSERT INTO child VALUES (1)")

    with database.write() as connection:
        pass
    connection.execute("PRAGMA foreign_keys = ON")
    assert code(fail) in (ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE)
    assert users(database) == []
    add(database, "bob")
    assert users(database) == ["bob"]


def test_a_full_disk_is_unavailable_and_writing_goes_on_when_there_is_room(database):
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with database.write() as connection:
            rows = ((f"user-{n}", "g" * 60, n) for n in range(5_000))
            connection.executemany("INSERT INTO message_deleted_for_user VALUES (?, ?, ?)", rows)

    assert code(fill) is ErrorCode.UNAVAILABLE
    assert users(database) == []
    with database.write() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    add(database, "bob")
    assert users(database) == ["bob"]


def test_readers_do_not_see_what_is_not_committed(database):
    with database.write() as connection:
        connection.execute("INSERT INTO message_deleted_for_user VALUES ('ann', 'g', 1)")
        assert users(database) == []
    assert users(database) == ["ann"]


def test_threads_that_come_and_go_leave_no_connections_behind(database, monkeypatch):
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: opened.append(1) or connect(*args, **kwargs))
    for _ in range(10):
        thread = threading.Thread(target=users, args=(database,))
        thread.start()
        thread.join(20)
    assert len(opened) == 1


def test_a_closed_file_is_unavailable_and_closing_again_is_harmless(database):
    with database.read() as lent:
        database.close()
        assert lent.execute("SELECT 1").fetchone() == (1,)
    database.close()
    assert code(lambda: add(database, "ann")) is ErrorCode.UNAVAILABLE
    assert code(lambda: users(database)) is ErrorCode.UNAVAILABLE
    with pytest.raises(sqlite3.ProgrammingError):
        lent.execute("SELECT 1")


class BusyAtFirst(sqlite3.Connection):
    """Refuses to switch to WAL a few times, as SQLite does without waiting while another process makes the same file."""

    refusals = 3

    def execute(self, sql, *values):
        if "journal_mode" in sql and BusyAtFirst.refusals:
            BusyAtFirst.refusals -= 1
            raise sqlite3.OperationalError("database is locked")
        return super().execute(sql, *values)


def test_a_file_that_another_process_is_making_is_waited_for(path, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, factory=BusyAtFirst, **more))
    made = SQLiteDatabase(path, migrations_package=PACKAGE)
    add(made, "alice")
    assert users(made) == ["alice"]
    assert BusyAtFirst.refusals == 0
    made.close()
