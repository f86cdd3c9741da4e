"""Cost of the SQLite stores: every statement finds its rows by key, none reads through a table or an index."""

from __future__ import annotations

import re
import sqlite3

import pytest
from conformance_builders import candidate, recall, submission

from group_svc.adapters.sqlite_membership_store import SQLiteMembershipStore
from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.domain.group import Group, Member, Role
from throng.domain.ids import GroupId, UserId

G1, ANN, BOB = GroupId("g1"), UserId("ann"), UserId("bob")
TABLES = ("chat_group", "group_member", "message", "message_deleted_for_user", "g", "m")


class TracedDatabase(SQLiteDatabase):
    """Notes every statement that it runs, with its values."""

    statements: set[str]

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.set_trace_callback(self.statements.add)
        return connection


@pytest.fixture
def database(tmp_path):
    TracedDatabase.statements = set()
    traced = TracedDatabase(tmp_path / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
    TracedDatabase.statements.clear()
    yield traced
    traced.close()


def use_messages(store: SQLiteMessageStore) -> None:
    sent = submission()
    store.commit([candidate(submission()) for _ in range(30)] + [candidate(sent)], now_ms=1)
    store.commit([candidate(sent), candidate(submission()), candidate(recall(2)), candidate(recall(2))], now_ms=1)
    store.read_after(G1, after_seq=3, up_to_seq=0, limit=5)
    store.read_before(G1, before_seq=20, limit=5)
    store.countable(G1, after_seq=3, exclude_sender=BOB, limit=5)
    store.delete_for_user(ANN, G1, 3)
    store.deleted_for_user(ANN, G1, from_seq=1, limit=5)


def use_members(store: SQLiteMembershipStore) -> None:
    store.create_group(Group(G1, "One"), owner_id=ANN)
    store.update_group(G1, name="Uno", announcement=None, settings=None)
    store.list_groups(after_group_id="a", limit=5)
    store.add_members(G1, [Member(BOB), *(Member(UserId(f"user-{n}")) for n in range(20))])
    store.list_members(G1, after_user_id="b", limit=5)
    store.update_member(G1, BOB, role=Role.OWNER, muted_until_ms=1, display_name="B")
    store.get_memberships([(G1, ANN), (G1, BOB)])
    store.list_user_groups(ANN, after_group_id="a", limit=5)
    store.get_heads([G1])
    store.remove_members(G1, [ANN])


def plans(database: TracedDatabase) -> dict[str, list[str]]:
    statements = [one for one in database.statements if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b", one)]
    with database.read() as connection:
        return {one: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()] for one in statements}


def test_every_statement_searches_by_key(database):
    use_members(SQLiteMembershipStore(database))
    use_messages(SQLiteMessageStore(database))
    found = plans(database)
    steps = [step for plan in found.values() for step in plan]
    assert len(found) > 25
    assert sum(step.startswith("SEARCH") for step in steps) > 25
    scans = [step for step in steps if step.startswith("SCAN") and step.split()[1] in TABLES]
    assert scans == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []


def test_the_check_can_fail(database):
    with database.read() as connection:
        connection.execute("SELECT seq FROM message WHERE sender_name = 'x' ORDER BY sent_at_ms")
    [plan] = plans(database).values()
    assert plan == ["SCAN message", "USE TEMP B-TREE FOR ORDER BY"]


def test_a_sent_twice_look_up_reads_no_message(database):
    SQLiteMembershipStore(database).create_group(Group(G1, "One"), owner_id=ANN)
    use_messages(SQLiteMessageStore(database))
    look_ups = [plan for statement, plan in plans(database).items() if statement.startswith("WITH wanted")]
    assert look_ups
    covering = "SEARCH message USING COVERING INDEX message_by_client_msg_id (sender_id=? AND client_msg_id=?)"
    assert all(covering in plan for plan in look_ups)
