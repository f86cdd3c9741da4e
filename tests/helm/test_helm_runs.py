"""What the chart renders really starts: jobs and services as processes on real servers, with its commands, settings, ports and probes."""

from __future__ import annotations

import base64
import contextlib
import copy
import pathlib
import secrets
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from backends import backend_missing
from chart import of_kind, render
from frame_client import FrameClient
from pods import Pod, make_pods

from throng.testing.certificates import CertificateAuthority
from throng.testing.servers import KafkaServer, MariaDBServer, RedisServer
from throng.testing.servers.kafka_jars import java, require_jars
from throng.testing.servers.packages import SERVER_PACKAGES, missing_packages

START_SECONDS = 60.0
JOB_SECONDS = 60.0
PASSWORD = "pass-" + secrets.token_hex(8)


def made_secrets() -> dict[tuple[str, str], bytes]:
    """What an operator puts into Secrets, by name and key."""
    authority = CertificateAuthority()
    certificate = authority.issue("throng")
    return {
        ("throng-jwt", "jwt"): secrets.token_hex(32).encode(),
        ("throng-mysql", "password"): PASSWORD.encode(),
        ("throng-mysql-migrate", "password"): PASSWORD.encode(),
        ("throng-redis", "password"): PASSWORD.encode(),
        ("throng-rpc-token", "token"): secrets.token_hex(32).encode(),
        ("throng-rpc", "ca.crt"): authority.certificate_pem,
        ("throng-rpc", "tls.crt"): certificate.certificate_pem,
        ("throng-rpc", "tls.key"): certificate.key_pem,
    }


@pytest.fixture
def pods(
    kafka_server: KafkaServer, mariadb_server: MariaDBServer, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, Pod]]:
    """The pods of one rendering with its secrets mounted, on servers with the users that docs/mysql.md makes."""
    name, network = request.param
    database = f"helm_{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as running:
        redis = RedisServer(tmp_path / "redis", options=["--requirepass", PASSWORD] if name == "own-certificates" else [])
        redis.start()
        running.callback(redis.stop)
        with mariadb_server.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            for user, rights in (
                ("throng", "SELECT, INSERT, UPDATE, DELETE"),
                ("throng_migrate", "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"),
            ):
                cursor.execute(f"CREATE OR REPLACE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
                cursor.execute(f"GRANT {rights} ON {database}.* TO '{user}'@'127.0.0.1'")
        hosts = {
            "kafka-1.example.org:9092,kafka-2.example.org:9092": kafka_server.bootstrap,
            "db-1.example.org:3306,db-2.example.org:3307": f"127.0.0.1:{mariadb_server.port}",
            "redis.example.org:6379": f"127.0.0.1:{redis.port}",
        }
        more = ("--set", f"mysql.database={database},kafka.topic={database},kafka.replicationFactor=1,kafka.minInsyncReplicas=1")
        made = make_pods(render(name, *more), tmp_path, network, hosts)
        given = made_secrets()
        for pod in made.values():
            running.callback(pod.kill)
            pod.mount(given)
        yield made
        for user in ("throng", "throng_migrate"):
            with mariadb_server.cursor() as cursor:
                cursor.execute(f"DROP USER '{user}'@'127.0.0.1'")


def jobs_and_services(pods: dict[str, Pod]) -> list[Pod]:
    """Runs both jobs twice, then starts the services and waits until all their probes pass; gives the services."""
    for job in ("migrate", "topics", "migrate", "topics"):
        assert pods[job].run(JOB_SECONDS) == 0, pods[job].text()
    services = [pods[name] for name in ("edge", "group", "router", "unread")]
    for pod in services:
        pod.start()
    for pod in services:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            pod.wait_for(probe, START_SECONDS)
    return services


def chat(edge: Pod) -> None:
    """What one user writes another one reads."""
    alice, bob = enter(edge, "alice"), enter(edge, "bob")
    with contextlib.closing(alice), contextlib.closing(bob):
        message = {"groupId": "lobby", "clientMsgId": str(uuid.uuid4()), "text": {"text": "hello from a chart"}}
        assert alice.ask(send=message)["ack"]["seq"] == "1"
        block = bob.wait(lambda frame: "block" in frame)["block"]
        assert block["messages"][0]["text"] == {"text": "hello from a chart"}


def enter(edge: Pod, user: str) -> FrameClient:
    """A client in the lobby, with a token made in the edge's container as docs/install.md says."""
    token = edge.execute("throng", "token", "--user", user)
    client = FrameClient(f"{edge.address}:{edge.port('http')}", token)
    client.ask(enter={"groupId": "lobby"})
    return client


@pytest.mark.parametrize("pods", [("small", 71), ("own-certificates", 72)], indirect=True, ids=["plain", "certificates-and-token"])
def test_jobs_run_twice_and_services_chat(pods: dict[str, Pod]) -> None:
    services = jobs_and_services(pods)
    chat(pods["edge"])
    for pod in services:
        metrics = urllib.request.urlopen(f"http://{pod.address}:{pod.port('metrics')}/metrics", timeout=10).read().decode()
        assert f"throng_{pod.container['name']}_" in metrics
    for pod in services:
        pod.stop()
        assert pod.process is not None
        assert pod.process.returncode == 0, pod.text()


MARIADB = """
import os, pathlib, subprocess, sys
data = next(word.partition("=")[2] for word in sys.argv if word.startswith("--datadir="))
socket, options = sys.argv[1], ["--no-defaults", "--user=root", f"--datadir={data}"]
password = pathlib.Path(os.environ["MARIADB_PASSWORD_FILE"]).read_text()
made = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
user, database = os.environ["MARIADB_USER"], os.environ["MARIADB_DATABASE"]
statements = f"CREATE DATABASE {database}; CREATE USER {user} IDENTIFIED BY '{password}'; GRANT ALL ON {database}.* TO {user};"
start = pathlib.Path(data).parent / "start.sql"
start.write_text(statements.replace("; ", ";\\n"))
os.execvp("mariadbd", ["mariadbd", *options, f"--init-file={start}", f"--socket={socket}", *sys.argv[2:]])
"""
"""What the entry point of the official image does with these variables, as far as the chart uses it."""


def prepare_trial_servers(pods: dict[str, Pod], folder: pathlib.Path) -> None:
    """Puts programs of this machine where those of the images would be, on the pods' own addresses."""
    jars = require_jars()
    for script, start in {"kafka-storage.sh": "kafka.tools.StorageTool", "kafka-server-start.sh": "kafka.Kafka"}.items():
        program = folder / script
        program.write_text(f"#!/bin/sh\nexec {java()} $KAFKA_HEAP_OPTS -cp '{jars}/*' {start} \"$@\"\n")
        program.chmod(0o755)
    kafka, mysql, redis = (pods[f"trial-{kind}"] for kind in ("kafka", "mysql", "redis"))
    for pod in (kafka, mysql, redis):
        data = pod.folder / pod.name / "data"
        data.mkdir()
        pod.substitute({"/var/lib/throng-trial": str(data)})
    kafka.substitute(
        {"/opt/kafka/bin": str(folder), "://:9092": f"://{kafka.address}:9092", "127.0.0.1:9093": f"{kafka.address}:9093"}
    )
    redis.substitute({"exec redis-server /tmp/redis.conf": f"exec redis-server {redis.tmp}/redis.conf --bind {redis.address}"})
    # Names of sockets may not be longer than about 100 characters, so it is relative to the data folder.
    mysql.container["command"] = [sys.executable, "-c", MARIADB, "s.sock", f"--bind-address={mysql.address}", "--port=3306"]


def test_a_trial_brings_its_servers_and_chats(tmp_path: pathlib.Path) -> None:
    if missing_packages(SERVER_PACKAGES):
        backend_missing("kafka", "python tests/support/provision.py")
    objects = copy.deepcopy(render("trial"))
    pods = make_pods(objects, tmp_path, 74, {})
    given = {
        (name, key): base64.b64decode(value)
        for name, one in of_kind(objects, "Secret").items()
        for key, value in one["data"].items()
    }
    with contextlib.ExitStack() as running:
        for pod in pods.values():
            running.callback(pod.kill)
            pod.mount(given)
        prepare_trial_servers(pods, tmp_path)
        servers = [pods[f"trial-{kind}"] for kind in ("kafka", "mysql", "redis")]
        for pod in servers:
            pod.start()
        for pod in servers:
            pod.wait_for("startupProbe", START_SECONDS)
        services = jobs_and_services(pods)
        chat(pods["edge"])
        for pod in services:
            pod.stop()


def test_a_service_that_is_away_is_not_healthy(tmp_path: pathlib.Path) -> None:
    """`throng health` fails where nobody serves: a probe that cannot fail proves nothing."""
    objects: Any = render("own-certificates")
    group = make_pods(objects, tmp_path, 73, {})["group"]
    group.mount(made_secrets())
    assert not group.passes("readinessProbe")
