"""Stores over MySQL under faults: what they count, writers that never give up, and what must hold in the tables afterwards."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from conformance_builders import candidate, submission
from mysql_tables import SERVICE_PASSWORD

from group_svc.adapters.mysql_membership_store import MySQLMembershipStore
from group_svc.adapters.mysql_message_store import MySQLMessageStore
from group_svc.ports import Committed
from throng.adapters.mysql_access import Host, MySQLAccess
from throng.adapters.mysql_database import MySQLDatabase
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group
from throng.domain.ids import GroupId

PATIENCE_SECONDS = 60.0


class Counted:
    """`PoolEvents` that a test reads."""

    def __init__(self) -> None:
        self.retried: collections.Counter[str] = collections.Counter()
        self.lost: collections.Counter[str] = collections.Counter()
        self.connected = 0
        self.waits: list[float] = []

    def mysql_waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def mysql_connected(self) -> None:
        self.connected += 1

    def mysql_lost(self, reason: str) -> None:
        self.lost[reason] += 1

    def mysql_retried(self, reason: str) -> None:
        self.retried[reason] += 1


class Stage:
    """One opening of the tables: database, stores and counts."""

    def __init__(self, access: MySQLAccess, observe: Callable[[str], None] | None = None) -> None:
        self.events = Counted()
        self.database = MySQLDatabase(access, self.events, observe_statement=observe)
        self.messages = MySQLMessageStore(self.database)
        self.members = MySQLMembershipStore(self.database)


@contextlib.contextmanager
def stage(access: MySQLAccess, observe: Callable[[str], None] | None = None) -> Iterator[Stage]:
    """Opens, and closes at the end."""
    opened = Stage(access, observe)
    try:
        yield opened
    finally:
        opened.database.close()


def access_by(name: str, *ports: int, **changed: object) -> MySQLAccess:
    """The service's access by way of these ports, with short time limits."""
    values: dict = {"user": name, "database": name, "password": SERVICE_PASSWORD, "timeout_seconds": 1.0}
    values["hosts"] = tuple(Host("127.0.0.1", port) for port in ports)
    return MySQLAccess(**values | changed)


def error_of(call: Callable[[], object]) -> ThrongError:
    """The ThrongError that a call raises; anything else fails the test."""
    try:
        call()
    except ThrongError as error:
        return error
    raise AssertionError("nothing was refused")


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def patiently(call: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> object:
    """Repeats a call for as long as the store is away, as the writer does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except ThrongError as error:
            _bear(error, deadline)


def _bear(error: ThrongError, deadline: float) -> None:
    """A store that is away is waited for until the deadline; anything else is passed on."""
    if error.code is not ErrorCode.UNAVAILABLE or time.monotonic() > deadline:
        raise error
    time.sleep(0.02)


class Committers:
    """Threads that commit batches to a few groups until `stop`, each batch until it is in.

    Attributes:
        acked: (group, client_msg_id) -> seq of everything that was ever ACKed; None where two ACKs differ.
        refusals: how often the store was away.
        slowest_seconds: the longest single call.
    """

    def __init__(self, opened: Stage, *, groups: int = 3, threads: int = 4, batch: int = 40) -> None:
        self.acked: dict[tuple[str, str], int | None] = {}
        self.refusals = 0
        self.slowest_seconds = 0.0
        self.failure: BaseException | None = None
        self.groups = [GroupId(f"g{n}") for n in range(groups)]
        self._opened = opened
        self._batch = batch
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        for group_id in self.groups:
            opened.members.create_group(Group(group_id, group_id), owner_id=None)
        self._threads = [threading.Thread(target=self._guarded, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Committers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.failure is None, self.failure

    def wait_for_more(self, messages: int) -> None:
        """Waits until so many more are ACKed."""
        wanted = len(self.acked) + messages
        wait_for(lambda: len(self.acked) >= wanted or self.failure is not None)

    def _guarded(self, number: int) -> None:
        try:
            turn = 0
            while not self._stopping.is_set():
                self._commit(number, turn)
                turn += 1
        except BaseException as error:
            self.failure = error
            raise

    def _commit(self, number: int, turn: int) -> None:
        batch = [
            candidate(
                submission(
                    self.groups[(turn + n) % len(self.groups)], f"user-{number}", client_msg_id=str(uuid.uuid4()), text="x" * 200
                )
            )
            for n in range(self._batch)
        ]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            started = time.monotonic()
            try:
                outcomes = self._opened.messages.commit(batch, now_ms=1)
                break
            except ThrongError as error:
                _bear(error, deadline)
                self.refusals += 1
            finally:
                with self._lock:
                    self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        with self._lock:
            for one, outcome in zip(batch, outcomes, strict=True):
                assert isinstance(outcome, Committed)
                key = (one.submission.group_id, one.submission.client_msg_id)
                self.acked[key] = outcome.position.seq


def check_history(opened: Stage, committers: Committers) -> int:
    """I1, I2, I3: dense seqs, every ACKed message where it was ACKed, nothing twice. Returns the number of messages."""
    total = 0
    seen: set[str] = set()
    for group_id in committers.groups:
        found: dict[str, int] = {}
        after = 0
        while True:
            page = opened.messages.read_after(group_id, after_seq=after, up_to_seq=0, limit=1_000)
            assert [message.seq for message in page.messages] == list(range(after + 1, after + 1 + len(page.messages)))
            if not page.messages:
                break
            found.update({message.client_msg_id: message.seq for message in page.messages})
            after = page.messages[-1].seq
        assert after == page.head_seq == len(found)
        assert not seen & set(found)
        seen |= set(found)
        for (group, client_msg_id), seq in committers.acked.items():
            if group == group_id:
                assert found[client_msg_id] == seq
        total += after
    return total
