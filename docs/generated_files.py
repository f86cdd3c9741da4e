"""What the generators of docs/ and helm/ share: their files are written, or with `--check` compared with what is committed."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Iterable, Mapping

ROOT = pathlib.Path(__file__).resolve().parents[1]


def asked_to_check(description: str | None) -> bool:
    """Whether the command line says `--check`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with what is committed; change nothing")
    return bool(parser.parse_args().check)


def settle(wanted: Mapping[pathlib.Path, str], source: str, *, check: bool, present: Iterable[pathlib.Path] = ()) -> bool:
    """Writes each file that differs from its text, and removes what is `present` and not wanted.

    Args:
        wanted: the text of each file.
        source: what the files are made from, for people.
        check: change nothing, and name what differs.
        present: files that may stand there.

    Returns:
        Whether a check found something.
    """
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    strange = [path for path in present if path not in wanted]
    if check:
        for path in [*differing, *strange]:
            print(f"{path.relative_to(ROOT)} differs from {source}: run make docs", file=sys.stderr)
        return bool(differing or strange)
    for path in strange:
        path.unlink()
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return False
