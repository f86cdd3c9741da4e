"""Installs the Debian packages that tests use: real servers and a real browser. Nothing is started by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "chromium": "chromium",
    "fc-list": "fontconfig",
    "redis-server": "redis-server",
}
"""A program that shows whether a package is there, and the package."""

FONT = "fonts-noto-cjk"


def _missing() -> list[str]:
    packages = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    fonts = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, text=True, check=False).stdout if not packages else ""
    return packages if fonts.strip() else [*packages, FONT]


def install_debian_packages() -> None:
    """Installs what is missing, as root or by sudo; names the remedy where it cannot."""
    packages = _missing()
    if not packages:
        return
    remedy = f"apt-get install --no-install-recommends {' '.join(packages)}"
    print(f"== Debian packages: {' '.join(packages)} (about a minute)", flush=True)
    if shutil.which("apt-get") is None:
        print(
            f"There is no apt-get here. Tests that need these packages will be skipped; install them by hand: {remedy}",
            file=sys.stderr,
        )
        return
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = [
        [*prefix, "apt-get", "update", "-qq"],
        [
            *prefix,
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "RUNLEVEL=1",
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            *packages,
        ],
    ]
    for command in commands:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stderr[-2000:], file=sys.stderr)
            print(f"The packages could not be installed; install them by hand: sudo {remedy}", file=sys.stderr)
            return


if __name__ == "__main__":
    install_debian_packages()
