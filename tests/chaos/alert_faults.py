"""What operators have to be told of and no fault of `faults.py` makes: storms, bounds that are reached, wrong files, defects."""

from __future__ import annotations

import abc
import contextlib
import os
import resource
import threading
from typing import cast

from chaos_stage import ChaosStage
from chatter import GONE
from faults import Fault
from frame_client import Closed, FrameClient, Refused, new_id
from kafka import KafkaProducer
from tight_stage import DEFECTIVE, TightStage

from throng.adapters.kafka_options import DEFAULT_TOPIC
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2

EDGE = "edge-1"
_JOIN_SECONDS = 30.0


class Storm(Fault):
    """Something that several threads of ours do until it is mended."""

    threads: int = 1

    def inject(self, stage: ChaosStage) -> None:
        self._ending = threading.Event()
        self._errors: list[BaseException] = []
        self.prepare(stage)
        self._running = [threading.Thread(target=self._run, args=(stage, number)) for number in range(self.threads)]
        for thread in self._running:
            thread.start()

    def heal(self, stage: ChaosStage) -> None:
        self._ending.set()
        for thread in self._running:
            thread.join(_JOIN_SECONDS)
        assert not any(thread.is_alive() for thread in self._running), f"{self.name} does not end"
        for error in self._errors:
            raise error

    def _run(self, stage: ChaosStage, number: int) -> None:
        try:
            self.work(stage, number)
        except BaseException as error:
            self._errors.append(error)

    def prepare(self, stage: ChaosStage) -> None:
        """Done once, before the threads start."""

    @abc.abstractmethod
    def work(self, stage: ChaosStage, number: int) -> None:
        """What thread `number` does until `_ending` is set."""

    def url(self, stage: ChaosStage) -> str:
        """Where `EDGE` serves clients."""
        return f"http://{stage.process(EDGE).addresses.http}"


class Flood(Storm):
    """A few people write far more than the budget of their group."""

    threads = 4
    _PAUSE_SECONDS = 0.02

    def __init__(self, hold_seconds: float = 3.0) -> None:
        super().__init__("flood a group", hold_seconds)

    def prepare(self, stage: ChaosStage) -> None:
        self._group_id = f"flooded-{new_id()}"
        settings = common_pb2.GroupSettings(open=True, send_interval_ms=0, budget_per_second=5)
        stage.call(
            stage.groups.CreateGroup, group_pb2.CreateGroupRequest(group_id=self._group_id, name="flooded", settings=settings)
        )

    def work(self, stage: ChaosStage, number: int) -> None:
        client = FrameClient(self.url(stage), stage.token(f"flooder-{number}"))
        with contextlib.closing(client):
            client.ask(enter={"groupId": self._group_id, "epoch": 0, "seq": "0"})
            while not self._ending.wait(self._PAUSE_SECONDS):
                client.ask(send={"groupId": self._group_id, "clientMsgId": new_id(), "text": {"text": "flood"}})


class HandshakeStorm(Storm):
    """Clients come and go, many times as often as an edge admits."""

    threads = 4

    def __init__(self, hold_seconds: float = 3.0) -> None:
        super().__init__("storm of handshakes", hold_seconds)

    def work(self, stage: ChaosStage, number: int) -> None:
        token = stage.token(f"stormer-{number}")
        while not self._ending.wait(0.01):
            with contextlib.suppress(*GONE):
                FrameClient(self.url(stage), token).close()


class Crowd(Storm):
    """More clients than an edge may hold, who stay and try again."""

    def __init__(self, hold_seconds: float = 3.0) -> None:
        super().__init__(f"crowd {EDGE}", hold_seconds)

    def work(self, stage: ChaosStage, number: int) -> None:
        with contextlib.ExitStack() as crowd:
            came = 0
            while not self._ending.wait(0.02):
                try:
                    client = FrameClient(self.url(stage), stage.token(f"crowd-{came}"))
                except Refused as refused:
                    if refused.status != 503:
                        raise
                    continue
                crowd.callback(client.close)
                came += 1


class Stutter(Storm):
    """An edge is stopped for more than a second, again and again, as by a neighbour who takes the processor."""

    def __init__(self, hold_seconds: float = 3.0) -> None:
        super().__init__(f"stutter {EDGE}", hold_seconds)

    def work(self, stage: ChaosStage, number: int) -> None:
        process = stage.process(EDGE)
        while not self._ending.wait(0.3):
            process.pause()
            try:
                self._ending.wait(1.2)
            finally:
                process.resume()


class PoisonLog(Fault):
    """Somebody else writes to the uplink."""

    def __init__(self) -> None:
        super().__init__("poison in the log", 1.0)

    def inject(self, stage: ChaosStage) -> None:
        producer = KafkaProducer(bootstrap_servers=stage.backend("kafka").server.bootstrap)
        try:
            for number in range(3):
                producer.send(DEFAULT_TOPIC, key=b"poison-%d" % number, value=b"\xff\xfe no submission").get(timeout=10.0)
        finally:
            producer.close(5.0)

    def heal(self, stage: ChaosStage) -> None:
        """Nothing is to be done: such records are set aside."""


class BreakWordList(Fault):
    """The word list is overwritten with something that cannot be read."""

    def __init__(self) -> None:
        super().__init__("break the word list", 2.0)

    def inject(self, stage: ChaosStage) -> None:
        file = cast(TightStage, stage).word_file
        self._words = file.read_bytes()
        file.write_bytes(b"\xff\xfe\xff not UTF-8\n")

    def heal(self, stage: ChaosStage) -> None:
        cast(TightStage, stage).word_file.write_bytes(self._words)


class StopHook(Fault):
    """The safety hook is gone; its policy is `open`."""

    def __init__(self) -> None:
        super().__init__("stop the safety hook", 3.0)

    def inject(self, stage: ChaosStage) -> None:
        cast(TightStage, stage).stop_hook()

    def heal(self, stage: ChaosStage) -> None:
        cast(TightStage, stage).start_hook()


class FewFiles(Fault):
    """An edge may open hardly more files than it has open."""

    def __init__(self) -> None:
        super().__init__(f"few files for {EDGE}", 1.0)

    def inject(self, stage: ChaosStage) -> None:
        self._pid = stage.process(EDGE).pid
        self._limits = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{self._pid}/fd"))
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (round(held / 0.93), self._limits[1]))

    def heal(self, stage: ChaosStage) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._limits)


class MeetDefect(Fault):
    """A client sends what a defect is planted for (`planted_defect`)."""

    def __init__(self) -> None:
        super().__init__(f"defect in {DEFECTIVE}", 1.0)

    def inject(self, stage: ChaosStage) -> None:
        client = FrameClient(f"http://{stage.process(DEFECTIVE).addresses.http}", stage.token("unlucky"))
        client.request(send={"groupId": "none", "clientMsgId": new_id(), "text": {"text": "planted defect"}})
        with contextlib.suppress(Closed), contextlib.closing(client):
            while True:
                client.next(5.0)

    def heal(self, stage: ChaosStage) -> None:
        """Nothing is to be done: one connection ended."""
