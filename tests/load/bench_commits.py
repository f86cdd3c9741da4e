"""Measures `MessageStore.commit` on MySQL beside raw multi-row inserts of the same rows, in one run on this machine.

Starts a MariaDB of its own in a temporary folder, with full durability. `--profile` says where the client's time goes. Other load on the
machine moves all figures: read the ratios. Ends by itself.

    python tests/load/bench_commits.py [--messages 30000] [--profile]
"""

from __future__ import annotations

import argparse
import collections
import cProfile
import itertools
import os
import pathlib
import platform
import pstats
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from group_svc.adapters import mysql_rows
from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.ports import Candidate
from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import migrate
from throng.cli.migrations import mysql_schemas
from throng.domain.errors import ThrongError
from throng.domain.group import Group, Role
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import Lane, MessageKind, Origin, StoredMessage, Submission
from throng.testing.servers import MariaDBServer

BODY = b"x" * 300
SHAPES = ((500, 500), (1, 500), (50, 50), (1, 50))
"""Groups and messages per commit."""

_numbers = itertools.count()


def group(number: int) -> GroupId:
    return GroupId(f"group-{number}")


def batch(groups: int, size: int) -> list[Candidate]:
    """Messages of a thousand people to so many groups."""
    made = []
    for _ in range(size):
        number = next(_numbers)
        sent = Submission(
            group(number % groups),
            UserId(f"user-{number % 1_000}"),
            str(uuid.uuid4()),
            MessageKind.TEXT,
            BODY,
            Origin(EdgeId("edge"), 1, ConnId("conn")),
            received_at_ms=1,
        )
        made.append(Candidate(sent, None, "User", Lane.NORMAL, Role.MEMBER))
    return made


def raw_rows(size: int) -> list[str]:
    """The same rows as SQL, for groups of their own."""
    rows = []
    for one in batch(1, size):
        number = next(_numbers)
        sent = one.submission
        message = StoredMessage(number, sent.user_id, one.sender_name, sent.client_msg_id, sent.kind, one.lane, sent.body, 1)
        rows.append(mysql_rows.message_row((GroupId("raw"), number), message))
    return rows


def measure_raw(database: MySQLDatabase, messages: int, size: int) -> float:
    """Messages per second of one insert per transaction, nothing else."""
    batches = [raw_rows(size) for _ in range(messages // size)]
    started = time.perf_counter()
    for rows in batches:
        database.write(lambda statements, rows=rows: statements.insert(mysql_rows.INSERT_MESSAGES, rows))
    return len(batches) * size / (time.perf_counter() - started)


def measure(database: MySQLDatabase, groups: int, size: int, messages: int) -> tuple[float, float, float, float]:
    """Messages per second, p50 and p99 of one commit in ms, share of the time that this process used a core."""
    store = MySQLMessageStore(database)
    batches = [batch(groups, size) for _ in range(messages // size)]
    store.commit(batch(groups, size), now_ms=1)
    times = []
    started, cpu = time.perf_counter(), time.process_time()
    for one in batches:
        before = time.perf_counter()
        store.commit(one, now_ms=1)
        times.append(1_000 * (time.perf_counter() - before))
    seconds = time.perf_counter() - started
    times.sort()
    share = (time.process_time() - cpu) / seconds
    return len(batches) * size / seconds, times[len(times) // 2], times[int(0.99 * len(times))], share


class StatementTimes:
    """Time from each kind of statement to the next one: the server's, and what the client does with the answer."""

    def __init__(self) -> None:
        self.seconds: collections.Counter[str] = collections.Counter()
        self._kind, self._since = "", time.perf_counter()

    def __call__(self, statement: str) -> None:
        now = time.perf_counter()
        self.seconds[self._kind] += now - self._since
        self._kind, self._since = " ".join(statement.split()[:6])[:60], now

    def show(self, messages: int) -> None:
        """Microseconds per message, the longest first."""
        for kind, seconds in self.seconds.most_common(7):
            print(f"{1e6 * seconds / messages:8.1f} us  {kind or '(before the first)'}")


def make_groups(database: MySQLDatabase) -> None:
    """The groups of all shapes."""
    members = MySQLMembershipStore(database)
    for number in range(max(groups for groups, _ in SHAPES)):
        try:
            members.create_group(Group(group(number), "A group"), owner_id=None)
        except ThrongError:
            members.get_group(group(number))


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = MariaDBServer(pathlib.Path(folder) / "mariadb")
        server.start()
        try:
            server.create_database("commits")
            hosts, user, name = parse_url(server.url("commits"))
            access = MySQLAccess(hosts, user, name, timeout_seconds=30.0)
            migrate(access, mysql_schemas())
            times = StatementTimes()
            database = MySQLDatabase(access, observe_statement=times if arguments.profile else None)
            make_groups(database)
            print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores\n")
            print("| groups | per commit | messages/s | of raw inserts | p50 ms | p99 ms | client's core |\n| --- |" + " --- |" * 6)
            for groups, size in SHAPES:
                raw = measure_raw(database, arguments.messages, size)
                rate, p50, p99, share = measure(database, groups, size, arguments.messages)
                print(f"| {groups} | {size} | {rate:,.0f} | {rate / raw:.0%} of {raw:,.0f} | {p50:.1f} | {p99:.1f} | {share:.0%} |")
            if arguments.profile:
                for groups in (500, 1):
                    times.seconds.clear()
                    measure(database, groups, 500, arguments.messages)
                    print(f"\n500 messages per commit to {groups} group(s), per message from one statement to the next:")
                    times.show(arguments.messages)
                profile = cProfile.Profile()
                profile.runcall(measure, database, 500, 500, arguments.messages)
                pstats.Stats(profile).sort_stats("tottime").print_stats(15)
            database.close()
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
