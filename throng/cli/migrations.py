"""`throng migrate`: brings the tables in a data folder, or in MySQL, to this version."""

from __future__ import annotations

import pathlib

import click

from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.adapters.mysql_migrations import Schema
from throng.adapters.mysql_migrations import migrate as migrate_mysql
from throng.adapters.sqlite_database import SQLiteDatabase, read_migrations
from throng.cli.data_folder import DataFolder
from throng.cli.refusal import Refusal, refusals
from throng.runtime.secret_files import read_secret_file

_FILES = {"group.db": "group_svc.adapters.migrations_sqlite", "unread.sqlite": "unread_svc.adapters.migrations_sqlite"}
"""File in a data folder, and the package that holds its migrations."""

_FILE = click.Path(path_type=pathlib.Path, dir_okay=False)


def mysql_schemas() -> list[Schema]:
    """The tables of all services."""
    from group_svc.adapters import mysql_rows
    from unread_svc.adapters import mysql_cursor_store

    return [mysql_rows.SCHEMA, mysql_cursor_store.SCHEMA]


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default="data",
    show_default=True,
    help="Data folder of `throng up`, which must not be running.",
)
@click.option("--mysql-url", metavar="URL", help="Migrate mysql://user@host:3306/database instead; services may be running.")
@click.option("--mysql-password-file", type=_FILE, help="File with the password of a user who may make and change tables.")
@click.option("--mysql-ca-file", type=_FILE, help="PEM of the authority of MySQL's certificates; given: TLS.")
@click.option(
    "--lock-seconds", type=click.IntRange(0, 3600), default=30, show_default=True, help="Wait for another runner so long."
)
def migrate(
    *,
    data_dir: pathlib.Path,
    mysql_url: str | None,
    mysql_password_file: pathlib.Path | None,
    mysql_ca_file: pathlib.Path | None,
    lock_seconds: int,
) -> None:
    """Bring the tables to this version. Safe to repeat; `throng up` does the same when it starts, services on MySQL do not."""
    with refusals():
        if mysql_url is None:
            _migrate_folder(DataFolder(data_dir))
            return
        try:
            hosts, user, database = parse_url(mysql_url)
        except ValueError as error:
            raise Refusal(f"--mysql-url is wrong: {error}.") from error
        password = "" if mysql_password_file is None else read_secret_file(mysql_password_file)
        access = MySQLAccess(hosts, user, database, password, ca_file=mysql_ca_file)
        migrate_mysql(access, mysql_schemas(), lock_seconds=lock_seconds)
        for schema in mysql_schemas():
            click.echo(f"{schema.service}: at migration {schema.migrations()[-1].number:04d}")


def _migrate_folder(folder: DataFolder) -> None:
    folder.make()
    folder.lock()
    try:
        for name, package in _FILES.items():
            SQLiteDatabase(folder.path / name, migrations_package=package).close()
            click.echo(f"{name}: at migration {read_migrations(package)[-1][0]:04d}")
    finally:
        folder.unlock()
