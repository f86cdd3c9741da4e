"""Measures the Kafka uplink beside bare kafka-python, in one run on this machine with a broker of its own.

Flood: as fast as the bounds let it. Paced: at a given rate, with the latency from append to acknowledgement and the CPU that the
producing process takes. The broker shares the machine: read the ratios. Ends by itself.

    python tests/load/bench_uplink.py [--records 60000] [--rate 5000] [--seconds 5] [--partitions 64] [--groups 1000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pathlib
import pstats
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from throng.adapters.kafka_options import ConsumerSettings, KafkaAccess, SenderLimits, TopicSettings
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.kafka_uplink_consumer import KafkaUplinkConsumer
from throng.adapters.kafka_uplink_producer import KafkaUplinkProducer
from throng.adapters.submission_codec import encode
from throng.api.common.v1 import message_pb2
from throng.domain.ids import ConnId, EdgeId, GroupId, UserId
from throng.domain.message import MessageKind, Origin, Submission
from throng.testing.servers import KafkaServer

Append = Callable[[Submission, Callable[[Any], None]], None]
_WINDOW = 10_000
_BODY = message_pb2.Message(text=message_pb2.Text(text="x" * 180)).SerializeToString()
_ORIGIN = Origin(EdgeId("edge-1"), 1, ConnId("edge-1-123456"), 1)


def submissions(groups: int) -> Iterator[Submission]:
    """Messages of many users over many groups."""
    for number in itertools.count():
        group, user = GroupId(f"group-{number % groups}"), UserId(f"user-{number % 9973}")
        yield Submission(group, user, str(uuid.uuid4()), MessageKind.TEXT, _BODY, _ORIGIN, received_at_ms=number)


class Acknowledgements:
    """Counts what came back, and how long it took."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0
        self.failed = 0
        self.seconds: list[float] = []

    def expect(self, started: float) -> Callable[[Any], None]:
        """A callback for one record."""

        def done(error: Any) -> None:
            with self._changed:
                self.count += 1
                self.failed += error is not None
                self.seconds.append(time.monotonic() - started)
                self._changed.notify()

        return done

    def wait(self, count: int) -> None:
        """Waits for so many."""
        with self._changed:
            self._changed.wait_for(lambda: self.count >= count, 60)

    def line(self) -> str:
        """Percentiles in milliseconds."""
        ordered = sorted(self.seconds)
        share = lambda part: ordered[int((len(ordered) - 1) * part)] * 1000  # noqa: E731
        return f"p50 {share(0.5):6.1f} ms  p99 {share(0.99):6.1f} ms  max {ordered[-1] * 1000:6.1f} ms  failed {self.failed}"


def flood(append: Append, records: int, groups: int) -> tuple[float, float]:
    """Records per second and CPU microseconds of this process for each."""
    acknowledgements = Acknowledgements()
    started, cpu = time.monotonic(), time.process_time()
    for number, one in enumerate(itertools.islice(submissions(groups), records)):
        if number >= _WINDOW and number % 100 == 0:
            acknowledgements.wait(number - _WINDOW)
        append(one, acknowledgements.expect(time.monotonic()))
    acknowledgements.wait(records)
    assert not acknowledgements.failed, f"{acknowledgements.failed} failed"
    return records / (time.monotonic() - started), (time.process_time() - cpu) / records * 1e6


def paced(append: Append, rate: int, seconds: float, groups: int) -> tuple[str, float]:
    """Latency at a given rate and the share of a CPU that it takes, codec and pacing included."""
    acknowledgements = Acknowledgements()
    source, sent = submissions(groups), 0
    started, cpu = time.monotonic(), time.process_time()
    while (elapsed := time.monotonic() - started) < seconds:
        while sent < int(elapsed * rate):
            append(next(source), acknowledgements.expect(time.monotonic()))
            sent += 1
        time.sleep(0.002)
    acknowledgements.wait(sent)
    return acknowledgements.line(), (time.process_time() - cpu) / seconds


def bare_producer(access: KafkaAccess, **settings: Any) -> tuple[Append, Callable[[], None]]:
    """kafka-python as it is, with the same values."""
    producer = KafkaProducer(**access.client_settings("bench"), **settings)

    def append(one: Submission, done: Callable[[Any], None]) -> None:
        future = producer.send(access.topic, encode(one), one.group_id.encode())
        future.add_callback(lambda _metadata: done(None))
        future.add_errback(done)

    return append, producer.close


def our_producer(access: KafkaAccess, topic: TopicSettings, **limits: Any) -> tuple[Append, Callable[[], None]]:
    """The adapter."""
    producer = KafkaUplinkProducer(access, topic, SenderLimits(**limits))
    producer.start()
    while not producer.sender.reachable:
        time.sleep(0.01)
    return producer.append, lambda: producer.close(10.0)


def bare_consume(access: KafkaAccess, records: int) -> tuple[float, float]:
    """kafka-python's consumer, with a commit for each poll."""
    consumer = KafkaConsumer(
        access.topic,
        **access.client_settings("bench"),
        group_id=f"bare-{uuid.uuid4()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    count, started, cpu = 0, 0.0, 0.0
    while count < records:
        polled = consumer.poll(500, 500)
        if not started and polled:
            started, cpu = time.monotonic(), time.process_time()
        count += sum(map(len, polled.values()))
    elapsed, used = time.monotonic() - started, time.process_time() - cpu
    consumer.commit()
    consumer.close()
    return count / elapsed, used / count * 1e6


def our_consume(access: KafkaAccess, topic: TopicSettings, records: int) -> tuple[float, float]:
    """The adapter, decoding included, committing once a second."""
    consumer = KafkaUplinkConsumer(access, topic, ConsumerSettings(group=f"ours-{uuid.uuid4()}"))
    count, started, cpu, committed = 0, 0.0, 0.0, time.monotonic()
    offsets: dict[int, int] = {}
    while count < records:
        polled = consumer.poll(0.5, 500)
        if not started and polled:
            started, cpu = time.monotonic(), time.process_time()
        count += len(polled)
        offsets |= {record.partition: record.offset + 1 for record in polled}
        if time.monotonic() - committed > 1.0:
            consumer.commit(offsets)
            committed = time.monotonic()
    elapsed, used = time.monotonic() - started, time.process_time() - cpu
    consumer.close(5.0)
    return count / elapsed, used / count * 1e6


def main() -> None:
    """Runs everything and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("records", 60_000), ("rate", 5_000), ("partitions", 64), ("groups", 1_000), ("linger", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--profile", action="store_true", help="profile the appending thread of ours")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = KafkaServer(pathlib.Path(folder))
        server.start()
        try:
            run(arguments, server.bootstrap)
        finally:
            server.stop()


def run(arguments: argparse.Namespace, bootstrap: str) -> None:
    """One producer after the other on the same broker, each with a topic of its own."""
    topic = TopicSettings(partitions=arguments.partitions, replication_factor=1)
    tuned = {"linger_ms": arguments.linger, "batch_size": 262_144, "compression_type": "lz4"}
    ordered = {**tuned, "enable_idempotence": False, "max_in_flight_requests_per_connection": 1, "metrics_enabled": False}
    makers: dict[str, Callable[[KafkaAccess], tuple[Append, Callable[[], None]]]] = {
        "kafka-python, its defaults": bare_producer,
        "kafka-python, our values, idempotent": lambda access: bare_producer(access, **tuned),
        "kafka-python, our values": lambda access: bare_producer(access, **ordered),
        "Throng's producer": lambda access: our_producer(access, topic, linger_ms=arguments.linger),
    }
    print(f"{arguments.partitions} partitions, {arguments.groups} groups, values of {len(encode(next(submissions(1))))} bytes")
    access = KafkaAccess(servers=(bootstrap,))
    for title, make in makers.items():
        access = KafkaAccess(servers=(bootstrap,), topic=f"bench-{uuid.uuid4()}")
        ensure_topics(access, topic)
        append, close = make(access)
        flood(append, 2_000, arguments.groups)
        profile = cProfile.Profile() if arguments.profile and make is makers["Throng's producer"] else None
        if profile is not None:
            profile.enable()
        rate, cost = flood(append, arguments.records, arguments.groups)
        if profile is not None:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        line, share = paced(append, arguments.rate, arguments.seconds, arguments.groups)
        close()
        print(f"{title:38} flood {rate:7.0f}/s {cost:5.0f} us CPU each | {arguments.rate}/s: {line}  {share:4.0%} of a CPU")
    bare = [bare_consume(access, arguments.records) for _ in range(2)]
    ours = [our_consume(access, topic, arguments.records) for _ in range(2)]
    for title, results in (("kafka-python's consumer", bare), ("Throng's consumer, decoding", ours)):
        rate, cost = (statistics.mean(column) for column in zip(*results, strict=True))
        print(f"{title:38} {rate:7.0f}/s {cost:5.0f} us CPU each")


if __name__ == "__main__":
    main()
