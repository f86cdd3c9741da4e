"""The layers and the independence of the services, as import-linter reads them from setup.cfg."""

from __future__ import annotations

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_layers_hold() -> None:
    command = [str(pathlib.Path(sys.executable).parent / "lint-imports"), "--config", "setup.cfg", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
