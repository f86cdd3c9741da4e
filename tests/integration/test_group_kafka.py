"""group_svc with its log on a real Kafka that is not there when it starts (I2, I3, I10)."""

from __future__ import annotations

import gc
import pathlib
import time
import uuid
from collections.abc import Iterator

import grpc
import pytest
from group_bench import GroupBench, code_of
from server_fixtures import started

from throng.domain.errors import ErrorCode
from throng.runtime.rpc_status import from_rpc_error
from throng.testing.servers import KafkaServer


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A socket that was forgotten fails the test that forgot it."""
    yield
    gc.collect()


def send_patiently(bench: GroupBench, msg_id: str) -> int:
    """What a program does: the same message again, with the same id, for as long as the log is away."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return bench.send("ann", msg_id=msg_id).position.seq
        except grpc.RpcError as error:
            if from_rpc_error(error).code not in (ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED):
                raise
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_starts_without_kafka_refuses_and_heals_by_itself(tmp_path: pathlib.Path):
    with started(lambda: KafkaServer(tmp_path / "kafka")) as kafka:
        kafka.stop()
        bench = GroupBench(
            tmp_path,
            uplink="kafka",
            kafka_servers=kafka.bootstrap,
            kafka_partitions=2,
            kafka_replication_factor=1,
            kafka_patience_seconds=1.0,
            kafka_session_timeout_seconds=3.0,
        )
        try:
            bench.create("g", "ann")
            assert code_of(lambda: bench.send("ann")) is ErrorCode.UNAVAILABLE
            assert bench.registry.get_sample_value("throng_group_kafka_producer_reachable") == 0
            kafka.start()
            ids = [str(uuid.uuid4()) for _ in range(20)]
            seqs = [send_patiently(bench, one) for one in ids]
            assert seqs == list(range(1, 21))
            assert [send_patiently(bench, one) for one in ids] == seqs
            assert bench.registry.get_sample_value("throng_group_kafka_producer_reachable") == 1
            assert bench.registry.get_sample_value("throng_group_kafka_consumer_partitions") == 2
            bench.router.wait(lambda: bench.router.seqs() == seqs)
        finally:
            bench.stop()
