"""The one rule for a backend that is missing."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def backend_missing(name: str, remedy: str) -> NoReturn:
    """Skips the test visibly; fails it where REQUIRE_BACKENDS names the backend."""
    if name in os.environ.get("REQUIRE_BACKENDS", "").split(","):
        pytest.fail(f"{name} is required and missing: {remedy}")
    pytest.skip(f"{name} is missing: {remedy}")
