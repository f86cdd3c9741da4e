"""Writes the dashboards of helm/throng/dashboards; `--check` fails when one differs from what is committed."""

from __future__ import annotations

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from depths import BACKENDS, STORMS
from generated_files import asked_to_check, settle
from overview import BUSINESS, PATH
from panels import Board, to_grafana
from services import EDGE, GROUP, ROUTER, UNREAD

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "throng" / "dashboards"
BOARDS: tuple[Board, ...] = (BUSINESS, PATH, STORMS, EDGE, GROUP, ROUTER, UNREAD, BACKENDS)


def wanted() -> dict[pathlib.Path, str]:
    """Each file with its content."""
    return {FOLDER / f"{board.uid}.json": json.dumps(to_grafana(board), indent=1) + "\n" for board in BOARDS}


def main() -> int:
    """Writes or compares; returns the exit code."""
    found = settle(wanted(), "helm/dashboards", check=asked_to_check(__doc__), present=FOLDER.glob("*.json"))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
