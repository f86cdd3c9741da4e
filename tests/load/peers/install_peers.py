"""Fetches the peers that registries offer into a cache folder: nchan from Debian, npm packages, Python packages. Optional, all of them.

Nothing is installed into the system and nothing is started. What cannot be had is named, and left out by the bench.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from peers import CACHE, NCHAN_MODULE, NGINX, NODE_MODULES, PYTHON, ROOT

DEBIAN = ("nginx", "nginx-common", "libnginx-mod-nchan", "libhiredis0.14")
NPM = ("ws@8", "socket.io@4")
PYPI = ("websockets>=15", "picows>=2", "socketify", "uvloop")
_FETCH_SECONDS = 300


def _run(title: str, folder: pathlib.Path, *commands: list[str]) -> bool:
    print(f"== {title}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{title}: left out, {error}", file=sys.stderr)
            return False
        if done.returncode:
            print(f"{title}: left out, {done.stderr.strip()[-300:]}", file=sys.stderr)
            return False
    return True


def _install_nchan() -> None:
    folder = CACHE / "nchan"
    if NGINX.exists() and NCHAN_MODULE.exists():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        print("nginx with nchan: left out, this is no Debian", file=sys.stderr)
        return
    if _run("nginx with nchan from Debian, unpacked only", folder, ["apt-get", "download", "-qq", *DEBIAN]):
        packages = sorted(folder.glob("*.deb"))
        _run("nginx with nchan, unpacking", folder, *(["dpkg", "-x", str(file), "root"] for file in packages))


def main() -> int:
    """Fetches what is missing; always 0, for every peer is optional."""
    _install_nchan()
    if shutil.which("cc"):
        _run("the edge's compiled loop", ROOT, [sys.executable, "-m", "edge.native.build", str(CACHE.parent)])
    if not NODE_MODULES.exists():
        _run(
            "npm ws and Socket.IO",
            NODE_MODULES.parent,
            ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", ".", *NPM],
        )
    if not PYTHON.exists():
        folder = PYTHON.parents[1]
        install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYPI]
        if not _run("websockets, picows and socketify", folder.parent, [sys.executable, "-m", "venv", str(folder)], install):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
