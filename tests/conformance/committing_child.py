"""A process that commits without end and reports on its standard output what is committed; killed by the test of I3.

Usage: committing_child.py FOLDER|mysql://USER@HOST:PORT/DATABASE FIRST_NUMBER
"""

from __future__ import annotations

import pathlib
import sys
import uuid

from conformance_builders import candidate, recall, submission
from mysql_tables import SERVICE_PASSWORD

from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.adapters.sqlite_membership_store import SQLiteMembershipStore
from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from group_svc.ports import Committed, MembershipStore, MessageStore
from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.domain.errors import ThrongError
from throng.domain.group import Group
from throng.domain.ids import GroupId

GROUPS = ("g1", "g2")


def open_stores(where: str) -> tuple[MembershipStore, MessageStore]:
    """Opens the tables in a folder or in MySQL."""
    if where.startswith("mysql://"):
        hosts, user, name = parse_url(where)
        mysql = MySQLDatabase(MySQLAccess(hosts, user, name, SERVICE_PASSWORD))
        return MySQLMembershipStore(mysql), MySQLMessageStore(mysql)
    database = SQLiteDatabase(pathlib.Path(where) / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
    return SQLiteMembershipStore(database), SQLiteMessageStore(database)


def main(where: str, number: int) -> None:
    """Writes one line per committed message, only after `commit` returned: group, seq, client_msg_id."""
    members, messages = open_stores(where)
    for group in GROUPS:
        try:
            members.create_group(Group(GroupId(group), group), owner_id=None)
        except ThrongError:
            members.get_group(GroupId(group))
    while True:
        batch = [submission(GROUPS[n % 2], client_msg_id=str(uuid.UUID(int=number + n)), text="x" * 300) for n in range(60)]
        batch.append(recall(1 + number % 50, client_msg_id=str(uuid.UUID(int=number + 60))))
        number += 61
        lines = [
            f"{candidate_.submission.group_id} {outcome.position.seq} {outcome.message.client_msg_id}\n"
            for candidate_, outcome in _commit(messages, batch)
            if isinstance(outcome, Committed)
        ]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


def _commit(messages, batch):
    candidates = [candidate(one) for one in batch]
    return zip(candidates, messages.commit(candidates, now_ms=1), strict=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
