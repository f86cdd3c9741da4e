"""Faults: what is broken, how it is mended, and which promises are especially at stake."""

from __future__ import annotations

import abc
import contextlib
import fnmatch
import random
import time
from collections.abc import Callable
from typing import ClassVar

import pymysql
import redis
from chaos_stage import CLOCKED, SESSION_SECONDS, SPARE, ChaosStage
from log_repeater import LogRepeater

READY_SECONDS = 60.0


class Fault(abc.ABC):
    """Something that breaks at one moment and is mended at another.

    Attributes:
        name: how failures and tables call it.
        at_stake: promises (docs/architecture.md) that it tries most.
        hold_seconds: time from breaking to mending.
        stores: messages can be stored meanwhile; otherwise senders have to be refused in time.
    """

    at_stake: ClassVar[tuple[str, ...]] = ("I10",)
    stores: bool = True

    def __init__(self, name: str, hold_seconds: float = 2.0) -> None:
        self.name = name
        self.hold_seconds = hold_seconds

    def outage_seconds(self, seconds: float) -> float:
        """For how long nothing could be stored, of the seconds from breaking to when what was down served again."""
        return 0.0 if self.stores else self.hold_seconds

    @abc.abstractmethod
    def inject(self, stage: ChaosStage) -> None:
        """Breaks it."""

    @abc.abstractmethod
    def heal(self, stage: ChaosStage) -> None:
        """Mends it; returns when what was down serves again."""


class KillService(Fault):
    """kill -9 of one service, and a start at the same address."""

    at_stake = ("I2", "I3", "I6", "I10")

    def __init__(self, process: str, hold_seconds: float = 1.0) -> None:
        super().__init__(f"kill {process}", hold_seconds)
        self._process = process

    def inject(self, stage: ChaosStage) -> None:
        stage.process(self._process).kill()

    def heal(self, stage: ChaosStage) -> None:
        stage.process(self._process).start()
        stage.process(self._process).wait_ready(READY_SECONDS)


class KillBackend(Fault):
    """kill -9 of Kafka, MariaDB or Redis, and a start on the same data (Redis comes back empty)."""

    at_stake = ("I1", "I2", "I3", "I10")

    def __init__(self, backend: str, hold_seconds: float = 2.0) -> None:
        super().__init__(f"kill {backend}", hold_seconds)
        self._backend = backend
        self.stores = backend == "redis"

    def outage_seconds(self, seconds: float) -> float:
        return 0.0 if self.stores else seconds  # it is away until it has started

    def inject(self, stage: ChaosStage) -> None:
        stage.backend(self._backend).kill()

    def heal(self, stage: ChaosStage) -> None:
        if not stage.backend(self._backend).running:
            stage.backend(self._backend).start()


class KillMySQLInCommit(KillBackend):
    """kill -9 of MariaDB at a moment at which a COMMIT is under way."""

    def __init__(self, hold_seconds: float = 2.0) -> None:
        super().__init__("mariadb", hold_seconds)
        self.name = "kill mariadb in mid-commit"

    def inject(self, stage: ChaosStage) -> None:
        backend = stage.backend("mariadb")
        with backend.server.cursor() as cursor:
            deadline = time.monotonic() + 5.0
            while time.monotonic() < deadline:
                cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'COMMIT%'")
                if cursor.fetchone()[0]:
                    break
            else:
                raise AssertionError("nothing was committed for 5 s")
            backend.kill()


class PauseBackend(Fault):
    """SIGSTOP of a server: connections stay and nothing is answered."""

    at_stake = ("I3", "I8")

    def __init__(self, backend: str, hold_seconds: float) -> None:
        super().__init__(f"pause {backend}", hold_seconds)
        self._backend = backend
        self.stores = backend == "redis"

    def inject(self, stage: ChaosStage) -> None:
        stage.backend(self._backend).pause()

    def heal(self, stage: ChaosStage) -> None:
        stage.backend(self._backend).resume()


class KillGroupServiceFull(Fault):
    """kill -9 of a group service that has read much and could not store it: MariaDB is silent before it and until after it."""

    at_stake = ("I2", "I3", "I4", "I10")
    stores = False

    def __init__(self, process: str, hold_seconds: float = 1.0) -> None:
        super().__init__(f"kill {process} with messages in hand", hold_seconds)
        self._process = process

    def inject(self, stage: ChaosStage) -> None:
        stage.backend("mariadb").pause()
        time.sleep(2.5)  # while messages are read from the log
        stage.process(self._process).kill()

    def heal(self, stage: ChaosStage) -> None:
        stage.backend("mariadb").resume()
        stage.process(self._process).start()
        stage.process(self._process).wait_ready(READY_SECONDS)


class FlushRedis(Fault):
    """FLUSHALL, scripts too."""

    at_stake = ("I5", "I6", "I7")

    def __init__(self) -> None:
        super().__init__("flush redis", 0.0)

    def inject(self, stage: ChaosStage) -> None:
        with redis.Redis(port=stage.backend("redis").server.port, socket_timeout=5.0) as client:
            client.flushall()
            client.script_flush()

    def heal(self, stage: ChaosStage) -> None:
        """Nothing is to be done: everything comes back by itself."""


class ReadOnlyMySQL(Fault):
    """The server takes no writes, as a primary that was made a replica."""

    at_stake = ("I1", "I3")
    stores = False

    def __init__(self, hold_seconds: float = 4.0) -> None:
        super().__init__("mysql read-only", hold_seconds)

    def inject(self, stage: ChaosStage) -> None:
        with contextlib.ExitStack() as stack:
            cursor = self._cursor = stack.enter_context(stage.backend("mariadb").server.cursor())
            self._closing = stack.pop_all()
        cursor.execute("SELECT CURRENT_USER(), CONNECTION_ID()")
        account, own = cursor.fetchone()
        self._account = "'{}'@'{}'".format(*account.split("@"))
        # Who may do everything may write, too; this connection keeps its rights, the services' next ones lack them.
        cursor.execute(f"REVOKE READ ONLY ADMIN, SUPER ON *.* FROM {self._account}")
        cursor.execute("SET GLOBAL read_only = 1")
        cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> %s AND command <> 'Daemon'", (own,))
        for (one,) in cursor.fetchall():
            with contextlib.suppress(pymysql.Error):  # it was gone already
                cursor.execute(f"KILL {one}")

    def heal(self, stage: ChaosStage) -> None:
        with self._closing:
            self._cursor.execute("SET GLOBAL read_only = 0")
            self._cursor.execute(f"GRANT READ ONLY ADMIN, SUPER ON *.* TO {self._account}")


class AddAndRemoveGroupService(Fault):
    """A further group service joins under load and leaves again: partitions move twice."""

    at_stake = ("I1", "I2", "I4")

    def __init__(self, hold_seconds: float = 3.0) -> None:
        super().__init__("rebalance", hold_seconds)

    def inject(self, stage: ChaosStage) -> None:
        stage.process(SPARE).start()
        stage.process(SPARE).wait_ready(READY_SECONDS)
        deadline = time.monotonic() + 20.0
        # Whether any of the groups lies in the partitions that it gets is chance.
        while not stage.metric("throng_group_kafka_consumer_rebalances_total", SPARE):
            assert time.monotonic() < deadline, "the group service that was started did not join the others"
            time.sleep(0.1)

    def heal(self, stage: ChaosStage) -> None:
        stage.process(SPARE).stop()


class PauseGroupService(Fault):
    """SIGSTOP for longer than the Kafka session: afterwards two processes think that they own the same groups."""

    at_stake = ("I1", "I2", "I4")

    def __init__(self, process: str, hold_seconds: float = SESSION_SECONDS + 2.0) -> None:
        super().__init__(f"pause {process} past its session", hold_seconds)
        self._process = process

    def inject(self, stage: ChaosStage) -> None:
        stage.process(self._process).pause()

    def heal(self, stage: ChaosStage) -> None:
        stage.process(self._process).resume()


class JumpClock(Fault):
    """The clock of one edge and one group service jumps."""

    at_stake = ("I4", "I5", "I6")

    def __init__(self, seconds: int, hold_seconds: float = 3.0) -> None:
        super().__init__(f"clock of {' and '.join(CLOCKED)} {seconds:+d} s", hold_seconds)
        self._seconds = seconds

    def inject(self, stage: ChaosStage) -> None:
        stage.set_clock(self._seconds)

    def heal(self, stage: ChaosStage) -> None:
        stage.set_clock(0)


class RepeatLog(Fault):
    """Records of the log come again: at once, later, and out of order."""

    at_stake = ("I2", "I3", "I4")

    def __init__(self, seed: int, hold_seconds: float = 5.0) -> None:
        super().__init__("repeated and delayed log records", hold_seconds)
        self._seed = seed

    def inject(self, stage: ChaosStage) -> None:
        self._repeater = LogRepeater(stage.backend("kafka").server.bootstrap, random.Random(self._seed))
        self._repeater.start()

    def heal(self, stage: ChaosStage) -> None:
        assert self._repeater.stop() >= 20, "hardly a record was repeated"


def _can_store(pattern: str) -> bool:
    """Messages come to the tables while links of this pattern are gone."""
    links = ("edge->kafka", "group->kafka", "group->mysql")
    return not any(fnmatch.fnmatchcase(link, pattern) for link in links)


class LinkFault(Fault):
    """Connections between two parts are cut, stalled or slow."""

    at_stake = ("I5", "I6", "I9")

    def __init__(self, name: str, pattern: str, inject: Callable[[ChaosStage, str], None], hold_seconds: float) -> None:
        super().__init__(f"{name} {pattern}", hold_seconds)
        self._pattern = pattern
        self._inject = inject
        self.stores = _can_store(pattern)

    def inject(self, stage: ChaosStage) -> None:
        self._inject(stage, self._pattern)

    def heal(self, stage: ChaosStage) -> None:
        stage.cluster.link(self._pattern).restore()


def cut(pattern: str, hold_seconds: float = 2.0) -> LinkFault:
    """Connections are reset and new ones refused."""
    return LinkFault("cut", pattern, lambda stage, link: stage.cluster.link(link).cut(), hold_seconds)


def stall(pattern: str, hold_seconds: float = 3.0) -> LinkFault:
    """Half-open: connections stay, new ones are taken, and not a byte passes."""
    return LinkFault("stall", pattern, lambda stage, link: stage.cluster.link(link).stall(), hold_seconds)


def slow(pattern: str, hold_seconds: float = 3.0, *, seconds: float = 0.15, bytes_per_second: float = 200_000) -> LinkFault:
    """Everything comes later, and not more than so much."""

    def inject(stage: ChaosStage, link: str) -> None:
        stage.cluster.link(link).delay(seconds)
        stage.cluster.link(link).limit(bytes_per_second)

    return LinkFault("slow", pattern, inject, hold_seconds)


class RepeatedCuts(Fault):
    """One link after another is cut, again and again, faster than things come to rest."""

    at_stake = ("I5", "I6", "I9")

    def __init__(self, pattern: str, times: int = 3) -> None:
        super().__init__(f"{times} cuts {pattern}", 0.3)
        self._pattern = pattern
        self._times = times
        self.stores = _can_store(pattern)

    def inject(self, stage: ChaosStage) -> None:
        link = stage.cluster.link(self._pattern)
        for time_left in range(self._times, 0, -1):
            link.cut()
            if time_left > 1:
                time.sleep(0.3)
                link.restore()
                time.sleep(0.3)

    def heal(self, stage: ChaosStage) -> None:
        stage.cluster.link(self._pattern).restore()


class Together(Fault):
    """Several faults at the same time."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(" + ".join(fault.name for fault in faults), max(fault.hold_seconds for fault in faults))
        self._faults = faults
        self._broken: list[Fault] = []
        self.stores = all(fault.stores for fault in faults)

    def outage_seconds(self, seconds: float) -> float:
        return max(fault.outage_seconds(seconds) for fault in self._faults)

    def inject(self, stage: ChaosStage) -> None:
        for fault in self._faults:
            self._broken.append(fault)
            fault.inject(stage)

    def heal(self, stage: ChaosStage) -> None:
        with contextlib.ExitStack() as stack:
            # The last one first: what is started again may need what was broken behind it.
            for fault in self._broken:
                stack.callback(fault.heal, stage)
            self._broken = []
