"""group_svc over a real MySQL that goes away: reading goes on from caches, nothing blocks for longer than its time limits (I3)."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from group_bench import GroupBench, code_of
from mysql_tables import SERVICE_PASSWORD, empty_tables

from throng.api.group.v1 import group_pb2 as g
from throng.domain.errors import ErrorCode
from throng.testing.servers import FaultProxy

TIMEOUT_SECONDS = 0.5
LONGEST_SECONDS = 3.0
"""The deadline of an edge's calls."""


@pytest.fixture
def proxy(mariadb_server) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", mariadb_server.port)) as running:
        yield running


@pytest.fixture
def bench(mariadb_server, proxy: FaultProxy, tmp_path: pathlib.Path) -> Iterator[GroupBench]:
    password = tmp_path / "password"
    password.write_text(SERVICE_PASSWORD)
    password.chmod(0o600)
    with empty_tables(mariadb_server) as name:
        running = GroupBench(
            tmp_path,
            open_stores=None,
            store="mysql",
            mysql_url=f"mysql://{name}@127.0.0.1:{proxy.port}/{name}",
            mysql_password_file=password,
            mysql_timeout_seconds=TIMEOUT_SECONDS,
        )
        yield running
        proxy.restore()
        running.stop()


def timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_reading_goes_on_and_everything_else_is_refused_in_time(bench: GroupBench, proxy: FaultProxy, fault: str) -> None:
    bench.create("g", "ann")
    for number in range(5):
        bench.send("ann", f"message {number}")
    assert len(bench.page().messages) == 5
    getattr(proxy, fault)()
    # Caches: messages and heads, again and again, none slower than the deadline of an edge.
    heads, group = g.GetHeadsRequest(group_ids=["g"]), g.GetGroupRequest(group_id="g")
    for _ in range(10):
        assert timed(bench.page) < 1.0
        assert timed(lambda: bench.groups.GetHeads(heads, timeout=LONGEST_SECONDS)) < LONGEST_SECONDS
    assert [head.head_seq for head in bench.groups.GetHeads(heads, timeout=LONGEST_SECONDS).heads] == [5]
    # What needs the store is refused, from many sides at once too.
    slowest: list[float] = []

    def ask() -> None:
        refused = lambda: code_is_unavailable(lambda: bench.groups.GetGroup(group, timeout=10))  # noqa: E731
        slowest.extend(timed(refused) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(slowest) == 40
    assert max(slowest) < LONGEST_SECONDS
    proxy.restore()
    deadline = time.monotonic() + 20
    while True:
        try:
            sent = bench.send("ann", "after")
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline
    assert sent.position.seq >= 6
    assert bench.registry.get_sample_value("throng_group_mysql_failures_total", {"reason": "lost"}) > 0


def code_is_unavailable(call: Callable[[], object]) -> None:
    assert code_of(call) is ErrorCode.UNAVAILABLE


def test_a_message_sent_while_the_store_is_away_is_stored_once_it_is_back_i3(bench: GroupBench, proxy: FaultProxy) -> None:
    bench.create("g", "ann")
    assert bench.send("ann").position.seq == 1
    proxy.cut()
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(bench.send("ann", "while away").position.seq))
    thread.start()
    retries = lambda: bench.registry.get_sample_value("throng_group_persist_retries_total")  # noqa: E731
    deadline = time.monotonic() + 20
    while retries() < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    proxy.restore()
    thread.join(20)
    assert answers == [2]
