"""Kafka brokers in KRaft mode, one or several that replicate; ACKed records survive kill -9 of each."""

from __future__ import annotations

import base64
import pathlib
import signal
import subprocess
import uuid
from collections.abc import Mapping

from throng.testing.servers.kafka_jars import class_archive, java, require_jars
from throng.testing.servers.process import ServerProcess, accepts, free_port

_START_SECONDS = 60.0
_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms128m", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_ONE_OF_EACH = (
    "default.replication.factor",
    "min.insync.replicas",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
)
_BROKERS = 3
_REPLICATED = dict.fromkeys(
    ("default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor"), "3"
) | dict.fromkeys(("min.insync.replicas", "transaction.state.log.min.isr"), "2")


class KafkaServer(ServerProcess):
    """A broker on 127.0.0.1. `settings` win over ours; `advertised` is what clients are told to dial, such as a fault proxy.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        port: int | None = None,
        advertised: tuple[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        cluster_id: str | None = None,
        controller_port: int | None = None,
    ) -> None:
        self._jars = require_jars()
        super().__init__("kafka", folder)
        self.port = port or free_port()
        self._controller_port = controller_port or free_port()
        self._cluster_id = cluster_id or new_cluster_id()
        host, advertised_port = advertised or ("127.0.0.1", self.port)
        self.bootstrap = f"{host}:{advertised_port}"
        self._settings = {**self._defaults(), **(settings or {})}

    def _defaults(self) -> dict[str, str]:
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT," + ",".join(f"{name}:{name}" for name in _PROTOCOLS),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "num.io.threads": "2",
            "log.cleaner.dedupe.buffer.size": "16777216",
        }
        return settings | dict.fromkeys(_ONE_OF_EACH, "1")

    def start(self) -> None:
        """Formats the folder at the first start, starts the broker, and waits until it answers."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """As `start`, without waiting: one of several answers only when most of them are there."""
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()), encoding="utf-8")
        classes = f"{self._jars}/*"
        if not (self.folder / "data" / "meta.properties").exists():
            command = [java(), "-cp", classes, "kafka.tools.StorageTool", "format"]
            # "=": an id may begin with a dash.
            command += ["-c", str(properties), f"--cluster-id={self._cluster_id}", "--ignore-formatted"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"Kafka's folder cannot be formatted:\n{(done.stdout + done.stderr)[-2000:]}")
        self._launch([])

    def _launch(self, flags: list[str]) -> None:
        archive = class_archive()
        shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() and not flags else []
        properties = str(self.folder / "server.properties")
        self.launch([java(), *_JVM, *shared, *flags, "-cp", f"{self._jars}/*", "kafka.Kafka", properties])

    def wait_ready(self) -> None:
        """Waits until it answers."""
        self.wait_until(self._answers, timeout_seconds=_START_SECONDS)

    def _answers(self) -> bool:
        return accepts(self.port)

    def make_class_archive(self) -> None:
        """Runs once to write the class archive; the folder is used up by it."""
        archive = class_archive()
        if archive.exists():
            return
        new = archive.with_name(f"classes-{uuid.uuid4().hex}.jsa")
        self.start()
        self.stop()
        self._launch([f"-XX:ArchiveClassesAtExit={new}"])
        self.wait_ready()
        self._end(signal.SIGTERM, _START_SECONDS)
        if new.exists():
            new.replace(archive)


class KafkaClusterServers:
    """Three brokers on 127.0.0.1 that are controllers, too: topics may be replicated, and any two of them keep all going.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        cluster_id = new_cluster_id()
        ports = [free_port() for _ in range(_BROKERS)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(ports, 1))
        self.brokers = [
            KafkaServer(
                folder / f"broker-{number}",
                settings=_REPLICATED | {"node.id": str(number), "controller.quorum.voters": voters},
                cluster_id=cluster_id,
                controller_port=port,
            )
            for number, port in enumerate(ports, 1)
        ]
        self.bootstrap = tuple(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Starts all, and waits until all answer."""
        for broker in self.brokers:
            broker.begin()
        for broker in self.brokers:
            broker.wait_ready()

    def stop(self) -> None:
        """Ends all by force: in good order each would wait for others that have ended before it. Idempotent."""
        for broker in self.brokers:
            broker.kill()


def new_cluster_id() -> str:
    """As Kafka wants it: 16 bytes in base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
