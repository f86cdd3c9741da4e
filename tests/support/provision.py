"""Installs what tests use besides Python packages: real servers, a real browser and its fonts. Nothing is started by it."""

from __future__ import annotations

import shutil
import subprocess

from throng.testing.servers.packages import SERVER_PACKAGES, install_debian_packages, install_kafka, missing_packages

_BROWSER_PACKAGES = {"chromium": "chromium", "fc-list": "fontconfig"}
_WATCH_PACKAGES = {"promtool": "prometheus"}
_FONT = "fonts-noto-cjk"


def _missing() -> list[str]:
    packages = missing_packages(SERVER_PACKAGES | _BROWSER_PACKAGES | _WATCH_PACKAGES)
    if shutil.which("fc-list") is None:
        return [*packages, _FONT]
    fonts = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, text=True, check=False).stdout
    return packages if fonts.strip() else [*packages, _FONT]


def install_everything() -> bool:
    """Installs what is missing, as root or by sudo; names the remedy and returns False where it cannot."""
    installed = install_debian_packages(_missing())
    return install_kafka() and installed


if __name__ == "__main__":
    raise SystemExit(0 if install_everything() else 1)
