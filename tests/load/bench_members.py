"""Measures a group of a million members on MySQL: joining in bulk, counting, paging, looking up, beside the same at a thousand members.

Starts a MariaDB of its own in a temporary folder unless a url is given (its tables must be there and empty). The raw rate of multi-row inserts
into the same table by the same driver stands beside the store's. Other load on the machine moves all figures: read the ratios, and the rows per CPU second of
server and client together, which say what one core can do. Ends by itself.

    python tests/load/bench_members.py [--members 1000000] [--url mysql://user@host:port/database] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from group_svc.adapters import mysql_rows
from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import migrate
from throng.cli.migrations import mysql_schemas
from throng.domain.group import Group, Member
from throng.domain.ids import GroupId, UserId
from throng.testing.servers import MariaDBServer

PER_CALL = 1_000
RAW_ROWS = 100_000
ROUNDS = 200


@dataclasses.dataclass
class Figures:
    """What was measured; times in milliseconds are medians of single calls."""

    machine: str
    members: int
    raw_rows_per_second: float = 0.0
    joined_per_second: float = 0.0
    joined_per_cpu_second: float = 0.0
    joined_per_second_by_tenth: list[float] = dataclasses.field(default_factory=list)
    calls_ms: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    rows_read: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def database_of(url: str) -> Iterator[MySQLDatabase]:
    """The database under test."""
    with contextlib.ExitStack() as exit_stack:
        if not url:
            folder = pathlib.Path(exit_stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)
            server = MariaDBServer(folder / "mariadb")
            server.start()
            exit_stack.callback(server.stop)
            server.create_database("members")
            url = server.url("members")
        hosts, user, name = parse_url(url)
        access = MySQLAccess(hosts, user, name, timeout_seconds=30.0)
        migrate(access, mysql_schemas())
        database = MySQLDatabase(access)
        exit_stack.callback(database.close)
        yield database


def cpu_seconds(database: MySQLDatabase) -> float:
    """CPU time of this process and of the server, where it runs on this machine."""
    file = database.read(lambda statements: statements.row("SELECT @@hostname, @@pid_file, @@datadir"))
    assert file is not None
    pid_file = pathlib.Path(file[2]) / file[1]
    own = time.process_time()
    if not pid_file.exists():
        return own
    fields = pathlib.Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text().rpartition(")")[2].split()
    return own + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def user(number: int) -> UserId:
    """Ids as they come in life: in no order."""
    return UserId(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))))


def measure_raw(database: MySQLDatabase) -> float:
    """Rows per second of the same multi-row insert without the store around it."""
    rows = [mysql_rows.member_row(GroupId("raw"), 0, Member(user(number))) for number in range(RAW_ROWS)]
    started = time.perf_counter()
    for start in range(0, RAW_ROWS, PER_CALL):
        database.write(lambda statements, start=start: statements.insert(mysql_rows.INSERT_MEMBERS, rows[start : start + PER_CALL]))
    return RAW_ROWS / (time.perf_counter() - started)


def join(store: MySQLMembershipStore, group_id: GroupId, members: int) -> list[float]:
    """Joins in bulk; rates of each tenth of the way."""
    store.create_group(Group(group_id, group_id), owner_id=None)
    rates: list[float] = []
    tenth = max(PER_CALL, members // 10)
    started, done = time.perf_counter(), 0
    for start in range(0, members, PER_CALL):
        part = [Member(user(number)) for number in range(start, min(members, start + PER_CALL))]
        added, count = store.add_members(group_id, part)
        assert (added, count) == (len(part), start + len(part))
        done += added
        if done >= tenth:
            rates.append(done / (time.perf_counter() - started))
            started, done = time.perf_counter(), 0
    return rates


def calls(store: MySQLMembershipStore, group_id: GroupId, members: int) -> dict[str, Callable[[], object]]:
    """What is asked of a group, at places all over it."""
    some = lambda: user(random.randrange(members))  # noqa: E731
    return {
        "count": lambda: store.get_group(group_id).member_count,
        "page of 100": lambda: store.list_members(group_id, after_user_id=some(), limit=100),
        "look up 1": lambda: store.get_memberships([(group_id, some())]),
        "look up 100": lambda: store.get_memberships([(group_id, some()) for _ in range(100)]),
        "groups of a user": lambda: store.list_user_groups(some(), after_group_id="", limit=100),
        "join and leave": lambda: (
            store.add_members(group_id, [Member(UserId("guest"))]),
            store.remove_members(group_id, [UserId("guest")]),
        ),
    }


def rows_read(database: MySQLDatabase) -> int:
    """Rows that this thread's connection has read so far, as the server counts."""
    found = database.read(lambda statements: statements.rows("SHOW SESSION STATUS LIKE 'Handler_read%'"))
    return sum(int(value) for name, value in found if name not in ("Handler_read_retry", "Handler_read_rnd_deleted"))


def measure_calls(database: MySQLDatabase, figures: Figures, group_id: GroupId, members: int) -> None:
    """Times each call, and counts the rows that it reads."""
    title = f"{members:,}"
    idle = -rows_read(database) + rows_read(database)
    for name, call in calls(MySQLMembershipStore(database), group_id, members).items():
        call()
        before, times = rows_read(database), []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            call()
            times.append(1_000 * (time.perf_counter() - started))
        figures.rows_read.setdefault(name, {})[title] = (rows_read(database) - before - idle) / ROUNDS
        figures.calls_ms.setdefault(name, {})[title] = statistics.median(times)


def show(figures: Figures) -> None:
    """The figures for people."""
    joined, raw = figures.joined_per_second, figures.raw_rows_per_second
    print(f"{figures.machine}\n\njoined in bulk: {joined:,.0f}/s ({joined / raw:.0%} of the raw inserts' {raw:,.0f}/s)")
    print(f"per CPU second of server and client: {figures.joined_per_cpu_second:,.0f}")
    print("by tenth: " + ", ".join(f"{rate:,.0f}" for rate in figures.joined_per_second_by_tenth))
    titles = list(next(iter(figures.calls_ms.values())))
    print("\n| call | " + " | ".join(f"{title} members: ms | rows read" for title in titles) + " |")
    print("| --- |" + " --- | --- |" * len(titles))
    for name, times in figures.calls_ms.items():
        print(f"| {name} | " + " | ".join(f"{times[title]:.2f} | {figures.rows_read[name][title]:.1f}" for title in titles) + " |")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--url", default="", help="a database of your own; its user may make tables")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    machine = f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    figures = Figures(machine=machine, members=arguments.members)
    with database_of(arguments.url) as database:
        figures.raw_rows_per_second = measure_raw(database)
        store = MySQLMembershipStore(database)
        join(store, GroupId("small"), PER_CALL)
        measure_calls(database, figures, GroupId("small"), PER_CALL)
        started, cpu = time.perf_counter(), cpu_seconds(database)
        figures.joined_per_second_by_tenth = join(store, GroupId("large"), arguments.members)
        figures.joined_per_second = arguments.members / (time.perf_counter() - started)
        figures.joined_per_cpu_second = arguments.members / (cpu_seconds(database) - cpu)
        measure_calls(database, figures, GroupId("large"), arguments.members)
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(dataclasses.asdict(figures), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
