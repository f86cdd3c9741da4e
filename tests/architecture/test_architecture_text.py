"""What may not stand in the repository: unfinished work, machine paths, registry hosts, secrets."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked_files() -> list[pathlib.Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def lines_with(pattern: str, *, suffixes: set[str] | None = None, but: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    found = []
    for path in tracked_files():
        name = str(path.relative_to(ROOT))
        if (
            name in but
            or (suffixes is not None and path.suffix not in suffixes)
            or path.name == pathlib.Path(__file__).name
            or name.startswith("throng/api/")
        ):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}:{number}" for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]
    return found


@pytest.mark.parametrize("word", [r"\bTODO\b", r"\bFIXME\b", r"\bXXX\b", "NotImplementedError"])
def test_nothing_is_unfinished(word: str) -> None:
    assert lines_with(word, suffixes={".py", ".ts", ".tsx", ".lua", ".sql", ".proto"}) == []


def test_no_machine_paths() -> None:
    assert lines_with(r"/(?:root|work|home/\w+)/(?!\.)") == []


def test_no_registry_hosts() -> None:
    assert lines_with(r"https?://[\w.-]*(?:pypi\.org|npmjs\.org|npmjs\.com|maven\.org|registry)") == []


def test_tests_are_skipped_in_one_place_only() -> None:
    """A missing backend is the one reason for a skip."""
    allowed = {"tests/support/backends.py"}
    assert lines_with(r"pytest\.skip|mark\.skip|mark\.xfail", suffixes={".py"}, but=allowed) == []
