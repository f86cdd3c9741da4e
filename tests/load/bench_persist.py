"""Measures how many messages a whole cluster persists and ACKs per second, beside its parts alone, in one run on this machine.

Starts a cluster (Kafka, MariaDB, Redis, several of each service) in a temporary folder, and drives it with a client that also judges:
a rate counts only when nothing was lost, doubled or out of order. Beside it: kafka-python alone on the same broker, and multi-row
inserts alone on the same database. The load client runs on the same cores: `--client c` is `submit_client.c`, which takes little of
them; `--client python` is `throng bench`, which judges more (history, sender, repeats) and takes a sixth; `both` takes turns, on one
cluster. Ends by itself.

With `--client c` the connections get whole blocks, so that delivery is judged, too, but in the one group, where every message would go
to all of them: there they ask for heads alone, as the senders of `throng bench` always do. `--delivery` sets it for both.

    python tests/load/bench_persist.py [--rates 2000,4000,5000] [--one-group 1000,1500] [--seconds 15] [--groups 200] [--senders 400]
        [--edges 2] [--routers 1] [--group-services 1] [--client c|python|both] [--delivery inline|notify] [--report FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pathlib
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import pymysql
from cluster_load import plan_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from submit_client import SubmitRun, compile_client

from throng.bench import BenchPlan, BenchReport, BenchRun
from throng.cluster import Cluster, ClusterPlan

_TICK = os.sysconf("SC_CLK_TCK")
_RAW_RECORDS, _RAW_ROWS, _ROWS_PER_INSERT = 40_000, 40_000, 500
_VALUE = b"x" * 300


@dataclass
class Row:
    """One rate and what came of it; milliseconds, CPU microseconds per message and process.

    Attributes:
        client: `c` or `python`.
        idle, stolen: shares of the machine while it was sent, that nobody used and that the host gave to others.
        late_p99, late_max: how late the client itself wrote.
    """

    client: str
    groups: int
    offered: float
    acked: float
    ack_p50: float
    ack_p99: float
    verdict: str
    faults: int
    cpu: dict[str, float]
    client_cpu: float
    idle: float
    stolen: float
    late_p99: float
    late_max: float


def cpu_seconds(pids: dict[str, int]) -> dict[str, float]:
    """User and system time so far, by name of the process."""
    used = {}
    for name, pid in pids.items():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        used[name] = (int(fields[11]) + int(fields[12])) / _TICK
    return used


def pids_of(cluster: Cluster) -> dict[str, int]:
    described = cluster.describe()
    parts: dict[str, Any] = {**described["services"], **described["backends"]}
    return {name: int(part["pid"]) for name, part in parts.items()}


def plan_of(cluster: Cluster, arguments: argparse.Namespace, *, groups: int, rate: float) -> BenchPlan:
    return plan_for(
        cluster,
        groups=groups,
        receivers=arguments.receivers,
        senders=arguments.senders,
        rate=rate,
        seconds=arguments.seconds,
        workers=1,
        ramp=500,
        settle_seconds=60,
        seed=1,
    )


class Window:
    """What processes and the machine used since it was opened."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._cpu, self._machine, self._opened = cpu_seconds(pids), machine_ticks(), time.monotonic()

    def close(self) -> None:
        """Takes the figures."""
        ended, machine = cpu_seconds(self._pids), machine_ticks()
        self.seconds = time.monotonic() - self._opened
        self.cpu = {name: ended[name] - before for name, before in self._cpu.items()}
        ticks = max(1, machine[0] - self._machine[0])
        self.idle, self.stolen = ((after - before) / ticks for after, before in zip(machine[1:], self._machine[1:], strict=True))

    def per_message(self, rate: float) -> dict[str, float]:
        """CPU microseconds by name of the process."""
        return {name: used / max(1.0, rate * self.seconds) * 1e6 for name, used in self.cpu.items()}


def machine_ticks() -> tuple[int, int, int]:
    """Of all cores: ticks in all; idle ones, those that wait for a disk among them; those that the host gave to others."""
    ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4], ticks[7]


def measure(
    cluster: Cluster, arguments: argparse.Namespace, program: pathlib.Path | None, *, groups: int, rate: float
) -> tuple[Row, str]:
    """Drives the cluster at one rate; returns what a person reads as well."""
    if program is None:
        return measure_with_python(cluster, arguments, groups=groups, rate=rate)
    return measure_with_c(cluster, arguments, program, groups=groups, rate=rate)


def measure_with_c(
    cluster: Cluster, arguments: argparse.Namespace, program: pathlib.Path, *, groups: int, rate: float
) -> tuple[Row, str]:
    """By `submit_client.c`."""
    delivery = arguments.delivery or ("inline" if groups > 1 else "notify")
    plan = plan_of(cluster, arguments, groups=groups, rate=rate)
    with SubmitRun(plan, program, program.parent, delivery=delivery) as running:
        running.wait_sending()
        window = Window(pids_of(cluster))
        running.wait_sent()
        window.close()
        found = running.wait()
    row = Row(
        client="c",
        groups=groups,
        offered=rate,
        acked=found.figures["acked_in_time"] / arguments.seconds,
        ack_p50=found.figures["ack_p50_ms"],
        ack_p99=found.figures["ack_p99_ms"],
        verdict=found.verdict.name,
        faults=sum(found.faults.values()),
        cpu=window.per_message(rate),
        client_cpu=found.figures["cpu_seconds"] / max(1, found.figures["submitted"]) * 1e6,
        idle=window.idle,
        stolen=window.stolen,
        late_p99=found.figures["late_p99_ms"],
        late_max=found.figures["late_max_ms"],
    )
    return row, found.summary()


def measure_with_python(cluster: Cluster, arguments: argparse.Namespace, *, groups: int, rate: float) -> tuple[Row, str]:
    """By `throng bench`."""
    with BenchRun(plan_of(cluster, arguments, groups=groups, rate=rate)) as running:
        running.wait_sending(120)
        client, window = os.times(), Window(pids_of(cluster))
        time.sleep(arguments.seconds)
        window.close()
        report = running.wait()
    ended = os.times()
    client_seconds = ended.children_user + ended.children_system - client.children_user - client.children_system
    row = Row(
        client="python",
        groups=groups,
        offered=rate,
        acked=acked_per_second(report, arguments.seconds),
        ack_p50=report.latency.ack.p50_ms,
        ack_p99=report.latency.ack.p99_ms,
        verdict=report.verdict.name,
        faults=sum(count for kind, count in report.counts.items() if kind.is_fault),
        cpu=window.per_message(rate),
        client_cpu=client_seconds / max(1.0, rate * window.seconds) * 1e6,
        idle=window.idle,
        stolen=window.stolen,
        late_p99=report.client.schedule_lag.p99_ms,
        late_max=report.client.schedule_lag.max_ms,
    )
    return row, report.summary()


def acked_per_second(report: BenchReport, seconds: float) -> float:
    """ACKs that came while it was sent, not those that came while everything settled."""
    sending = [slot.index for slot in report.slots if slot.submitted]
    if not sending:
        return 0.0
    last = sending[0] + int(seconds * 10)  # slots of a tenth of a second
    return sum(slot.acked for slot in report.slots if sending[0] <= slot.index < last) / seconds


def raw_kafka(bootstrap: str) -> tuple[float, float]:
    """Records per second that kafka-python alone appends and reads, tuned as ours."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    topic = f"raw-{os.getpid()}"
    admin.create_topics({topic: {"num_partitions": 4, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        linger_ms=20,
        batch_size=262_144,
        compression_type="lz4",
        metrics_enabled=False,
    )
    started = time.monotonic()
    for number in range(_RAW_RECORDS):
        producer.send(topic, _VALUE, b"group-%d" % (number % 200))
    producer.flush(60)
    produced = _RAW_RECORDS / (time.monotonic() - started)
    producer.close()
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    started, read = time.monotonic(), 0
    while read < _RAW_RECORDS and time.monotonic() - started < 60:
        read += sum(map(len, consumer.poll(500, max_records=5_000).values()))
    consumed = read / (time.monotonic() - started)
    consumer.close()
    return produced, consumed


def raw_inserts(port: int) -> float:
    """Rows per second of multi-row inserts alone, each with its own durable commit."""
    connection = pymysql.connect(host="127.0.0.1", port=port, user="root")
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE raw_inserts")
            cursor.execute(
                "CREATE TABLE raw_inserts.row_of_it (g INT, seq INT, id CHAR(36) UNIQUE, body BLOB, PRIMARY KEY (g, seq))"
            )
            started = time.monotonic()
            for first in range(0, _RAW_ROWS, _ROWS_PER_INSERT):
                rows = [(number % 200, number, f"{number:036d}", _VALUE) for number in range(first, first + _ROWS_PER_INSERT)]
                cursor.executemany("INSERT INTO raw_inserts.row_of_it VALUES (%s, %s, %s, %s)", rows)
                connection.commit()
            rate = _RAW_ROWS / (time.monotonic() - started)
            cursor.execute("DROP DATABASE raw_inserts")
    finally:
        connection.close()
    return rate


def spin() -> float:
    """Loops per second of plain Python on one core: tells machines and moments apart."""
    started, loops = time.process_time(), 0
    while time.process_time() - started < 0.5:
        loops += sum(1 for _ in range(1000)) // 1000
    return loops / 0.5


def show(rows: Iterable[Row]) -> str:
    lines = [
        "| client | groups | offered/s | ACKed/s | p50 ms | p99 ms | verdict | faults | CPU µs per message, all but the client | client "
        "| idle, stolen | client late p99, max ms |"
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    lines += [
        f"| {row.client} | {row.groups} | {row.offered:.0f} | {row.acked:.0f} | {row.ack_p50:.0f} | {row.ack_p99:.0f} | {row.verdict} "
        f"| {row.faults} | {sum(row.cpu.values()):.0f} | {row.client_cpu:.0f} | {row.idle:.0%}, {row.stolen:.0%} | {row.late_p99:.0f}, {row.late_max:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=numbers, default=[2_000.0, 4_000.0, 5_000.0])
    parser.add_argument("--one-group", type=numbers, default=[1_000.0, 2_000.0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--senders", type=int, default=400)
    parser.add_argument("--receivers", type=int, default=0, help="with --client python only")
    parser.add_argument("--edges", type=int, default=2)
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--group-services", type=int, default=1)
    parser.add_argument("--client", choices=("c", "python", "both"), default="c")
    parser.add_argument("--delivery", choices=("inline", "notify"), help="of the client in C")
    parser.add_argument("--report", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.client != "python" and arguments.receivers:
        parser.error("receivers need --client python")
    return arguments


def clients(wanted: str, folder: pathlib.Path) -> list[pathlib.Path | None]:
    """The compiled client, and None for the one in Python, which also stands in where nothing can be compiled."""
    program = None if wanted == "python" else compile_client(folder)
    if program is None and wanted != "python":
        print("no C compiler (apt-get install gcc libc6-dev): the client is the one in Python", file=sys.stderr)
    return [program, None] if wanted == "both" and program is not None else [program]


def main() -> int:
    """Runs everything; returns 1 when a message was lost, doubled or out of order."""
    arguments = options()
    plan = ClusterPlan(edges=arguments.edges, routers=arguments.routers, groups=arguments.group_services)
    rows: list[Row] = []
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {spin():.0f} loops of 1,000 per second and core", flush=True
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as built,
        Cluster(pathlib.Path(folder), plan) as cluster,
    ):
        programs = clients(arguments.client, pathlib.Path(built))
        backends = cluster.describe()["backends"]
        produced, consumed = raw_kafka(f"127.0.0.1:{backends['kafka']['port']}")
        inserted = raw_inserts(backends["mariadb"]["port"])
        print(
            f"alone: kafka-python appends {produced:.0f}/s, reads {consumed:.0f}/s; multi-row inserts {inserted:.0f}/s", flush=True
        )
        for groups, rates in ((arguments.groups, arguments.rates), (1, arguments.one_group)):
            for rate, program in itertools.product(rates, programs):
                row, summary = measure(cluster, arguments, program, groups=groups, rate=rate)
                rows.append(row)
                print(summary, flush=True)
                print({name: round(used) for name, used in row.cpu.items()}, flush=True)
        print(f"threads of this process at the end: {threading.active_count()}")
    print("\n" + show(rows))
    if arguments.report:
        raw = {"kafka_produce": produced, "kafka_consume": consumed, "insert": inserted}
        arguments.report.write_text(json.dumps({"alone": raw, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
