"""Generated documents agree with the code, links lead somewhere, and a wheel holds everything."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_generated_documents_agree_with_the_code() -> None:
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_files_named_in_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:throng|edge|group_svc|router_svc|unread_svc|protos|tests|web|docs)/[\w./*]+)`", text)
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []


def test_a_wheel_holds_everything(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    packages = ("throng", "edge", "group_svc", "router_svc", "unread_svc")
    wanted = {
        str(path.relative_to(ROOT))
        for package in packages
        for suffix in ("py", "lua", "sql", "c")
        for path in (ROOT / package).rglob(f"*.{suffix}")
    }
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "edge" / "static").rglob("*") if path.is_file()}
    assert wanted - set(names) == set()
    assert any(name.endswith("throng/api/client/v1/client_pb2.py") for name in names)
    assert any(name.endswith(".html") for name in names), "the page is not built: run `make web` first"


def logged(*levels: str) -> set[str]:
    """Names of events that product code logs at these levels."""
    found: set[str] = set()
    for package in ("throng", "edge", "group_svc", "router_svc", "unread_svc"):
        for path in (ROOT / package).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
            for call in calls:
                method = call.func
                if isinstance(method, ast.Attribute) and method.attr in levels and ast.unparse(method.value).endswith("_log"):
                    found.add(ast.literal_eval(call.args[0]))
    return found


def test_each_warning_has_its_row_in_the_runbook() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert len(rows) == len(set(rows)), "an event has two rows"
    warnings, errors = logged("warning"), logged("error", "exception", "critical")
    assert warnings - set(rows) == set(), "no row in docs/runbook.md"
    assert set(rows) - warnings - errors == set(), "rows of events that nobody logs"
