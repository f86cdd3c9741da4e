"""Progress of `throng bench`: a bar on a terminal with rich, otherwise a plain line per second on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

from throng.bench import BenchPlan, BenchRun

Show = Callable[[BenchRun], None]


@contextlib.contextmanager
def progress_display(plan: BenchPlan, *, quiet: bool) -> Iterator[Show]:
    """Gives a function that shows how a run stands; call it a few times a second."""
    if quiet:
        yield lambda running: None
        return
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.description}"))
            with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("connecting", total=1.0)
                yield lambda running: bar.update(task, completed=_part(plan, running), description=_line(plan, running))
            return
    last = [0.0]

    def line(running: BenchRun) -> None:
        if time.monotonic() - last[0] >= 1.0:
            last[0] = time.monotonic()
            click.echo(f"{_part(plan, running):4.0%} {_line(plan, running)}", err=True)

    yield line


def _part(plan: BenchPlan, running: BenchRun) -> float:
    """How much is done: connecting is a tenth, sending the rest."""
    clients = plan.receivers + plan.senders
    if not running.progress.submitted:
        return 0.1 * min(1.0, running.progress.online / clients)
    wanted = max(1.0, plan.planned_messages)
    return 0.1 + 0.9 * min(1.0, running.progress.submitted / wanted)


def _line(plan: BenchPlan, running: BenchRun) -> str:
    now = running.progress
    text = f"online {now.online:,}/{plan.receivers + plan.senders:,}  written {now.submitted:,}  ACKed {now.acked:,}"
    text += f"  delivered {now.delivered:,}  open {now.unanswered:,}"
    if now.refused:
        text += f"  refused {now.refused:,}"
    if now.faults:
        text += f"  FAULTS {now.faults:,}"
    return text
