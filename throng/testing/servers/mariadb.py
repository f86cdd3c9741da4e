"""MariaDB with full durability on a private folder; user root without a password."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql

from throng.testing.servers.process import ServerProcess, find_program, free_port

_START_SECONDS = 30.0


class MariaDBServer(ServerProcess):
    """A server on 127.0.0.1 and on a socket file. `options` are further flags of mariadbd.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(self, folder: pathlib.Path, *, port: int | None = None, options: Sequence[str] = ()) -> None:
        self._program = find_program("mariadbd", backend="mysql", package="mariadb-server")
        super().__init__("mariadb", folder)
        self.port = port or free_port()
        self._options = list(options)
        self._temporary = folder / "tmp"

    def start(self) -> None:
        """Makes the tables of the server at the first start, starts it, and waits until it answers."""
        data = self.folder / "data"
        # Two servers that use one folder for temporary tables take each other's.
        self._temporary.mkdir(exist_ok=True)
        user = ["--user=root"] if os.geteuid() == 0 else []
        if not (data / "mysql").is_dir():
            install = find_program("mariadb-install-db", backend="mysql", package="mariadb-server")
            command = [install, "--no-defaults", *user, f"--datadir={data}", "--auth-root-authentication-method=normal"]
            command += ["--skip-test-db", f"--tmpdir={self._temporary}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"MariaDB's folder cannot be made:\n{(done.stdout + done.stderr)[-2000:]}")
        self.launch(
            [
                self._program,
                "--no-defaults",
                *user,
                f"--datadir={data}",
                f"--tmpdir={self._temporary}",
                # Names of sockets may not be longer than about 100 characters, so it is relative to the data folder.
                "--socket=s.sock",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=256M",
                "--innodb-log-file-size=128M",
                "--performance-schema=OFF",
                "--character-set-server=utf8mb4",
                "--max-connections=300",
                *self._options,
            ]
        )
        self.wait_until(self._answers, timeout_seconds=_START_SECONDS)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.Error:
            return False
        return True

    def _connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", autocommit=True, connect_timeout=2, read_timeout=30, write_timeout=30
        )

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor of root, each statement committed by itself."""
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def create_database(self, name: str) -> None:
        """Makes an empty database; one of that name is dropped."""
        with self.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")

    def url(self, database: str, *, user: str = "root") -> str:
        """`mysql://…` for the services' settings."""
        return f"mysql://{user}@127.0.0.1:{self.port}/{database}"
