"""Runs the steps of the Dockerfile in bare Debian folders, and starts what comes out as its user on a read-only root.

For machines without a container engine, as root: `python docker/clean_root.py [--target all]`. The base images are made by
debootstrap: Debian 12 with its Python 3.11, and for the page with the Node of this machine. Leaves nothing behind but its cache.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
CACHE = pathlib.Path.home() / ".cache" / "throng" / "clean-root"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Stage:
    """What a stage of the Dockerfile has come to."""

    root: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its text, continued lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1].strip()) for line in lines if line.strip()]


def base_root() -> pathlib.Path:
    """Debian 12 with Python, made once."""
    root = CACHE / "base"
    if not (root / ".complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        print("== debootstrap (about two minutes)", flush=True)
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), MIRROR], check=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        (root / ".complete").touch()
    return root


def with_node(root: pathlib.Path) -> None:
    """Puts the Node and npm of this machine into a root, as its image would."""
    node = pathlib.Path(str(shutil.which("node"))).resolve()
    npm = pathlib.Path(str(shutil.which("npm"))).resolve().parents[1]
    shutil.copy2(node, root / "usr/local/bin/node")
    shutil.copytree(npm, root / "usr/local/lib/node_modules/npm", symlinks=True)
    (root / "usr/local/bin/npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
    libraries = subprocess.run(["ldd", str(node)], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"=> (/\S+)", libraries):
        if not (root / path[1:]).exists():
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, root / path[1:])


def fresh(image: str, stages: dict[str, Stage], name: str) -> Stage:
    """A new stage on a base image or on another stage."""
    root = CACHE / "stages" / name
    if image in stages:
        before = stages[image]
        subprocess.run(["cp", "-a", "--reflink=auto", str(before.root), str(root)], check=True)
        return Stage(root, dict(before.environment), before.folder, before.user, list(before.command), list(before.check))
    subprocess.run(["cp", "-a", "--reflink=auto", str(base_root()), str(root)], check=True)
    if image.startswith("node:"):
        with_node(root)
    for file in ("/etc/resolv.conf", CERTIFICATES):
        shutil.copyfile(file, root / file[1:])
    return Stage(root, {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})


def chrooted(stage: Stage, command: list[str], *, read_only: bool = False) -> list[str]:
    """A command line that runs in the stage as its user; `read_only`: it may write to /tmp and /data alone, which are empty."""
    user, _, group = stage.user.partition(":")
    root = str(stage.root)
    mounts = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    if read_only:
        mounts += [f"mount -t tmpfs tmpfs {root}/tmp", f"mount -t tmpfs -o uid={user},gid={group} tmpfs {root}/data"]
        mounts += [f"mount -o remount,ro,bind {root}"]
    step = f"cd {shlex.quote(stage.folder)} && exec {shlex.join(command)}"
    drop = f"--reuid={user} --regid={group} --clear-groups --bounding-set=-all --no-new-privs" if user != "0" else ""
    given = {"HOME": "/tmp", **stage.environment} if read_only else variables(stage)
    words = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in given.items()), "sh", "-c", step])
    inside = f"exec chroot {root} {'setpriv ' + drop if drop else ''} {words}"
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "; ".join([*mounts, inside])]


def variables(stage: Stage) -> dict[str, str]:
    """The stage's own environment, and the way to package registries of this machine."""
    machine = {"PIP_CERT": CERTIFICATES, "NODE_EXTRA_CA_CERTS": CERTIFICATES, "HOME": "/tmp"}
    passed = {name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy", "no_proxy")}
    return {**machine, **passed, **stage.environment}


def copy(stage: Stage, text: str, stages: dict[str, Stage]) -> None:
    """COPY, from the repository or another stage."""
    words = shlex.split(text)
    source_root = ROOT
    if words[0].startswith("--from="):
        source_root = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    into = stage.root / os.path.join(stage.folder, target).lstrip("/")
    for name in sources:
        source = source_root / name.lstrip("/")
        place = into if source.is_dir() or (len(sources) == 1 and not target.endswith("/")) else into / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns(
                "node_modules", "__pycache__", "gen" if name == "web" else "", "static" if name == "edge" else ""
            )
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(source, place)


def build(target: str) -> Stage:
    """Runs the Dockerfile up to a stage."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    stage: Stage | None = None
    for word, text in instructions():
        if word == "ARG":
            name, _, value = text.partition("=")
            arguments[f"${{{name}}}"] = value
        elif word == "FROM":
            if target in stages:
                break
            image, name = re.fullmatch(r"(\S+) AS (\S+)", text).groups()  # type: ignore[union-attr]
            stage = stages[name] = fresh(arguments.get(image, image), stages, name)
            print(f"== {name}", flush=True)
        else:
            assert stage is not None
            perform(stage, word, text, stages)
    return stages[target]


def perform(stage: Stage, word: str, text: str, stages: dict[str, Stage]) -> None:
    """One instruction of a stage."""
    if word == "RUN":
        print(f"   RUN {text[:100]}", flush=True)
        subprocess.run(chrooted(stage, ["sh", "-c", text]), check=True)
    elif word == "COPY":
        copy(stage, text, stages)
    elif word == "ENV":
        stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(text))
    elif word == "WORKDIR":
        stage.folder = text
        (stage.root / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = text
    elif word == "CMD":
        stage.command = json.loads(text)
    elif word == "HEALTHCHECK":
        stage.check = json.loads(text[text.index("CMD") + 3 :])
    else:
        assert word in ("EXPOSE", "VOLUME"), f"{word} is not known here"


def start(stage: Stage) -> None:
    """Starts the all-in-one as a container would, waits until its health check passes, and has it end in good order."""
    process = subprocess.Popen(chrooted(stage, stage.command, read_only=True))
    check = chrooted(stage, stage.check, read_only=True)
    deadline = time.monotonic() + HEALTHY_SECONDS
    try:
        while subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("it does not become healthy")
            time.sleep(1)
        print("== healthy, as its user, on a read-only root", flush=True)
        inside = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        os.kill(int(inside[0]), signal.SIGTERM)
        if process.wait(30):
            raise SystemExit(f"it ended with {process.returncode} on SIGTERM")
        print("== ended in good order on SIGTERM", flush=True)
    finally:
        process.kill()


def report(stage: Stage) -> None:
    """Says how large it is, and what must not be in it."""
    size = subprocess.run(["du", "-sm", str(stage.root / "opt/throng")], capture_output=True, text=True, check=True).stdout.split()[
        0
    ]
    print(f"== /opt/throng has {size} MB", flush=True)
    for tool in ("gcc", "cc", "make", "npm", "node"):
        if any((stage.root / folder / tool).exists() for folder in ("usr/bin", "usr/local/bin", "opt/throng/bin")):
            raise SystemExit(f"{tool} is in the image")
    done = subprocess.run(chrooted(stage, ["throng", "version"], read_only=True), capture_output=True, text=True, check=True)
    print(f"== {done.stdout.strip()}", flush=True)


def main() -> int:
    """Builds and starts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="all", help="stage to build; `all` is started besides")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("This needs root and debootstrap: sudo apt-get install debootstrap", file=sys.stderr)
        return 2
    shutil.rmtree(CACHE / "stages", ignore_errors=True)
    (CACHE / "stages").mkdir(parents=True)
    try:
        stage = build(arguments.target)
        report(stage)
        if arguments.target == "all":
            start(stage)
    finally:
        shutil.rmtree(CACHE / "stages", ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
