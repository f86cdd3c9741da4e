"""Measures what a storm of senders does to those who are let in, and to the services behind the edges.

A cluster with Kafka, MariaDB and Redis; one open group with a budget; senders that offer 1, 10 and 100 times the budget at random moments,
and one who mentions somebody twice a second (the HIGH lane). What is refused is not sent again: the offered load is what it says. Beside it, in the same run, the
same load at once the budget: ratios are to that. The load client is one process of plain sockets on the same cores. Ends by itself.

    python tests/load/bench_storm_send.py [--budget 100] [--times 1,10,100] [--policies reject,sample] [--senders 1000] [--edges 1]
        [--seconds 10] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import random
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import grpc
from crowd import Crowd, Member, cpu_seconds

from throng.adapters.jwt_tokens import TokenIssuer
from throng.adapters.protobuf_wire import varint
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc
from throng.cluster import Cluster, ClusterPlan

WARM_SECONDS = 4.0
SETTLE_SECONDS = 3.0
HIGH_PER_SECOND = 2.0
TEXT = "what so many people say at the same time, in a sentence of an ordinary length"
_FIELDS = client_pb2.ServerFrame.DESCRIPTOR.fields_by_name
_ACK, _REJECT = (_FIELDS[name].number << 3 | 2 for name in ("ack", "reject"))
_REQUEST_ID = _FIELDS["request_id"].number << 3
_PLACEHOLDER = "00000000-0000-4000-8000-000000000000"


@dataclass
class Tally:
    """What came of the messages of one load, those of the window only."""

    acked: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    offered: int = 0
    high_offered: int = 0
    high_acked: list[float] = field(default_factory=list)


@dataclass
class Row:
    """One load. Per second where nothing else is said; latencies in milliseconds, CPU in seconds per second."""

    policy: str
    times: float
    offered: float
    acked: float
    ack_p50: float
    ack_p99: float
    refused: float
    refusal_p99: float
    high_acked_percent: float
    high_p99: float
    into_the_log: float
    retry_max_ms: int
    edges_cpu: float
    behind_cpu: float
    client_cpu: float


class Template:
    """A message whose id and request_id are put in; its frame has a mask of noughts, which changes nothing."""

    def __init__(self, group_id: str, mentions: list[str]) -> None:
        text = message_pb2.Text(text=TEXT)
        send = client_pb2.Send(group_id=group_id, client_msg_id=_PLACEHOLDER, text=text, mentions=mentions)
        self._front, self._back = client_pb2.ClientFrame(send=send).SerializeToString().split(_PLACEHOLDER.encode())
        self._back += bytes((client_pb2.ClientFrame.DESCRIPTOR.fields_by_name["request_id"].number << 3,))

    def frame(self, number: int, run: int) -> bytes:
        """The whole frame of message `number`."""
        payload = b"%b%08x-0000-4000-8000-%012x%b%b" % (self._front, number, run, self._back, varint(number))
        return b"\x82\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


class Storm(Crowd):
    """Senders that say what is due and note what they are answered."""

    def begin(self, group_id: str, run: int) -> None:
        """A new load begins."""
        self.run = run
        self.sent_at = [0.0]
        self.high: set[int] = set()
        self.window = (float("inf"), float("inf"))
        self.tally = Tally()
        self.retry_max_ms = 0
        self.normal, self.mentioning = Template(group_id, []), Template(group_id, ["somebody"])

    def adopt(self, other: Storm) -> None:
        """Serves the clients of another edge too."""
        for fd, member in other.members.items():
            other._epoll.unregister(fd)
            self._epoll.register(fd, select.EPOLLIN)
            self.members[fd] = member
        other.members = {}

    def offer(self, member: Member, *, high: bool = False) -> None:
        """One message."""
        number = len(self.sent_at)
        now = time.monotonic()
        self.sent_at.append(now)
        if high:
            self.high.add(number)
        if self.window[0] <= now < self.window[1]:
            if high:
                self.tally.high_offered += 1
            else:
                self.tally.offered += 1
        member.sock.send((self.mentioning if high else self.normal).frame(number, self.run))

    def _frame(self, member: Member, opcode: int, payload: bytes) -> None:
        if opcode != 2 or not member.entered:
            super()._frame(member, opcode, payload)
            return
        if payload[0] != _REQUEST_ID:
            return
        number, shift, at = 0, 0, 1
        while True:
            byte = payload[at]
            number |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        now = time.monotonic()
        if not self.window[0] <= now < self.window[1] + SETTLE_SECONDS:
            return
        latency, tally = now - self.sent_at[number], self.tally
        if payload[at] == _ACK:
            if number in self.high:
                if self.window[0] <= self.sent_at[number] < self.window[1]:
                    tally.high_acked.append(latency)
            elif now < self.window[1]:
                tally.acked.append(latency)
        elif payload[at] == _REJECT and now < self.window[1]:
            tally.refused.append(latency)
            if not len(tally.refused) % 64:
                reject = client_pb2.ServerFrame.FromString(payload).reject
                self.retry_max_ms = max(self.retry_max_ms, reject.retry_after_ms)

    def storm(self, members: list[Member], rate: float, seconds: float) -> float:
        """Offers `rate` messages per second in all for so long; returns how long the client was at work meanwhile, CPU seconds."""
        source = random.Random(self.run)
        busy, speaker = time.process_time(), members[0]
        now = time.monotonic()
        due, high_due, end = now, now, now + seconds
        while now < end:
            while due <= now:
                self.offer(members[1 + int(source.random() * (len(members) - 1))])
                due += source.expovariate(rate)
            if high_due <= now:
                self.offer(speaker, high=True)
                high_due += 1 / HIGH_PER_SECOND
            self.pump(min(0.002, max(0.0, min(due, end) - time.monotonic())))
            now = time.monotonic()
        return time.process_time() - busy


class Measured:
    """CPU and log counters of a cluster's parts."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        described = cluster.describe()
        self._edges = [part["pid"] for part in described["services"].values() if part["kind"] == "edge"]
        self._behind = [part["pid"] for part in described["services"].values() if part["kind"] != "edge"]
        self._behind += [part["pid"] for part in described["backends"].values()]

    def read(self) -> tuple[float, float, float, float]:
        """(now, CPU of the edges, CPU of all behind them, submissions that went into the log)."""
        appended = 0.0
        for edge in self._cluster.of("edge"):
            try:
                appended += self._cluster.metric("throng_edge_submissions_total", edge.name, outcome="submitted")
            except KeyError:
                continue
        return time.monotonic(), sum(map(cpu_seconds, self._edges)), sum(map(cpu_seconds, self._behind)), appended


def make_group(address: str, group_id: str, budget: int, policy: str) -> None:
    settings = common.GroupSettings(
        open=True, send_interval_ms=0, budget_per_second=budget, block_max_messages=100, block_interval_ms=1_000
    )
    if policy == "sample":
        settings.over_budget = common.OVER_BUDGET_SAMPLE
    with grpc.insecure_channel(address) as channel:
        request = group_pb2.CreateGroupRequest(group_id=group_id, settings=settings)
        group_pb2_grpc.GroupServiceStub(channel).CreateGroup(request, timeout=20)


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0


def measure(
    cluster: Cluster,
    storm: Storm,
    members: list[Member],
    group_id: str,
    policy: str,
    times: float,
    run: int,
    plan: argparse.Namespace,
) -> Row:
    """One load: warm up, a window of `seconds`, a moment to settle."""
    measured, seconds = Measured(cluster), plan.seconds
    rate = plan.budget * times
    storm.begin(group_id, run)
    storm.storm(members, rate, WARM_SECONDS)
    began, edges, behind, appended = measured.read()
    storm.window = (began, began + seconds)
    busy = storm.storm(members, rate, seconds)
    ended, edges_after, behind_after, appended_after = measured.read()
    storm.pump(SETTLE_SECONDS)
    tally, length = storm.tally, ended - began
    return Row(
        policy=policy,
        times=times,
        offered=tally.offered / seconds,
        acked=len(tally.acked) / seconds,
        ack_p50=percentile(tally.acked, 0.5),
        ack_p99=percentile(tally.acked, 0.99),
        refused=len(tally.refused) / seconds,
        refusal_p99=percentile(tally.refused, 0.99),
        high_acked_percent=100 * len(tally.high_acked) / max(1, tally.high_offered),
        high_p99=percentile(tally.high_acked, 0.99),
        into_the_log=(appended_after - appended) / length,
        retry_max_ms=storm.retry_max_ms,
        edges_cpu=(edges_after - edges) / length,
        behind_cpu=(behind_after - behind) / length,
        client_cpu=busy / length,
    )


def medians(rows: list[Row]) -> list[Row]:
    """One row for each load: the median of its rounds, figure by figure."""
    rounds: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        rounds.setdefault((row.policy, row.times), []).append(row)
    whole = []
    for (policy, times), same in rounds.items():
        figures = [asdict(row) for row in same]
        middle = {name: statistics.median(each[name] for each in figures) for name in figures[0] if name not in ("policy", "times")}
        whole.append(Row(policy=policy, times=times, **middle))
    return whole


def show(rows: Iterable[Row]) -> str:
    lines = [
        "| policy | offered, of the budget | offered/s | ACKs/s | to once the budget | ACK p50, p99 ms | refused/s | refusal p99 ms "
        "| HIGH ACKed, p99 ms | into the log/s | CPU behind the edges | to once | CPU of the edges | client |",
        "| --- " * 14 + "|",
    ]
    first: dict[str, Row] = {}
    for row in rows:
        base = first.setdefault(row.policy, row)
        lines.append(
            f"| {row.policy} | {row.times:g}× | {row.offered:.0f} | {row.acked:.1f} | {row.acked / max(base.acked, 1e-9):.2f} "
            f"| {row.ack_p50:.0f}, {row.ack_p99:.0f} | {row.refused:.0f} | {row.refusal_p99:.1f} "
            f"| {row.high_acked_percent:.0f} %, {row.high_p99:.0f} | {row.into_the_log:.1f} | {row.behind_cpu:.2f} "
            f"| {row.behind_cpu / max(base.behind_cpu, 1e-9):.2f} | {row.edges_cpu:.2f} | {row.client_cpu:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Runs every load of every policy; returns 1 when an ACK did not come although the share was there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--times", type=lambda text: [float(part) for part in text.split(",")], default=[1.0, 10.0, 100.0])
    parser.add_argument("--policies", type=lambda text: text.split(","), default=["reject", "sample"])
    parser.add_argument("--senders", type=int, default=1_000)
    parser.add_argument("--edges", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3, help="every load so many times, one after the other; the median counts")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}", flush=True)
    plan = ClusterPlan(edges=arguments.edges, routers=1, groups=1, flags={"edge": {"min_send_interval_ms": "0"}})
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, Cluster(pathlib.Path(folder), plan) as cluster:
        issuer = TokenIssuer.from_file(cluster.key_file)
        for number, policy in enumerate(arguments.policies):
            group_id = f"storm-{policy}"
            make_group(cluster.of("group")[0].addresses.grpc, group_id, arguments.budget, policy)
            storms = [Storm(url.removeprefix("http://"), issuer) for url in cluster.edge_urls()]
            members: list[Member] = []
            for place, storm in enumerate(storms):
                count = (arguments.senders + 1) // len(storms)
                storm.prepare(f"sender-{policy}-{place}-{each}" for each in range(count))
                members += storm.come_all(count, group_id, delivery="notify")
            for other in storms[1:]:
                storms[0].adopt(other)
            storms[0].pump(3.0)
            for place, times in enumerate(arguments.times * arguments.rounds):
                rows.append(measure(cluster, storms[0], members, group_id, policy, times, 1 + 100 * number + place, arguments))
                print(show(rows[-1:]).splitlines()[-1], f"largest retry time {rows[-1].retry_max_ms} ms", flush=True)
            for storm in storms:
                storm.close()
    print("\n" + show(medians(rows)))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0 if all(row.acked > 0 for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
