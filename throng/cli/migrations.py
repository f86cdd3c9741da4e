"""`throng migrate`: brings the tables in a data folder to this version."""

from __future__ import annotations

import pathlib

import click

from throng.adapters.sqlite_database import SQLiteDatabase, read_migrations
from throng.cli.data_folder import DataFolder
from throng.cli.refusal import refusals

_FILES = {"group.db": "group_svc.adapters.migrations_sqlite", "unread.sqlite": "unread_svc.adapters.migrations_sqlite"}
"""File in a data folder, and the package that holds its migrations."""


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default="data",
    show_default=True,
    help="Data folder of `throng up`, which must not be running.",
)
def migrate(data_dir: pathlib.Path) -> None:
    """Bring the tables to this version. Safe to repeat; `throng up` does the same when it starts."""
    folder = DataFolder(data_dir)
    with refusals():
        folder.make()
        folder.lock()
        try:
            for name, package in _FILES.items():
                SQLiteDatabase(folder.path / name, migrations_package=package).close()
                click.echo(f"{name}: at migration {read_migrations(package)[-1][0]:04d}")
        finally:
            folder.unlock()
