"""What `CursorStore` promises, on every adapter."""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator

import pytest
from mysql_tables import access_to, empty_tables

from throng.adapters.mysql_database import MySQLDatabase
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from unread_svc.adapters import sqlite_cursor_store
from unread_svc.adapters.mysql_cursor_store import MySQLCursorStore
from unread_svc.adapters.sqlite_cursor_store import SQLiteCursorStore
from unread_svc.ports import CursorStore, ReadCursor, UserInGroup

Open = Callable[[], CursorStore]


def cursor(user_id: str, group_id: str, read_seq: int) -> ReadCursor:
    return ReadCursor(UserId(user_id), GroupId(group_id), read_seq)


def pair(user_id: str, group_id: str) -> UserInGroup:
    return UserInGroup(UserId(user_id), GroupId(group_id))


@pytest.fixture(params=["sqlite", "mysql"])
def reopen(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Open]:
    """Opens the same store as often as it is called."""
    with contextlib.ExitStack() as exit_stack:
        if request.param == "mysql":
            server = request.getfixturevalue("mariadb_server")
            name = exit_stack.enter_context(empty_tables(server))

        def open_store() -> CursorStore:
            if request.param == "mysql":
                store: CursorStore = MySQLCursorStore(MySQLDatabase(access_to(server, name)))
            else:
                store = SQLiteCursorStore(tmp_path / "unread.sqlite")
            exit_stack.callback(store.close)
            return store

        yield open_store


@pytest.fixture
def store(reopen: Open) -> CursorStore:
    return reopen()


def test_an_unknown_pair_is_at_zero(store: CursorStore) -> None:
    assert store.read([pair("u", "g")]) == [0]


def test_nothing_asked_nothing_answered(store: CursorStore) -> None:
    assert store.read([]) == []
    store.advance([])


def test_answers_come_in_the_order_of_the_question(store: CursorStore) -> None:
    store.advance([cursor("a", "g", 1), cursor("b", "g", 2), cursor("a", "h", 3)])
    assert store.read([pair("a", "h"), pair("x", "g"), pair("b", "g"), pair("a", "g"), pair("a", "h")]) == [3, 0, 2, 1, 3]


def test_a_cursor_only_grows(store: CursorStore) -> None:
    store.advance([cursor("u", "g", 9)])
    store.advance([cursor("u", "g", 4)])
    assert store.read([pair("u", "g")]) == [9]
    store.advance([cursor("u", "g", 10)])
    assert store.read([pair("u", "g")]) == [10]


def test_the_highest_of_one_report_wins_in_any_order(store: CursorStore) -> None:
    store.advance([cursor("u", "g", 5), cursor("u", "g", 8), cursor("u", "g", 6)])
    assert store.read([pair("u", "g")]) == [8]


def test_ids_are_compared_byte_by_byte(store: CursorStore) -> None:
    store.advance([cursor("Ann", "g", 1), cursor("ann", "g", 2), cursor("ann", "G", 3)])
    assert store.read([pair("Ann", "g"), pair("ann", "g"), pair("ann", "G"), pair("ANN", "g")]) == [1, 2, 3, 0]


def test_pairs_are_not_mixed_up(store: CursorStore) -> None:
    store.advance([cursor("a", "b", 1), cursor("b", "a", 2)])
    assert store.read([pair("a", "a"), pair("b", "b"), pair("a", "b"), pair("b", "a")]) == [0, 0, 1, 2]


def test_large_batches_and_seqs(store: CursorStore) -> None:
    seqs = {f"u{number}": (1 << 53) - 1 - number for number in range(10_000)}
    store.advance([cursor(user_id, "g", seq) for user_id, seq in seqs.items()])
    assert store.read([pair(user_id, "g") for user_id in seqs]) == list(seqs.values())


def test_cursors_are_there_after_opening_again(reopen: Open) -> None:
    reopen().advance([cursor("u", "g", 7)])
    assert reopen().read([pair("u", "g")]) == [7]


def test_reports_of_many_threads_leave_the_highest(store: CursorStore) -> None:
    def report(start: int) -> None:
        for seq in range(start, 200, 4):
            store.advance([cursor("u", "g", seq), cursor(f"u{start}", "g", seq)])

    threads = [threading.Thread(target=report, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read([pair("u", "g")]) == [199]


def test_a_file_that_cannot_be_used_is_unavailable(tmp_path: pathlib.Path) -> None:
    (tmp_path / "unread.sqlite").mkdir()
    with pytest.raises(ThrongError) as raised:
        SQLiteCursorStore(tmp_path / "unread.sqlite")
    assert raised.value.code is ErrorCode.UNAVAILABLE


def test_reading_searches_by_key(tmp_path: pathlib.Path) -> None:
    """The table holds a row per user and group: a scan of it would end the service."""
    store = SQLiteCursorStore(tmp_path / "unread.sqlite")
    with store._database.read() as connection:
        statement = "EXPLAIN QUERY PLAN " + sqlite_cursor_store._READ.format(values="(?,?),(?,?)")
        plan = [row[3] for row in connection.execute(statement, ("a", "g", "b", "g"))]
    store.close()
    assert any(step.startswith("SEARCH read_cursor USING PRIMARY KEY (user_id=? AND group_id=?)") for step in plan), plan
    assert not any(step.startswith("SCAN read_cursor") for step in plan), plan
