"""Cost of the MySQL stores: every statement finds its rows by key, and what it reads does not grow with the group.

All statements are collected while the stores are used on filled tables, and explained; then the server's own counters of rows read
are compared between a small group and one twenty times as large.
"""

from __future__ import annotations

import re

import pytest
from conformance_builders import candidate, recall, submission
from mysql_stage import Stage, access_by, stage
from mysql_tables import TABLES, empty_tables

from group_svc.ports import DeletedQuery
from throng.adapters.mysql_statements import Statements
from throng.domain.group import Group, Member, Role
from throng.domain.ids import GroupId, UserId
from unread_svc.adapters.mysql_cursor_store import MySQLCursorStore
from unread_svc.ports import ReadCursor, UserInGroup

SMALL, LARGE = GroupId("small"), GroupId("large")
SIZES = {SMALL: 1_000, LARGE: 20_000}
BY_KEY = {"const", "eq_ref", "ref", "range"}
ANN, BOB = UserId("ann"), UserId("bob")
MOST_ROWS = 600
"""Estimated rows of a statement: a window of `countable`, and some more."""
PAGED_BY_NAME = (
    "group_member m FORCE INDEX",
    "chat_group g FORCE INDEX (PRIMARY) WHERE g.group_id >",
    "message_deleted_for_user FORCE",
)
"""Pages from a name onward with LIMIT: the estimate knows no limit, so the counters speak for them."""


@pytest.fixture(scope="module")
def filled(mariadb_server):
    """Tables with a small and a large group and many others, with fresh statistics."""
    with empty_tables(mariadb_server) as name:
        with stage(access_by(name, mariadb_server.port, timeout_seconds=20.0)) as opened:
            fill(opened)
            with mariadb_server.cursor() as root:
                root.execute(f"ANALYZE TABLE {', '.join(f'`{name}`.{table}' for table in TABLES)}")
        yield name


def fill(opened: Stage) -> None:
    cursors = MySQLCursorStore(opened.database)
    for number in range(300):
        opened.members.create_group(Group(GroupId(f"group-{number:03}"), "One of many"), owner_id=ANN)
    for group_id, size in SIZES.items():
        opened.members.create_group(Group(group_id, group_id), owner_id=ANN)
        users = [UserId(f"user-{number:06}") for number in range(size)]
        for start in range(0, size, 1_000):
            part = users[start : start + 1_000]
            opened.members.add_members(group_id, [Member(user) for user in part])
            opened.messages.commit([candidate(submission(group_id, user)) for user in part], now_ms=1)
            cursors.advance([ReadCursor(user, group_id, 5) for user in part])
    for seq in range(1, 400):
        opened.database.write(lambda statements, seq=seq: delete_for_bob(statements, seq))


def delete_for_bob(statements: Statements, seq: int) -> None:
    statements.run("INSERT INTO message_deleted_for_user (user_id, group_id, seq) VALUES ('bob', 'large', %s)", seq)


def use_messages(opened: Stage, group_id: GroupId) -> None:
    head = SIZES[group_id]
    store = opened.messages
    sent = submission(group_id)
    store.commit(
        [candidate(submission(group_id)) for _ in range(30)] + [candidate(sent), candidate(submission("group-007"))], now_ms=1
    )
    target = 400
    store.commit([candidate(sent), candidate(submission(group_id)), candidate(recall(target, group_id, "user-000399"))], now_ms=1)
    store.commit([candidate(recall(target, group_id, "user-000399"))], now_ms=1)
    for after in (0, head // 2, head - 10):
        store.read_after(group_id, after_seq=after, up_to_seq=0, limit=50)
        store.countable(group_id, after_seq=after, exclude_sender=BOB, limit=100)
    store.countable(group_id, after_seq=3, exclude_sender=None, limit=100)
    store.read_before(group_id, before_seq=0, limit=50)
    store.read_before(group_id, before_seq=head // 2, limit=50)
    store.delete_for_user(ANN, group_id, 3)
    store.deleted_for_user(BOB, group_id, from_seq=1, limit=5)
    users = [BOB, *(UserId(f"user-{number:06}") for number in range(40))]
    store.deleted_for_users([DeletedQuery(user, group_id, 1) for user in users], limit=5)


def use_members(opened: Stage, group_id: GroupId) -> None:
    store = opened.members
    store.get_group(group_id)
    store.update_group(group_id, name="Uno", announcement=None, settings=None)
    store.list_groups(after_group_id="group-1", limit=20)
    store.add_members(group_id, [Member(BOB), *(Member(UserId(f"new-{n}")) for n in range(20))])
    for after in ("", "user-000500"):
        store.list_members(group_id, after_user_id=after, limit=50)
    store.update_member(group_id, BOB, role=Role.OWNER, muted_until_ms=1, display_name="B")
    store.update_member(group_id, ANN, role=Role.OWNER, muted_until_ms=None, display_name=None)
    store.get_memberships([(group_id, ANN), (group_id, BOB), *((group_id, UserId(f"user-{n:06}")) for n in range(40))])
    store.list_user_groups(ANN, after_group_id="group-1", limit=20)
    store.get_heads([group_id, GroupId("group-001")])
    store.get_members_versions([group_id])
    store.remove_members(group_id, [BOB, *(UserId(f"new-{n}") for n in range(20))])


def use_cursors(opened: Stage, group_id: GroupId) -> None:
    store = MySQLCursorStore(opened.database)
    users = [UserId(f"user-{number:06}") for number in range(40)]
    store.advance([ReadCursor(user, group_id, 9) for user in users])
    store.read([UserInGroup(user, group_id) for user in users])


USES = (use_messages, use_members, use_cursors)


def explained(mariadb_server, name: str, statements: list[str]) -> dict[str, list[dict]]:
    plans = {}
    with mariadb_server.cursor() as root:
        root.execute(f"USE `{name}`")
        for statement in statements:
            root.execute(f"EXPLAIN {statement}")
            titles = [column[0] for column in root.description]
            plans[statement] = [dict(zip(titles, row, strict=True)) for row in root.fetchall()]
    return plans


def test_every_statement_searches_by_key(mariadb_server, filled):
    statements: list[str] = []
    with stage(access_by(filled, mariadb_server.port), statements.append) as opened:
        for use in USES:
            use(opened, LARGE)
    asked = [one for one in dict.fromkeys(statements) if re.match(r"\s*(SELECT|UPDATE|DELETE)\b", one)]
    others = {one.split()[0] for one in statements} - {"SELECT", "UPDATE", "DELETE"}
    assert others == {"INSERT", "START", "COMMIT"}
    assert len(asked) > 30
    for statement, steps in explained(mariadb_server, filled, asked).items():
        for step in steps:
            if step["Extra"] and "Impossible WHERE noticed after reading const tables" in step["Extra"]:
                continue
            assert step["type"] in BY_KEY, (statement, step)
            assert step["key"], (statement, step)
            assert "filesort" not in (step["Extra"] or ""), (statement, step)
            assert "temporary" not in (step["Extra"] or ""), (statement, step)
            if not any(part in statement for part in PAGED_BY_NAME):
                assert int(step["rows"]) <= MOST_ROWS, (statement, step)


def test_a_sent_twice_look_up_reads_no_message(mariadb_server, filled):
    statements: list[str] = []
    with stage(access_by(filled, mariadb_server.port), statements.append) as opened:
        opened.messages.commit([candidate(submission(LARGE)) for _ in range(200)], now_ms=1)
    [look_up] = [one for one in statements if "message_by_client_msg_id" in one]
    [[step]] = explained(mariadb_server, filled, [look_up]).values()
    assert (step["type"], step["key"]) == ("range", "message_by_client_msg_id")
    assert "Using index" in step["Extra"]
    assert 1 <= int(step["rows"]) <= 250


def test_the_check_can_fail(mariadb_server, filled):
    scanning = "SELECT seq FROM message WHERE sender_name = 'x' ORDER BY sent_at_ms"
    [[step]] = explained(mariadb_server, filled, [scanning]).values()
    assert step["type"] == "ALL"
    assert "filesort" in step["Extra"]


def rows_read(opened: Stage) -> int:
    """Rows that the one connection of this database has read so far, by any access."""
    rows = opened.database.read(lambda statements: statements.rows("SHOW SESSION STATUS LIKE 'Handler_read%'"))
    return sum(int(value) for name, value in rows if name in READS)


READS = {
    "Handler_read_first",
    "Handler_read_key",
    "Handler_read_last",
    "Handler_read_next",
    "Handler_read_prev",
    "Handler_read_rnd",
    "Handler_read_rnd_next",
}


@pytest.mark.parametrize("use", USES)
def test_what_is_read_does_not_grow_with_the_group(mariadb_server, filled, use):
    costs = {}
    for group_id in SIZES:
        with stage(access_by(filled, mariadb_server.port)) as opened:
            before = rows_read(opened)
            use(opened, group_id)
            costs[group_id] = rows_read(opened) - before
            assert opened.events.connected == 1
    # Pages near the head hold what other tests added to one of the groups; a cost that grew would be twenty times as large.
    assert costs[LARGE] <= 1.5 * costs[SMALL], costs
    assert costs[LARGE] > 50


def test_the_counters_can_tell(mariadb_server, filled):
    with stage(access_by(filled, mariadb_server.port)) as opened:
        before = rows_read(opened)
        opened.database.read(lambda statements: statements.rows("SELECT COUNT(*) FROM group_member WHERE group_id = 'large'"))
        assert rows_read(opened) - before >= SIZES[LARGE]
