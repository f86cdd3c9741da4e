"""What all tests share: the modules of tests/support, real servers, and a folder for what is kept after a run."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
pytest_plugins = ["server_fixtures", "secured_servers"]


@pytest.fixture(scope="session")
def artifacts() -> pathlib.Path:
    """Folder for screenshots and logs that are kept after a run."""
    folder = pathlib.Path(os.environ.get("THRONG_ARTIFACTS", pathlib.Path(__file__).resolve().parents[1] / "artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
