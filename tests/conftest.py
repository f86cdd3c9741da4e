"""What all tests share: the modules of tests/support, real servers, and a folder for what is kept after a run."""

from __future__ import annotations

import os
import pathlib
import sys

import hypothesis
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
pytest_plugins = ["server_fixtures", "secured_servers"]

# A deadline per example measures how busy the machine is. Where CI is set the examples are the same in every run, so that a change is
# judged by what it changed; elsewhere they are new ones each time, and a failure prints the line that repeats it.
hypothesis.settings.register_profile("throng", deadline=None, print_blob=True)
hypothesis.settings.register_profile("throng-ci", parent=hypothesis.settings.get_profile("throng"), derandomize=True)
hypothesis.settings.load_profile("throng-ci" if os.environ.get("CI") else "throng")


@pytest.fixture(scope="session")
def artifacts() -> pathlib.Path:
    """Folder for screenshots and logs that are kept after a run."""
    folder = pathlib.Path(os.environ.get("THRONG_ARTIFACTS", pathlib.Path(__file__).resolve().parents[1] / "artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
