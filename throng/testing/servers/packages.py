"""Installs what the real servers need: Debian packages by apt-get, Kafka by Maven. Nothing is started by it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from throng.testing.servers.kafka import KafkaServer
from throng.testing.servers.kafka_jars import class_archive, fetch_jars, kafka_folder
from throng.testing.servers.process import ServerMissing

SERVER_PACKAGES = {
    "redis-server": "redis-server",
    "mariadbd": "mariadb-server",
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
}
"""A program that shows whether a package is there, and the package."""


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    """The packages whose program is not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return [package for program, package in packages.items() if shutil.which(program, path=path) is None]


def install_debian_packages(packages: list[str]) -> bool:
    """Installs packages as root or by sudo; names the remedy and returns False where it cannot."""
    if not packages:
        return True
    remedy = f"apt-get install --no-install-recommends {' '.join(packages)}"
    print(f"== Debian packages: {' '.join(packages)} (about a minute)", flush=True)
    if shutil.which("apt-get") is None:
        print(f"There is no apt-get here; install them by hand: {remedy}", file=sys.stderr)
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    commands = [
        [*prefix, "apt-get", "update", "-qq"],
        [*prefix, *quiet, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stderr[-2000:], file=sys.stderr)
            print(f"The packages could not be installed; install them by hand: sudo {remedy}", file=sys.stderr)
            return False
    return True


def install_kafka() -> bool:
    """Fetches Kafka where it is missing; names the remedy and returns False where it cannot."""
    try:
        if not (kafka_folder() / "complete").exists():
            print("== Kafka from Maven Central (44 jars, about a quarter of a minute)", flush=True)
            fetch_jars()
        if not class_archive().exists():
            print("== Kafka's class archive, which makes it start in half the time", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                KafkaServer(pathlib.Path(folder)).make_class_archive()
    except ServerMissing as error:
        print(str(error), file=sys.stderr)
        return False
    except RuntimeError as error:
        print(f"Kafka has no class archive and starts more slowly: {error}", file=sys.stderr)
    return True


def install_servers() -> bool:
    """Installs all servers; False when one could not be."""
    installed = install_debian_packages(missing_packages(SERVER_PACKAGES))
    return install_kafka() and installed


if __name__ == "__main__":
    raise SystemExit(0 if install_servers() else 1)
