"""Reading a log whose partitions come and go, while the store is away for long (I2, I4, I8)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from group_fakes import GROUP, FakeRecent, FakeStore, NobodyElse, NobodyWaits, RecordingPublisher, submission
from prometheus_client import CollectorRegistry

from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.metrics import GroupMetrics
from group_svc.write_path import WritePath, WritePathPorts
from throng.adapters.system_clock import SystemClock
from throng.domain.errors import unavailable
from throng.domain.ids import GroupId
from throng.domain.message import Submission
from throng.ports.uplink import UplinkRecord


class PartitionedLog:
    """A consumer of two partitions that a test fills, moves away, and whose polls it counts; commits may fail."""

    outlives_process = True

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.records: dict[int, list[Submission]] = {0: [], 1: []}
        self.position = {0: 0, 1: 0}
        self.committed: dict[int, int] = {}
        self.reads = self.idle_polls = self.refused_commits = 0
        self.last_poll_at = 0.0
        self.longest_gap_seconds = 0.0
        self.commit_fault = False
        self.pack = 1
        self.leaving: list[int] = []
        self.left = threading.Event()
        self._revoked: Callable[[Sequence[int]], None] = lambda partitions: None
        self._stopped = False

    def put(self, partition: int, one: Submission) -> None:
        with self.lock:
            self.records[partition].append(one)

    def poll(self, timeout_seconds: float, max_records: int) -> Sequence[UplinkRecord]:
        now = time.monotonic()
        if self.last_poll_at:
            self.longest_gap_seconds = max(self.longest_gap_seconds, now - self.last_poll_at)
        if self.leaving:
            self._revoked(list(self.leaving))
            for partition in self.leaving:
                self.position.pop(partition)
            self.leaving.clear()
            self.left.set()
        taken: list[UplinkRecord] = []
        with self.lock:
            for partition, position in self.position.items():
                for one in self.records[partition][position : position + max_records - len(taken)]:
                    number = self.position[partition]
                    taken.append(UplinkRecord(partition, number // self.pack, one, number % self.pack))
                    self.position[partition] += 1
        self.reads += bool(taken)
        self.idle_polls += max_records == 0
        if not taken and timeout_seconds and not self._stopped:
            time.sleep(min(timeout_seconds, 0.01))
        self.last_poll_at = time.monotonic()
        return taken

    def commit(self, offsets: dict[int, int]) -> None:
        if self.commit_fault:
            self.refused_commits += 1
            raise unavailable("a rebalance is under way")
        self.committed |= offsets

    def set_on_revoked(self, callback: Callable[[Sequence[int]], None]) -> None:
        self._revoked = callback

    def lag(self) -> int:
        return sum(len(self.records[partition]) - position for partition, position in self.position.items())

    def stop(self) -> None:
        self._stopped = True

    def close(self, deadline_seconds: float) -> None: ...


@pytest.fixture(params=[0, 2], ids=["inline", "lanes"])
def stage(request: pytest.FixtureRequest) -> Iterator[tuple[PartitionedLog, FakeStore, WritePath]]:
    log, store, out = PartitionedLog(), FakeStore(), RecordingPublisher()
    store.add_group(members=list("abcdef"))
    ports = WritePathPorts(
        consumer=log,
        messages=store,
        groups=store,
        recent=FakeRecent(),
        publisher=out,
        observer=out,
        waiters=NobodyWaits(),
        forwarder=NobodyElse(),
        inspector=ProtoBodyInspector(),
        safety=WordListSafety(()),
        clock=SystemClock(),
    )
    path = WritePath(ports, GroupMetrics(CollectorRegistry()), lanes=request.param, lane_capacity=10)
    path.start()
    yield log, store, path
    path.stop(5.0)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Outage:
    """The store is away until it is ended."""

    def __init__(self, store: FakeStore) -> None:
        self._commit, self._store = store.commit, store
        self.over = threading.Event()
        store.commit = self._refuse

    def _refuse(self, candidates, *, now_ms):
        if not self.over.is_set():
            raise unavailable("away")
        return self._commit(candidates, now_ms=now_ms)


def fill(log: PartitionedLog, partition: int, count: int, users: str = "abc") -> list[Submission]:
    made = [submission(users[number % len(users)], text=str(number)) for number in range(count)]
    for one in made:
        log.put(partition, one)
    return made


def stored(store: FakeStore) -> list[str]:
    return [message.client_msg_id for message in store.messages[GROUP]]


def test_while_the_store_is_away_the_consumer_keeps_polling_and_reads_no_more(stage):
    log, store, _ = stage
    outage = Outage(store)
    sent = fill(log, 0, 6_000)
    wait_until(lambda: log.idle_polls > 4)
    read = log.position[0]
    assert read < 6_000, "what is in hand is bounded"
    wait_until(lambda: log.idle_polls > 8)
    assert log.position[0] == read
    assert log.longest_gap_seconds < 2.0
    assert log.committed == {}
    outage.over.set()
    wait_until(lambda: len(stored(store)) == 6_000)
    for user in "abc":
        mine = [one.client_msg_id for one in sent if one.user_id == user]
        assert [one for one in stored(store) if one in set(mine)] == mine
    wait_until(lambda: log.committed == {0: 6_000})


def test_parts_of_one_record_are_committed_together_and_never_torn_apart(stage):
    log, store, path = stage
    log.pack = 50
    placed: list[int] = []
    prepare = path._ingest._checks.prepare
    path._ingest._checks.prepare = lambda records: placed.append(len(records)) or prepare(records)
    with log.lock:
        log.records[0] += [submission("x" if number == 7 else "abc"[number % 3], text=str(number)) for number in range(3_000)]
    wait_until(lambda: len(stored(store)) == 2_999)
    wait_until(lambda: log.committed == {0: 60})
    assert all(count % 50 == 0 for count in placed)


def test_a_partition_that_leaves_is_finished_and_committed_first(stage):
    log, store, _ = stage
    fill(log, 0, 300)
    wait_until(lambda: log.position[0] == 300)
    log.leaving.append(0)
    assert log.left.wait(10)
    assert len(stored(store)) == 300
    assert log.committed[0] == 300


def test_what_was_held_of_a_partition_that_leaves_is_left_to_others(stage, monkeypatch):
    monkeypatch.setattr("group_svc.ingest._REVOKE_SECONDS", 0.2)
    log, store, path = stage
    outage = Outage(store)
    fill(log, 0, 5_000)
    wait_until(lambda: log.idle_polls > 2)
    held = len(path._ingest._held)
    assert held
    log.leaving.append(0)
    assert log.left.wait(10)
    assert len(path._ingest._held) == 0
    outage.over.set()
    later = fill(log, 1, 5)
    wait_until(lambda: {one.client_msg_id for one in later} <= set(stored(store)))
    wait_until(lambda: log.committed.get(1) == 5)
    assert 0 not in log.committed, "what another owns is not committed here"


def test_a_small_group_overtakes_what_waits_of_a_hot_one_and_no_offset_does(stage):
    log, store, path = stage
    small = GroupId("small")
    store.add_group(members=["a"], group_id=small)
    outage = Outage(store)
    fill(log, 0, 1_000)
    with log.lock:
        log.records[0].append(submission("a", group_id=small))
    wait_until(lambda: path._ingest._offsets.unfinished() == 1_001)
    refuse, seen = store.commit, []

    def commit(candidates, *, now_ms):
        seen.append((path._ingest._offsets.committable().get(0, 0), len(stored(store)), len(store.messages[small])))
        return refuse(candidates, now_ms=now_ms)

    store.commit = commit
    outage.over.set()
    wait_until(lambda: log.committed == {0: 1_001})
    before = [hot for _, hot, few in seen if not few]
    assert max(before) <= 510, "the small one is in the first batch that is made after the outage: one batch, and ten more"
    assert any(few and hot < 1_000 for _, hot, few in seen), "it was stored before the hot group's last ones"
    assert all(offset <= hot for offset, hot, few in seen), "an offset is committed when all below it are done"


def test_a_commit_that_is_refused_is_repeated(stage):
    log, store, _ = stage
    log.commit_fault = True
    fill(log, 0, 10)
    wait_until(lambda: len(stored(store)) == 10)
    wait_until(lambda: log.refused_commits)
    assert log.committed == {}
    log.commit_fault = False
    wait_until(lambda: log.committed == {0: 10})


def test_a_stop_leaves_what_was_not_read_and_commits_what_was_finished(stage):
    log, store, path = stage
    fill(log, 0, 100)
    wait_until(lambda: len(stored(store)) == 100)
    outage = Outage(store)
    fill(log, 0, 5_000)
    wait_until(lambda: log.idle_polls > 1)
    started_at = time.monotonic()
    path.stop(1.0)
    assert time.monotonic() - started_at < 15.0
    assert log.committed == {0: 100}
    assert len(stored(store)) == 100
    outage.over.set()
