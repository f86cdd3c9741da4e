"""What stands in the way of MySQL transactions, and how they are repeated."""

from __future__ import annotations

import contextlib
import threading
import time

import pymysql
import pytest
from conformance_builders import candidate, code_of, seq_of, submission
from mysql_stage import access_by, error_of, stage, wait_for
from mysql_tables import empty_tables

from group_svc.ports import Committed, Refused
from throng.adapters.mysql_access import MySQLAccess
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group
from throng.domain.ids import GroupId

G1, G2 = GroupId("g1"), GroupId("g2")


@pytest.fixture
def access(mariadb_server) -> MySQLAccess:
    with empty_tables(mariadb_server) as name:
        yield access_by(name, mariadb_server.port, timeout_seconds=4.0)


@pytest.fixture
def opened(access):
    with stage(access) as one:
        one.members.create_group(Group(G1, "One"), owner_id=None)
        one.members.create_group(Group(G2, "Two"), owner_id=None)
        yield one


def lock(statements, group_id: str) -> None:
    statements.rows("SELECT head_seq FROM chat_group WHERE group_id = %s FOR UPDATE", group_id)


@contextlib.contextmanager
def locked_elsewhere(access: MySQLAccess, group_id: str):
    """Another client holds the row of a group; yields what lets go of it."""
    other = pymysql.connect(
        host="127.0.0.1", port=access.hosts[0].port, user=access.user, password=access.password, database=access.database
    )
    with other.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chat_group WHERE group_id = %s FOR UPDATE", (group_id,))
    try:
        yield other.rollback
    finally:
        other.close()


def name_of(opened, group_id: str) -> str:
    return opened.database.read(lambda statements: statements.row("SELECT name FROM chat_group WHERE group_id = %s", group_id))[0]


def test_statements_for_later_travel_in_order_and_in_front_of_the_next(opened):
    def work(statements):
        statements.later("UPDATE chat_group SET name = %s WHERE group_id = 'g1'", "semi;colon 'quoted' \\ back")
        statements.later("UPDATE chat_group SET announcement = name WHERE group_id = 'g1'")
        first, second = statements.together(
            ["SELECT announcement FROM chat_group WHERE group_id = 'g1'", "SELECT group_id FROM chat_group ORDER BY group_id"]
        )
        statements.later("UPDATE chat_group SET name = 'last' WHERE group_id = 'g2'")
        return first, second

    first, second = opened.database.write(work)
    assert (list(first), list(second)) == ([("semi;colon 'quoted' \\ back",)], [("g1",), ("g2",)])
    assert name_of(opened, "g2") == "last"


def test_a_statement_for_later_that_fails_takes_everything_back(opened):
    def work(statements):
        statements.run("UPDATE chat_group SET name = 'first' WHERE group_id = 'g1'")
        statements.later("UPDATE chat_group SET no_such_column = 1")
        statements.later("UPDATE chat_group SET name = 'third' WHERE group_id = 'g2'")

    assert error_of(lambda: opened.database.write(work)).code is ErrorCode.INTERNAL
    assert (name_of(opened, "g1"), name_of(opened, "g2")) == ("One", "Two")


def test_an_exception_forgets_what_was_for_later(opened):
    def work(statements):
        statements.later("UPDATE chat_group SET name = 'never' WHERE group_id = 'g1'")
        raise LookupError

    with pytest.raises(LookupError):
        opened.database.write(work)
    assert name_of(opened, "g1") == "One"


def test_what_is_more_than_one_packet_goes_in_several(opened, monkeypatch):
    monkeypatch.setattr("throng.adapters.mysql_statements._LONGEST_STATEMENT_BYTES", 300)
    statements = [
        f"UPDATE chat_group SET announcement = CONCAT(announcement, '{number},') WHERE group_id = 'g1'" for number in range(20)
    ]

    def work(session):
        for statement in statements:
            session.later(statement)
        return session.together(["SELECT announcement FROM chat_group WHERE group_id = 'g1'", "SELECT 1"])

    (told,), (one,) = opened.database.write(work)
    assert told == ("".join(f"{number}," for number in range(20)),)
    assert one == (1,)


def test_both_sides_of_a_deadlock_end_well(opened):
    met = threading.Barrier(2)
    runs: list[str] = []

    def cross(first: str, second: str) -> None:
        tries = 0

        def work(statements) -> None:
            nonlocal tries
            tries += 1
            lock(statements, first)
            if tries == 1:
                met.wait(10)
            lock(statements, second)
            statements.run("UPDATE chat_group SET name = %s WHERE group_id = %s", f"by {first}", second)

        opened.database.write(work)
        runs.append(first)

    threads = [threading.Thread(target=cross, args=pair) for pair in (("g1", "g2"), ("g2", "g1"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(runs) == ["g1", "g2"]
    assert opened.events.retried == {"deadlock": 1}
    assert (opened.members.get_group(G1).name, opened.members.get_group(G2).name) == ("by g2", "by g1")


def test_a_group_that_stays_locked_is_unavailable_in_time_and_the_others_go_on(opened, access):
    with locked_elsewhere(access, "g1"):
        started = time.monotonic()
        error = error_of(lambda: opened.messages.commit([candidate(submission("g1"))], now_ms=1))
        assert error.code is ErrorCode.UNAVAILABLE
        assert "locked for too long" in error.text
        assert time.monotonic() - started < 3 * access.timeout_seconds
        assert seq_of(opened.messages.commit([candidate(submission("g2"))], now_ms=1)[0]) == 1
    assert seq_of(opened.messages.commit([candidate(submission("g1"))], now_ms=1)[0]) == 1


def test_a_lock_that_is_let_go_of_was_waited_for(opened, access):
    outcomes: list = []
    with locked_elsewhere(access, "g1") as let_go:
        thread = threading.Thread(target=lambda: outcomes.extend(opened.messages.commit([candidate(submission("g1"))], now_ms=1)))
        thread.start()
        wait_for(lambda: opened.events.retried["lock_timeout"] == 1)
        let_go()
        thread.join(20)
    assert seq_of(outcomes[0]) == 1


def test_one_id_written_to_two_groups_at_once_has_one_seq_i2(access, opened):
    """Between the look-up of the second and its insert the first commits: the unique index decides, and the second looks again."""
    sent, other = submission("g1", client_msg_id="same"), submission("g2", client_msg_id="same")
    first: list[str] = []

    def observe(statement: str) -> None:
        if statement.startswith("INSERT INTO message ") and not first:
            first.append("done")
            assert seq_of(opened.messages.commit([candidate(sent)], now_ms=1)[0]) == 1

    with stage(access, observe) as late:
        [outcome] = late.messages.commit([candidate(other)], now_ms=1)
        assert late.events.retried == {"duplicate": 1}
    assert code_of(outcome) is ErrorCode.CLIENT_MSG_ID_REUSED
    assert [head.seq for head in opened.members.get_heads([G1, G2])] == [1, 0]


def test_a_group_made_twice_at_once_exists_once(access, opened):
    made: list[str] = []

    def observe(statement: str) -> None:
        if "INSERT INTO chat_group" in statement and not made:
            made.append("done")
            opened.members.create_group(Group(GroupId("new"), "First"), owner_id=None)

    with stage(access, observe) as late:
        error = error_of(lambda: late.members.create_group(Group(GroupId("new"), "Second"), owner_id=None))
    assert error.code is ErrorCode.GROUP_EXISTS
    assert opened.members.get_group(GroupId("new")).name == "First"


def test_what_a_transaction_raises_undoes_it_and_keeps_the_connection(opened):
    connected = opened.events.connected

    def work(statements) -> None:
        statements.run("UPDATE chat_group SET name = 'changed' WHERE group_id = 'g1'")
        raise ThrongError(ErrorCode.CONFLICT, "no")

    for _ in range(3):
        assert error_of(lambda: opened.database.write(work)).code is ErrorCode.CONFLICT
    assert opened.members.get_group(G1).name == "One"
    assert opened.events.connected == connected

    def broken(statements) -> None:
        work_first = statements.run("UPDATE chat_group SET name = 'changed' WHERE group_id = 'g1'")
        raise KeyError(work_first)

    with pytest.raises(KeyError):
        opened.database.write(broken)
    assert opened.members.get_group(G1).name == "One"


def test_values_are_data_whatever_they_hold(opened):
    odd = "'; DROP TABLE message; -- \\' \\\\ %s %d \" \0 \n\r\x1a 你好 😀 ´"
    assert opened.members.update_group(G1, name=odd, announcement=odd * 20, settings=None).name == odd
    group = opened.members.get_group(G1)
    assert (group.name, group.announcement) == (odd, odd * 20)
    [outcome] = opened.messages.commit([candidate(submission("g1", client_msg_id="100%s"))], now_ms=1)
    assert isinstance(outcome, Committed)


def test_more_than_one_packet_of_messages_is_one_commit(access, opened):
    texts: list[int] = []
    with stage(
        access, lambda statement: texts.append(len(statement)) if statement.startswith("INSERT INTO message ") else None
    ) as one:
        outcomes = one.messages.commit([candidate(submission(text="é" * 10_000)) for _ in range(300)], now_ms=1)
    assert not any(isinstance(outcome, Refused) for outcome in outcomes)
    assert [seq_of(outcome) for outcome in outcomes] == list(range(1, 301))
    assert len(texts) > 1
    assert max(texts) <= 4 * 1024 * 1024 + 1024
    assert opened.members.get_heads([G1])[0].seq == 300


def test_reads_see_the_newest_commit_and_writes_are_strict(opened):
    found = opened.database.read(
        lambda statements: statements.row("SELECT @@session.tx_isolation, @@session.sql_mode, @@session.autocommit")
    )
    assert found[0] == "READ-COMMITTED"
    assert "STRICT_ALL_TABLES" in found[1]
    assert int(found[2]) == 1
