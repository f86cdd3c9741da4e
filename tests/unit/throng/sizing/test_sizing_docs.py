"""Every option of the two commands that reckon and load stands in its page."""

from __future__ import annotations

import pathlib

import click
import pytest

from throng.cli.bench import bench
from throng.cli.plan import plan

DOCS = pathlib.Path(__file__).resolve().parents[4] / "docs"


@pytest.mark.parametrize(("command", "page"), [(plan, "plan.md"), (bench, "bench.md")])
def test_every_option_is_documented(command: click.Command, page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    flags = [flag for option in command.params for flag in option.opts if flag.startswith("--")]
    assert [flag for flag in flags if flag not in text] == []
