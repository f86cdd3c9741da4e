"""No secret is shown: not in logs, tracebacks, settings errors, metrics or help, while services work and while they fail."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import click.testing
import pytest
from frame_client import FrameClient, new_id
from secured_servers import PASSWORD, WRONG, BackendFiles, SecuredRedis

from throng.adapters.jwt_tokens import TokenIssuer, load_secret
from throng.cli.main import main
from throng.cli.serve import SERVICES
from throng.runtime.settings import load
from throng.testing.certificates import make_rpc_files, write_private
from throng.testing.servers import KafkaServer, MariaDBServer, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
JWT_SECRET = "Jwt-secret-" + "0123456789abcdef" * 2
SECONDS = 40.0


class Service:
    """One service as a process of its own, as an operator runs it."""

    def __init__(self, name: str, flags: dict[str, Any], folder: pathlib.Path) -> None:
        self.name = name
        self.log = folder / f"{name}-{uuid.uuid4().hex[:6]}.log"
        self.metrics_port = free_port()
        command = [sys.executable, "-m", "throng.cli.main", name, "--metrics-port", str(self.metrics_port)]
        for field, value in flags.items():
            command += [f"--{field.replace('_', '-')}", str(value)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, env=environment)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Waits until it says so."""
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self.text()):
            over = time.monotonic() > deadline or self.process.poll() is not None
            assert not over, f"no {pattern} in:\n{self.text()[-3000:]}"
            time.sleep(0.05)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def stop(self) -> str:
        """Ends it; all that it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        return self.text()


@dataclasses.dataclass
class Everything:
    """Settings of all services with every secret that there is, and the secrets' texts."""

    flags: dict[str, dict[str, Any]]
    secrets: set[str]
    folder: pathlib.Path


@pytest.fixture
def everything(
    tmp_path: pathlib.Path,
    backend_files: BackendFiles,
    secured_kafka: KafkaServer,
    secured_mariadb: MariaDBServer,
    secured_redis: SecuredRedis,
) -> Everything:
    write_private(tmp_path / "jwt", JWT_SECRET.encode())
    rpc = make_rpc_files(tmp_path / "rpc")
    ports = {name: free_port() for name in ("edge", "group", "router", "unread")}
    at = {f"{name}_addresses": f"127.0.0.1:{port}" for name, port in ports.items() if name != "edge"}
    redis = {
        "redis_url": secured_redis.url,
        "redis_ca_file": backend_files.client.ca_file,
        "redis_password_file": backend_files.password,
    }
    mysql = {
        "store": "mysql",
        "mysql_url": secured_mariadb.url("chat", user="throng"),
        "mysql_ca_file": backend_files.client.ca_file,
        "mysql_password_file": backend_files.password,
    }
    kafka = {
        "uplink": "kafka",
        "kafka_servers": secured_kafka.bootstrap,
        "kafka_ca_file": backend_files.client.ca_file,
        "kafka_user": "throng",
        "kafka_password_file": backend_files.password,
        "kafka_topic": f"secrets-{uuid.uuid4().hex}",
        "kafka_partitions": 2,
        "kafka_replication_factor": 1,
        "kafka_min_insync_replicas": 1,
    }
    flags: dict[str, dict[str, Any]] = {
        "unread": {"port": ports["unread"], "group_addresses": at["group_addresses"], **redis, **mysql},
        "router": {"port": ports["router"], **redis},
        "group": {
            "port": ports["group"],
            "router_addresses": at["router_addresses"],
            "unread_addresses": at["unread_addresses"],
            "default_group": "lobby",
            **redis,
            **mysql,
            **kafka,
        },
        "edge": {
            "port": 0,
            "internal_port": ports["edge"],
            "edge_id": "edge-1",
            "jwt_secret_file": tmp_path / "jwt",
            **at,
            **kafka,
        },
    }
    for name in flags:
        flags[name] |= rpc[name]
    return Everything(flags, _secrets(tmp_path / "rpc", backend_files), tmp_path)


def _secrets(rpc: pathlib.Path, backend_files: BackendFiles) -> set[str]:
    """What may appear nowhere, the lines of keys among it."""
    keys = [*rpc.glob("*.key"), backend_files.client.key_file]
    lines = {line for key in keys for line in key.read_text().splitlines() if len(line) > 40 and "PRIVATE" not in line}
    return {PASSWORD, WRONG, JWT_SECRET, (rpc / "rpc.token").read_text().strip(), *lines}


def shows_nothing(text: str, secrets: set[str]) -> None:
    """None of the secrets stands in the text, as it is or escaped."""
    found = [secret[:6] for secret in secrets if secret in text or repr(secret)[1:-1] in text]
    assert not found, f"secrets beginning with {found} are shown"


@pytest.fixture
def running() -> Iterator[list[Service]]:
    services: list[Service] = []
    yield services
    for service in services:
        service.stop()


def test_working_services_show_no_secret(everything: Everything, running: list[Service]) -> None:
    """All four with every secret: a client chats, then all end. A wrong call, token and peer come in between."""
    group = everything.flags["group"]
    migrate = [
        "migrate",
        *(
            f
            for name in ("url", "ca_file", "password_file")
            for f in (f"--mysql-{name.replace('_', '-')}", str(group[f"mysql_{name}"]))
        ),
    ]
    done = click.testing.CliRunner().invoke(main, migrate)
    assert done.exit_code == 0, done.output
    running += [Service(name, flags, everything.folder) for name, flags in everything.flags.items()]
    edge = running[-1]
    edge.wait_for("edge_started")
    http = re.search(r'"http": "([^"]+)"', edge.text())
    assert http
    token = TokenIssuer.from_file(everything.folder / "jwt").issue("alice", ttl_seconds=600)
    _wait_ready(http[1])
    client = FrameClient(http[1], token, timeout_seconds=SECONDS)
    client.ask(enter={"groupId": "lobby"})
    assert client.ask(send={"groupId": "lobby", "clientMsgId": new_id(), "text": {"text": "hello"}})["ack"]["seq"] == "1"
    client.close()
    metrics = "".join(service.metrics() for service in running)
    said = "".join(service.stop() for service in reversed(running))
    assert [service.process.returncode for service in running] == [0] * 4, said[-3000:]
    shows_nothing(done.output + metrics + said, {*everything.secrets, token})


def _wait_ready(address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the edge was not ready")


FAILURES: dict[str, tuple[str, dict[str, str], str]] = {
    "mysql password": ("unread", {"mysql_password_file": WRONG}, "MySQL refused"),
    "redis password": ("router", {"redis_password_file": WRONG}, "route_registry"),
    "kafka password": ("edge", {"kafka_password_file": WRONG}, "kafka"),
    "jwt secret": ("edge", {"jwt_secret_file": "Jwt-secret-short"}, "at least 32 bytes"),
    "rpc token": ("router", {"rpc_token_file": "Short-rpc-token"}, "printable ASCII"),
    "rpc key": ("unread", {"rpc_key_file": "Key-that-is-none" * 4}, "does not hold a private key"),
}


@pytest.mark.parametrize("kind", list(FAILURES))
def test_failing_services_show_no_secret(everything: Everything, running: list[Service], kind: str) -> None:
    name, wrong, sign = FAILURES[kind]
    flags = dict(everything.flags[name])
    for field, content in wrong.items():
        write_private(everything.folder / field, content.encode() + b"\n")
        flags[field] = everything.folder / field
    service = Service(name, flags, everything.folder)
    running.append(service)
    deadline = time.monotonic() + SECONDS
    while sign not in service.text():
        assert time.monotonic() < deadline, service.text()[-3000:]
        if service.process.poll() is not None:
            assert sign in service.text(), service.text()[-3000:]
        time.sleep(0.05)
    said = service.stop()
    shows_nothing(said, {*everything.secrets, *wrong.values()})


def test_objects_made_of_secrets_do_not_show_them(everything: Everything) -> None:
    for name, flags in everything.flags.items():
        settings: Any = load(SERVICES[name].settings(), flags={field: str(value) for field, value in flags.items()}, environment={})
        made = [settings, settings.rpc_security()]
        made += [
            getattr(settings, method)() for method in ("kafka_access", "mysql_access", "redis_access") if hasattr(settings, method)
        ]
        made += [load_secret(settings.jwt_secret_file)] if name == "edge" else []
        for one in made:
            shows_nothing(f"{one!r} {one!s} {one:} {[one]!r} {ValueError(one)!r}", everything.secrets)


@pytest.mark.parametrize("name", list(SERVICES))
def test_help_shows_no_secret_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in SERVICES[name].settings().model_fields:
        monkeypatch.setenv(f"THRONG_{name.upper()}_{field.upper()}", PASSWORD)
    arguments = [["group", "create", "--help"]] if name == "group" else []
    for words in [[name, "--help"], *arguments]:
        done = click.testing.CliRunner().invoke(main, words)
        assert done.exit_code == 0
        shows_nothing(done.output, {PASSWORD})


@pytest.mark.parametrize("name", list(SERVICES))
def test_secrets_come_from_files_alone(name: str) -> None:
    """A setting whose name speaks of a secret names a file."""
    fields = SERVICES[name].settings().model_fields
    texts = [field for field, info in fields.items() if info.annotation is not bool]
    secret = [field for field in texts if re.search(r"password|secret|token|(^|_)key(_|$)", field)]
    assert [field for field in secret if not field.endswith("_file")] == []
    assert "rpc_token_file" in secret


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("group", "redis_url", f"redis://:{PASSWORD}@127.0.0.1:6379"),
        ("router", "redis_url", f"redis://throng:{PASSWORD}@127.0.0.1:6379"),
        ("unread", "mysql_url", f"mysql://throng:{PASSWORD}@127.0.0.1/chat"),
    ],
)
def test_a_password_in_a_url_is_refused_without_showing_it(name: str, flag: str, value: str) -> None:
    done = click.testing.CliRunner().invoke(main, [name, f"--{flag.replace('_', '-')}", value])
    assert done.exit_code == 2
    assert "password" in done.output
    shows_nothing(done.output + repr(done.exception), {PASSWORD})
