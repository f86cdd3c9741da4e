"""Runs every check and every test in turn, and ends with one line that counts the tests.

Installs what tests need (chromium, MariaDB, Redis, Kafka …) where they are missing and it may. Exit code 0: all passed.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import provision

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
ARTIFACTS = ROOT / "artifacts"


def step(title: str, command: list[str]) -> bool:
    """Runs one command with its output shown; returns whether it succeeded."""
    print(f"\n== {title}", flush=True)
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"== {title}: {'ok' if code == 0 else f'FAILED ({code})'}, {time.monotonic() - started:.0f} s", flush=True)
    return code == 0


def checks() -> list[bool]:
    """Looks at the code without running it, and meanwhile at the page: each of the two keeps one core busy."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [str(BIN / "python"), "web/build.py", "check"]
        page = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        results = [
            step("style", [str(BIN / "ruff"), "check", "."]),
            step("format", [str(BIN / "ruff"), "format", "--check", "."]),
            step("layers", [str(BIN / "lint-imports"), "--config", "setup.cfg"]),
            step("types", [str(BIN / "mypy")]),
        ]
        code = page.wait()
        output.seek(0)
        print(f"\n== page\n{output.read()}== page: {'ok' if code == 0 else f'FAILED ({code})'}", flush=True)
    return [*results, code == 0]


def count_pytest(report: pathlib.Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) from a JUnit report; a report that is missing counts as one failure."""
    if not report.exists():
        return 0, 1, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    passed = failed = skipped = 0
    for suite in suites:
        total, bad = int(suite.get("tests", 0)), int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        left_out = int(suite.get("skipped", 0))
        passed, failed, skipped = passed + total - bad - left_out, failed + bad, skipped + left_out
    return passed, failed, skipped


def count_vitest(report: pathlib.Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) from vitest's JSON report; a report that is missing counts as one failure."""
    if not report.exists():
        return 0, 1, 0
    content = json.loads(report.read_text(encoding="utf-8"))
    return content["numPassedTests"], content["numFailedTests"], content["numPendingTests"]


def main() -> int:
    """Runs everything; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    arguments = parser.parse_args()
    ARTIFACTS.mkdir(exist_ok=True)
    if not arguments.no_install:
        provision.install_everything()
    pytest = [str(BIN / "python"), "-m", "pytest", "-q", "--durations=8"]
    suites = {
        "unit": ["-n", "2", "tests/unit", "tests/protos", "tests/architecture", "tests/fuzz"],
        "servers": ["-n", "2", "tests/conformance", "tests/integration"],
        "helm": ["-n", "2", "tests/helm"],
        "e2e": ["-n", "2", "--dist", "loadfile", "-m", "not alone", "tests/e2e"],
        "e2e-alone": ["-m", "alone", "tests/e2e"],
        "chaos": ["tests/chaos"],
    }
    for old in ARTIFACTS.glob("report-*"):
        old.unlink()
    results = checks()
    os.environ["THRONG_ARTIFACTS"] = str(ARTIFACTS)
    for name, paths in suites.items():
        report = ARTIFACTS / f"report-{name}.xml"
        results.append(step(f"tests: {name}", [*pytest, f"--junitxml={report}", *paths]))
    counts = [count_pytest(ARTIFACTS / f"report-{name}.xml") for name in suites]
    counts.append(count_vitest(ARTIFACTS / "report-vitest.json"))
    passed, failed, skipped = (sum(column) for column in zip(*counts, strict=True))
    print(f"\n{'Everything passed.' if all(results) and not failed else 'Something failed; see above.'}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if all(results) and failed == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
