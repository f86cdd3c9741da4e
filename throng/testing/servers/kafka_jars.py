"""Fetches Kafka from Maven Central once, keeps it in a cache folder, and makes a class archive that halves its start."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import subprocess
from importlib import resources

from throng.testing.servers.process import ServerMissing, find_program

KAFKA_VERSION = "4.4.0"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_SECONDS = 600


def cache_folder() -> pathlib.Path:
    """`$THRONG_CACHE_DIR`, else `throng` in the user's cache folder."""
    named = os.environ.get("THRONG_CACHE_DIR")
    if named:
        return pathlib.Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "throng"


def kafka_folder() -> pathlib.Path:
    """Where the jars of this version lie or shall lie."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def class_archive() -> pathlib.Path:
    """The class archive beside the jars; it need not exist."""
    return kafka_folder() / "classes.jsa"


def java() -> str:
    """The path of Java.

    Raises:
        ServerMissing: it is not installed.
    """
    return find_program("java", backend="kafka", package="openjdk-17-jre-headless")


def require_jars() -> pathlib.Path:
    """The folder of the jars.

    Raises:
        ServerMissing: they were not fetched yet.
    """
    java()
    folder = kafka_folder()
    if not (folder / "complete").exists():
        raise ServerMissing("kafka", "python -m throng.testing.servers.packages (fetches it with Maven)")
    return folder


def fetch_jars() -> pathlib.Path:
    """Fetches the jars where they are missing, one process at a time; returns their folder.

    Raises:
        ServerMissing: Maven is missing or could not fetch them.
    """
    folder = kafka_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return folder
        maven = find_program("mvn", backend="kafka", package="maven")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        pom = folder / "pom.xml"
        text = resources.files("throng.testing.servers").joinpath("kafka_pom.xml").read_text(encoding="utf-8")
        pom.write_text(text.replace("KAFKA_VERSION", KAFKA_VERSION), encoding="utf-8")
        command = [maven, "-B", "-ntp", "-q", "-f", str(pom), _PLUGIN, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
        if done.returncode != 0:
            raise ServerMissing("kafka", f"Maven could not fetch it: {(done.stdout + done.stderr)[-1500:]}")
        (folder / "complete").touch()
    return folder
