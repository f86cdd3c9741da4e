"""Measures what one hot group does to a thousand small ones: time from submitting to ACK, with it and without, in one run.

Two stages. *Write path*: one group service without edges and log, over a MariaDB and a Redis of its own, with groups that take turns before
the writer, and beside it with one queue for all, as it was before. *Cluster*: everything from WebSocket to MariaDB, with Kafka; phases
of silence and heat in turn, while the small groups talk through all of them. `throng bench` drives and judges the hot group, `small_groups.py` the
small ones. The load runs on the same cores. Ends by itself.

    python tests/load/bench_hot_group.py [--groups 1000] [--small-rate 200] [--seconds 10] [--pairs 8] [--skip-cluster] [--skip-write-path]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import platform
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from cluster_load import plan_for
from crowd import cpu_seconds
from prometheus_client import CollectorRegistry
from small_groups import SmallGroups, create_groups

from group_svc import write_path
from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.redis_recent_messages import RedisRecentMessages
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.core.commit_queue import CommitQueue, _Line
from group_svc.core.pending import Pending
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication, BlockPublication, PublicationItem
from throng.adapters.jwt_tokens import TokenIssuer
from throng.adapters.memory_uplink import MemoryUplink
from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_migrations import migrate
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.adapters.system_clock import SystemClock
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.common.v1 import message_pb2
from throng.bench import BenchReport, BenchRun
from throng.cli.migrations import mysql_schemas
from throng.cluster import Cluster, ClusterPlan
from throng.domain.group import Group, GroupSettings, Member
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission
from throng.testing.servers import MariaDBServer, RedisServer

HOT = GroupId("hot")
BODY = message_pb2.Message(text=message_pb2.Text(text="x" * 200)).SerializeToString()
UNLIMITED = GroupSettings(send_interval_ms=0, budget_per_second=0)
BUDGET = 20
OVER = 20


class OneQueue(CommitQueue):
    """As it was: one line for all groups, HIGH before NORMAL."""

    def _place(self, item: Pending) -> None:
        everybody = self._lines.setdefault(GroupId("everybody"), _Line(GroupId("everybody")))
        if not self._turns:
            self._turns.append(everybody)
        everybody.place(item)
        self._length += 1


class Answers:
    """`Publisher`, `UnreadObserver`, `AnswerWaiters` and `AnswerForwarder` that note when a submission was answered."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.refused = 0

    def publish(self, items: Sequence[PublicationItem]) -> None:
        now = time.perf_counter()
        for item in items:
            if isinstance(item, AnswerPublication):
                self.times[item.client_msg_id] = now
                self.refused += item.error is not None

    def observe(self, block: BlockPublication) -> None: ...

    def deliver(self, answer: AnswerPublication) -> bool:
        return False

    def forward(self, answer: AnswerPublication) -> bool:
        return False


@dataclass
class Hot:
    """What the hot group does: submissions per second, all at once every `burst_seconds` or evenly (0); its budget, 0: none."""

    name: str
    rate: float
    budget: int = 0
    burst_seconds: float = 0.0


WRITE_PATH_CASES = (
    Hot("none", 0),
    Hot("at its budget of 20/s", 20, BUDGET),
    Hot("100 times over it: 2,000/s in the log", 2_000, BUDGET),
    Hot("no budget, bursts of 4,000 every 2 s", 2_000, 0, burst_seconds=2.0),
    Hot("none", 0),
)


@contextlib.contextmanager
def stores(folder: pathlib.Path) -> Iterator[tuple[MySQLDatabase, RedisThreads]]:
    mariadb, redis = MariaDBServer(folder / "mariadb"), RedisServer(folder / "redis")
    mariadb.start()
    redis.start()
    try:
        mariadb.create_database("hot")
        hosts, user, name = parse_url(mariadb.url("hot"))
        access = MySQLAccess(hosts, user, name, timeout_seconds=30.0)
        migrate(access, mysql_schemas())
        database, threads = MySQLDatabase(access), RedisThreads(RedisAccess(redis.url))
        yield database, threads
        database.close()
        threads.close()
    finally:
        redis.stop()
        mariadb.stop()


def make_groups(database: MySQLDatabase, count: int) -> None:
    members = MySQLMembershipStore(database)
    for number in range(count):
        members.create_group(Group(GroupId(f"small-{number}"), "Small", settings=UNLIMITED), owner_id=None)
        members.add_members(GroupId(f"small-{number}"), [Member(UserId(f"user-{number}"))])
    members.create_group(Group(HOT, "Hot", settings=UNLIMITED), owner_id=None)
    members.add_members(HOT, [Member(UserId(f"user-{number}")) for number in range(1_000)])


def submission(group_id: GroupId, user: int) -> Submission:
    origin = Origin(EdgeId("edge"), 1, ConnId("conn"))
    return Submission(
        group_id, UserId(f"user-{user}"), str(uuid.uuid4()), MessageKind.TEXT, BODY, origin, received_at_ms=int(time.time() * 1_000)
    )


def drive(uplink: MemoryUplink, hot: Hot, arguments: argparse.Namespace) -> tuple[dict[str, float], int]:
    """Appends for so many seconds; returns when each message of a small group was submitted, and how many of the hot one were."""
    sent: dict[str, float] = {}
    random.seed(1)
    started = time.perf_counter()
    small_count = hot_count = 0
    while (elapsed := time.perf_counter() - started) < arguments.seconds:
        due = elapsed - elapsed % hot.burst_seconds if hot.burst_seconds else elapsed
        while hot_count < hot.rate * due:
            uplink.append(submission(HOT, hot_count % 1_000), lambda error: None)
            hot_count += 1
        while small_count < arguments.small_rate * elapsed:
            number = random.randrange(arguments.groups)
            one = submission(GroupId(f"small-{number}"), number)
            sent[one.client_msg_id] = time.perf_counter()
            uplink.append(one, lambda error: None)
            small_count += 1
        time.sleep(0.001)
    return sent, hot_count


def measure_write_path(database: MySQLDatabase, redis: RedisThreads, hot: Hot, arguments: argparse.Namespace) -> str:
    """One row: latencies of small groups in ms."""
    members = MySQLMembershipStore(database)
    settings = GroupSettings(send_interval_ms=0, budget_per_second=hot.budget)
    members.update_group(HOT, name=None, announcement=None, settings=settings)
    uplink, answers = MemoryUplink(), Answers()
    ports = write_path.WritePathPorts(
        consumer=uplink,
        messages=MySQLMessageStore(database),
        groups=members,
        recent=RedisRecentMessages(redis),
        publisher=answers,
        observer=answers,
        waiters=answers,
        forwarder=answers,
        inspector=ProtoBodyInspector(),
        safety=WordListSafety(()),
        clock=SystemClock(),
    )
    path = write_path.WritePath(ports, GroupMetrics(CollectorRegistry()))
    path.start()
    try:
        sent, hot_count = drive(uplink, hot, arguments)
        deadline = time.monotonic() + 30
        while len(answers.times) < len(sent) + hot_count and time.monotonic() < deadline:
            time.sleep(0.01)
        spent = sorted(1_000 * (answers.times[one] - at) for one, at in sent.items() if one in answers.times)
        lost = len(sent) + hot_count - len(answers.times)
    finally:
        path.stop(10.0)
        uplink.close(1.0)
    return (
        f"{len(sent)} | {hot_count - answers.refused} | {answers.refused} | {spent[len(spent) // 2]:.1f}"
        f" | {spent[int(0.99 * len(spent))]:.1f} | {spent[-1]:.0f} | {lost}"
    )


def run_write_path(arguments: argparse.Namespace) -> None:
    print(f"\nWrite path alone: {arguments.groups} small groups, {arguments.small_rate:g} messages/s in all; ms of small groups\n")
    print("| queue | the hot group | small messages | hot stored | hot refused | p50 | p99 | max | lost |\n|" + " --- |" * 9)
    kinds: dict[str, Callable[[], CommitQueue]] = {"turns": CommitQueue, "one queue": OneQueue}
    with tempfile.TemporaryDirectory() as folder, stores(pathlib.Path(folder)) as (database, redis):
        make_groups(database, arguments.groups)
        for name, make in kinds.items():
            write_path.CommitQueue = make  # type: ignore[misc,assignment]
            for hot in WRITE_PATH_CASES:
                print(f"| {name} | {hot.name} | {measure_write_path(database, redis, hot, arguments)} |", flush=True)
    write_path.CommitQueue = CommitQueue  # type: ignore[misc]


# The whole cluster ----------------------------------------------------------------------------------------------------

SILENT, AT_BUDGET, FAR_OVER = "silent", "at its budget", f"{OVER} times over it"
FACTORS = {SILENT: 0.0, AT_BUDGET: 1.0, FAR_OVER: float(OVER)}
WARMING = 2


@dataclass
class Phase:
    """A stretch of time with the hot group as it is named: its ends on the monotonic clock, and CPU seconds by process at both."""

    name: str
    start_ns: int = 0
    end_ns: int = 0
    cpu_before: dict[str, float] = field(default_factory=dict)
    cpu_after: dict[str, float] = field(default_factory=dict)

    def cpu(self) -> dict[str, float]:
        """Share of a core per process, percent."""
        seconds = (self.end_ns - self.start_ns) / 1e9
        return {name: 100 * (used - self.cpu_before[name]) / seconds for name, used in self.cpu_after.items()}


def phases_of(arguments: argparse.Namespace) -> list[Phase]:
    """Warming up, then pairs of silence and heat, every second one the other way round, so that no drift takes a side."""
    names = [SILENT] * WARMING
    for place, hot in enumerate([AT_BUDGET] * arguments.pairs + [FAR_OVER] * arguments.pairs_over):
        names += [SILENT, hot] if place % 2 == 0 else [hot, SILENT]
    return [Phase(name) for name in names]


def pids_of(cluster: Cluster) -> dict[str, int]:
    described = cluster.describe()
    pids = {name: int(part["pid"]) for name, part in {**described["services"], **described["backends"]}.items()}
    workers = [
        int(path.parent.name)
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
        if b"throng.bench.worker" in path.read_bytes() and f"PPid:\t{os.getpid()}\n" in (path.parent / "status").read_text()
    ]
    return pids | {f"hot client {place}": pid for place, pid in enumerate(workers, 1)} | {"small client": os.getpid()}


def cpu_of(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds so far, by process; of the whole machine; and what its host took away from it."""
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, soft, stolen = (int(field) / tick for field in file.readline().split()[1:9])
    whole = {"whole machine": user + nice + system + irq + soft, "stolen": stolen}
    return {name: cpu_seconds(pid) for name, pid in pids.items()} | whole


def talk(phases: Sequence[Phase], small: SmallGroups, begin_ns: int, pids: dict[str, int], seconds: float) -> None:
    """Has the small groups talk through all phases, which the hot group's client changes by itself."""
    small.talk_until(begin_ns)
    for place, phase in enumerate(phases):
        phase.start_ns = begin_ns + int(place * seconds * 1e9)
        phase.end_ns = phase.start_ns + int(seconds * 1e9)
        phase.cpu_before = cpu_of(pids)
        small.talk_until(phase.end_ns)
        phase.cpu_after = cpu_of(pids)


def measure_cluster(cluster: Cluster, arguments: argparse.Namespace, small: SmallGroups, phases: list[Phase]) -> BenchReport:
    """Runs all phases; returns the hot group's report."""
    plan = plan_for(
        cluster,
        group_ids=(HOT,),
        receivers=arguments.hot_receivers,
        senders=50,
        rate=BUDGET,
        rate_steps=tuple(FACTORS[phase.name] for phase in phases),
        seconds=len(phases) * arguments.seconds,
        workers=1,
        ramp=500,
        settle_seconds=30,
        max_attempts=1,
    )
    with BenchRun(plan) as hot_run:
        if not hot_run.wait_sending(60):
            raise TimeoutError("the hot group's people did not all get in")
        begin_ns = time.monotonic_ns() + 200_000_000  # `throng bench` begins 200 ms after it has said so
        pids = pids_of(cluster)
        for name, pid in pids.items():
            if name.startswith("hot client"):
                os.setpriority(os.PRIO_PROCESS, pid, arguments.hot_client_nice)
        talk(phases, small, begin_ns, pids, arguments.seconds)
        small.settle(20.0)
        return hot_run.wait(120)


def sample(small: SmallGroups, phase: Phase) -> list[float]:
    """Times to ACK of a phase, without its first second, in which blocks of the one before may be on their way."""
    return sorted(small.within(phase.start_ns + 1_000_000_000, phase.end_ns))


def at(sorted_ms: Sequence[float], part: float) -> float:
    """A percentile."""
    return sorted_ms[min(int(part * len(sorted_ms)), len(sorted_ms) - 1)] if sorted_ms else 0.0


def hot_acked(report: BenchReport, phases: Sequence[Phase]) -> float:
    """ACKs per second of the hot group in some phases."""
    slots = {slot.index: slot.acked for slot in report.slots}
    seconds = sum(phase.end_ns - phase.start_ns for phase in phases) / 1e9
    acked = 0
    for phase in phases:
        first = (phase.start_ns - report.origin_ns) // 100_000_000
        acked += sum(slots.get(index, 0) for index in range(first, (phase.end_ns - report.origin_ns) // 100_000_000))
    return acked / seconds


def print_cluster(small: SmallGroups, phases: Sequence[Phase], report: BenchReport) -> None:
    print("| the hot group | phases | small ACKed | hot ACKed/s | p50 | p90 | p99 | max |\n|" + " --- |" * 8)
    for name in FACTORS:
        some = [phase for phase in phases if phase.name == name]
        if not some:
            continue
        whole = sorted(ms for phase in some for ms in sample(small, phase))
        figures = " | ".join(f"{value:.1f}" for value in (at(whole, 0.5), at(whole, 0.9), at(whole, 0.99), whole[-1]))
        print(f"| {name} | {len(some)} | {len(whole)} | {hot_acked(report, some):.1f} | {figures} |")
    print()
    for hot in (AT_BUDGET, FAR_OVER):
        pairs = [pair for pair in zip(phases[::2], phases[1::2], strict=True) if hot in (pair[0].name, pair[1].name)]
        for part in (0.5, 0.9, 0.99) if pairs else ():
            ratios = []
            for pair in pairs:
                cold, warm = sorted(pair, key=lambda phase: phase.name == hot)
                ratios.append(at(sample(small, warm), part) / at(sample(small, cold), part))
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{hot}, p{part * 100:.0f} against silence beside it: median {statistics.median(ratios):.2f} of {each}")
    print("\nCPU, percent of a core: " + "; ".join(f"{name}: {cpu_line(phases, name)}" for name in phases[0].cpu()))


def cpu_line(phases: Sequence[Phase], process: str) -> str:
    shares = {name: [phase.cpu()[process] for phase in phases if phase.name == name] for name in FACTORS}
    return " / ".join(f"{statistics.mean(values):.1f}" for values in shares.values() if values)


def run_cluster(arguments: argparse.Namespace) -> bool:
    print(f"\nCluster: {arguments.groups} small groups of one, {arguments.small_rate:g} messages/s in all; hot group of")
    print(f"{arguments.hot_receivers} receivers and 50 senders, budget {BUDGET}/s, there in all rows; ms of small groups\n")
    small = SmallGroups(arguments.small_rate)
    phases = phases_of(arguments)
    names = [f"small-{number}" for number in range(arguments.groups)]
    plan = ClusterPlan(edges=2, routers=1, groups=2)
    with tempfile.TemporaryDirectory() as folder, Cluster(pathlib.Path(folder), plan) as cluster:
        address = cluster.of("group")[0].addresses.grpc
        create_groups(address, names)
        create_groups(address, [HOT], common_pb2.GroupSettings(open=True, send_interval_ms=0, budget_per_second=BUDGET))
        addresses = [url.split("//", 1)[1].rstrip("/") for url in cluster.edge_urls()]
        small.enter(addresses, TokenIssuer.from_file(cluster.key_file), names)
        report = measure_cluster(cluster, arguments, small, phases)
        small.close()
    print_cluster(small, phases[WARMING:], report)
    late = sorted(small.lateness_ms)
    print(f"small client late by (p50, p99): {at(late, 0.5):.1f}, {at(late, 0.99):.1f} ms; hot group: {report.verdict.name}")
    print(f"small groups: {len(small.answered)} ACKed, wrong: {dict(small.wrong) or 'nothing'}", flush=True)
    return not small.wrong and not any(count for kind, count in report.counts.items() if kind.is_fault)


def main() -> int:
    """Runs both stages; returns 1 when a message of a small group was lost, doubled or out of order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--small-rate", type=float, default=200.0)
    parser.add_argument("--hot-receivers", type=int, default=200)
    parser.add_argument("--hot-client-nice", type=int, default=0, help="priority of the hot group's load client, 0 to 19")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a phase, and of a row of the write path")
    parser.add_argument("--pairs", type=int, default=8, help="of phases: silence, and the hot group at its budget")
    parser.add_argument("--pairs-over", type=int, default=2, help="of phases: silence, and the hot group far over its budget")
    parser.add_argument("--skip-cluster", action="store_true")
    parser.add_argument("--skip-write-path", action="store_true")
    arguments = parser.parse_args()
    print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    if not arguments.skip_write_path:
        run_write_path(arguments)
    good = arguments.skip_cluster or run_cluster(arguments)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
