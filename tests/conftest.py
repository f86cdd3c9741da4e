"""What all tests share: the one rule for a backend that is missing."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))


def backend_missing(name: str, remedy: str) -> None:
    """Skips the test visibly; fails it where REQUIRE_BACKENDS names the backend."""
    if name in os.environ.get("REQUIRE_BACKENDS", "").split(","):
        pytest.fail(f"{name} is required and missing: {remedy}")
    pytest.skip(f"{name} is missing: {remedy}")


@pytest.fixture(scope="session")
def report_missing_backend() -> Callable[[str, str], None]:
    """`backend_missing`, for fixtures in other conftest files, which cannot import this one."""
    return backend_missing


@pytest.fixture(scope="session")
def artifacts() -> pathlib.Path:
    """Folder for screenshots and logs that are kept after a run."""
    folder = pathlib.Path(os.environ.get("THRONG_ARTIFACTS", pathlib.Path(__file__).resolve().parents[1] / "artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
